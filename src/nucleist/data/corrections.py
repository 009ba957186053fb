"""What a person changed: nuclei that were exported against those that came back.

A nucleus that carries the UUID of an exported one is that one, whatever became of its outline. Of
the others each is the one that it overlaps most, if they have more in common than not much; see
`LEAST_IOU`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from nucleist.data.formats.traced import Corrected
from nucleist.data.outlines import Shape

LEAST_IOU = 0.25
"""IoU from which on a nucleus without UUID is taken for the exported one that it covers most."""

KEPT, MOVED, ADDED, REJECTED = "kept", "moved", "added", "rejected"


class Change(NamedTuple):
    """What became of one nucleus.

    Attributes:
        state: `kept`, its pixels are the same; `moved`, its outline was changed; `added`, it was
            not exported; `rejected`, it did not come back.
        label: Of the exported nucleus; None of one that was added.
        shape: Its pixels now, those of the export if it was kept; None of a rejected one.
        iou: Of the pixels before and now, in [0, 1].
        shift: Mean distance of the outlines before and now, pixels.
    """

    state: str
    label: int | None
    shape: Shape | None
    iou: float = 0.0
    shift: float = 0.0


def compare(
    exported: Sequence[Shape], ids: Mapping[str, int], corrected: Sequence[Corrected]
) -> list[Change]:
    """Find out what became of each nucleus.

    Args:
        exported: The nuclei of an image; the id of each is its label.
        ids: Their labels by UUID.
        corrected: The nuclei that came back.

    Returns:
        First those that came back, in their order, then the rejected ones.
    """
    by_label = {one.id: one for one in exported}
    partners = _by_id(by_label, ids, corrected)
    partners |= _by_overlap(by_label, corrected, partners)
    found = [
        _changed(by_label[partners[place]], one)
        if place in partners
        else Change(ADDED, None, one.shape)
        for place, one in enumerate(corrected)
    ]
    gone = sorted(by_label.keys() - set(partners.values()))
    return [*found, *(Change(REJECTED, label, None) for label in gone)]


def shapes_of(labels: np.ndarray) -> list[Shape]:
    """The nuclei of a label map `(H, W)`, ids as there."""
    return [
        Shape(label, box[0].start, box[1].start, labels[box] == label)
        for label, box in enumerate(ndimage.find_objects(labels), 1)
        if box is not None
    ]


def boundary_shift(one: Shape, other: Shape) -> float:
    """Mean distance between the outlines of two nuclei, pixels.

    From each outermost pixel of one to the nearest of the other, and the other way round; the mean
    of both means. Their centres are measured, so that equal nuclei have 0.
    """
    rims = [canvas & ~ndimage.binary_erosion(canvas) for canvas in _together(one, other)]
    ways = [ndimage.distance_transform_edt(~rim) for rim in rims]
    return float((ways[1][rims[0]].mean() + ways[0][rims[1]].mean()) / 2)


def _by_id(
    exported: Mapping[int, Shape], ids: Mapping[str, int], corrected: Sequence[Corrected]
) -> dict[int, int]:
    """Labels by place in `corrected`, of those that carry an id, each once."""
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for place, one in enumerate(corrected):
        label = ids.get(one.id)
        if label is not None and label in exported and label not in taken:  # copies are new
            partners[place] = label
            taken.add(label)
    return partners


def _by_overlap(
    exported: Mapping[int, Shape], corrected: Sequence[Corrected], known: Mapping[int, int]
) -> dict[int, int]:
    """Labels by place of the others, the pairs of largest IoU first."""
    taken = set(known.values())
    free = [one for label, one in exported.items() if label not in taken]
    boxes = np.array([_box(one) for one in free]).reshape(-1, 4)
    pairs = []
    for place, one in enumerate(corrected):
        if place in known:
            continue
        top, left, bottom, right = _box(one.shape)
        near = (boxes[:, 0] < bottom) & (boxes[:, 2] > top)
        near &= (boxes[:, 1] < right) & (boxes[:, 3] > left)
        others = [free[index] for index in near.nonzero()[0]]
        pairs += [(_iou(one.shape, other), place, other.id) for other in others]
    partners: dict[int, int] = {}
    for iou, place, label in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if iou >= LEAST_IOU and place not in partners and label not in taken:
            partners[place] = label
            taken.add(label)
    return partners


def _changed(before: Shape, now: Corrected) -> Change:
    if now.intact or _same(before, now.shape):
        return Change(KEPT, before.id, before, 1.0)
    shift = boundary_shift(before, now.shape)
    return Change(MOVED, before.id, now.shape, _iou(before, now.shape), shift)


def _same(one: Shape, other: Shape) -> bool:
    place = (one.top, one.left) == (other.top, other.left)
    return place and np.array_equal(one.mask, other.mask)


def _box(one: Shape) -> tuple[int, int, int, int]:
    """Top, left, bottom and right."""
    return one.top, one.left, one.top + one.mask.shape[0], one.left + one.mask.shape[1]


def _iou(one: Shape, other: Shape) -> float:
    a, b = _together(one, other)
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def _together(*both: Shape) -> list[np.ndarray]:
    """The pixels of two nuclei in one window that has a pixel around them."""
    boxes = np.array([_box(one) for one in both])
    top, left = boxes[:, :2].min(0) - 1
    height, width = boxes[:, 2:].max(0) + 1 - (top, left)
    canvases = np.zeros((len(both), height, width), bool)
    for canvas, one, (y0, x0, y1, x1) in zip(canvases, both, boxes, strict=True):
        canvas[y0 - top : y1 - top, x0 - left : x1 - left] = one.mask
    return list(canvases)
