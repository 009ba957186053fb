"""Put nuclei that were outlined one by one into a label map, where outlines overlap.

Outlines are rasterised by one rule for all formats, see `fill`: outlines that share an edge share
no pixel, wherever the edge runs.

The rule for overlaps: a pixel that several nuclei claim goes to the smallest of them (at equal size
to the one outlined last). Large nuclei are painted first, so a small one that lies on a large one
stays whole. What the rule takes away is counted in the notes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nucleist.data.complete import complete_of
from nucleist.ops.polygons import inside
from nucleist.types import Complete


class Drawn(NamedTuple):
    """What a file of outlines says of an image.

    Attributes:
        labels: `(H, W)` `int32` label map.
        notes: What had to be decided, one sentence each.
        complete: Where the file says that every nucleus is labelled.
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()
    complete: Complete = False


class Shape(NamedTuple):
    """One nucleus as a mask of its own bounding box.

    Attributes:
        id: Value in the label map, positive.
        top: Row of the crop's first row in the image, pixels.
        left: Column of the crop's first column in the image, pixels.
        mask: `(h, w)` `bool`; the crop lies inside the image.
    """

    id: int
    top: int
    left: int
    mask: np.ndarray


def crop(mask: np.ndarray, nucleus_id: int) -> Shape | None:
    """Cut a mask of the whole image, `(H, W)` `bool`, to its extent; None if it is empty."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    band = mask[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(band.any(0))
    cut = band[:, columns[0] : columns[-1] + 1]
    return Shape(nucleus_id, int(rows[0]), int(columns[0]), cut.copy())


def fill(vertices: np.ndarray, shape: tuple[int, int], nucleus_id: int) -> Shape | None:
    """Rasterise a closed polygon; None if it holds no pixel of the image.

    Pixel (row i, column j) is the square [i, i+1) x [j, j+1) and belongs to the polygon if its
    centre (i + 0.5, j + 0.5) lies inside (even-odd rule). A centre on an edge lies inside if the
    polygon is to the right of it, or below it where the edge is level: of two polygons that share
    an edge exactly one has it. What lies outside the image is cut.

    Args:
        vertices: `(N, 2)` x and y, pixels, finite; the last vertex is joined to the first.
        shape: Height and width of the image, pixels.
        nucleus_id: Value in the label map.
    """
    ring = np.asarray(vertices, np.float64)
    x, y = ring.T
    left, top = max(int(x.min()), 0), max(int(y.min()), 0)
    right = min(int(np.ceil(x.max())), shape[1])
    bottom = min(int(np.ceil(y.max())), shape[0])
    if right <= left or bottom <= top:
        return None
    part = crop(inside(ring, (top, left, bottom, right)), nucleus_id)
    return part and part._replace(top=part.top + top, left=part.left + left)


def union(parts: Sequence[Shape], holes: bool = False) -> Shape | None:
    """Join the parts of one nucleus; None if nothing remains.

    Args:
        parts: Shapes with one id.
        holes: Whether pixels in an even number of parts are left out (even-odd rule).
    """
    if len(parts) < 2:
        return parts[0] if parts else None
    top, left = min(part.top for part in parts), min(part.left for part in parts)
    bottom = max(part.top + part.mask.shape[0] for part in parts)
    right = max(part.left + part.mask.shape[1] for part in parts)
    mask = np.zeros((bottom - top, right - left), bool)
    for part in parts:
        row, column = part.top - top, part.left - left
        height, width = part.mask.shape
        window = mask[row : row + height, column : column + width]
        window[:] = window ^ part.mask if holes else window | part.mask
    return Shape(parts[0].id, top, left, mask) if mask.any() else None


def compose(shape: tuple[int, int], nuclei: Sequence[Shape]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Paint nuclei into a label map by the rule above.

    Args:
        shape: Height and width of the image, pixels.
        nuclei: In any order, ids unique and positive.

    Returns:
        `(H, W)` `int32` label map, and what overlapped, one sentence each.
    """
    labels = np.zeros(shape, np.int32)
    shared = np.zeros(shape, bool)
    areas = {nucleus.id: int(np.count_nonzero(nucleus.mask)) for nucleus in nuclei}
    for nucleus in sorted(nuclei, key=lambda n: (-areas[n.id], n.id)):
        height, width = nucleus.mask.shape
        window = np.s_[nucleus.top : nucleus.top + height, nucleus.left : nucleus.left + width]
        shared[window] |= nucleus.mask & (labels[window] > 0)
        labels[window][nucleus.mask] = nucleus.id
    return labels, _notes(labels, shared, areas)


def area(shape: tuple[int, int], regions: Sequence[Shape]) -> Complete:
    """All that lies in one of several regions.

    Args:
        shape: Height and width of the image, pixels.
        regions: In any order.
    """
    mask = np.zeros(shape, bool)
    for region in regions:
        height, width = region.mask.shape
        mask[region.top : region.top + height, region.left : region.left + width] |= region.mask
    return complete_of(mask)


def _notes(labels: np.ndarray, shared: np.ndarray, areas: dict[int, int]) -> tuple[str, ...]:
    count = int(np.count_nonzero(shared))
    if not count:
        return ()
    notes = [f"{count} pixels lie in more than one nucleus; the smallest nucleus has them"]
    for lost in sorted({i for i, area in areas.items() if area} - set(np.unique(labels).tolist())):
        notes.append(f"nucleus {lost} is wholly covered by smaller ones and has no pixel left")
    return tuple(notes)
