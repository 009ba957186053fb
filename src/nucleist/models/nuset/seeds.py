"""Nuclei of a foreground, cut by a watershed from the middles of proposed boxes.

Source: Yang et al., PLoS Comput Biol 2020 (NuSeT), and the authors' code. There a piece of the
foreground vanishes if another's seed lies in its bounding box, seeds near each other merge, and
nuclei that were cut are joined again when the binary result is labelled by 8-connectivity. Here the
watershed's labels are kept, and every piece of the foreground of `min_area` pixels keeps one.
"""

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from nucleist.ops.watershed import without_small


def cut_foreground(
    mask: np.ndarray,
    boxes: np.ndarray,
    border: float = 20.0,
    min_area: int = 10,
    radius: float = 3.0,
    line: bool = False,
) -> np.ndarray:
    """Nuclei of a foreground and proposed boxes.

    A seed is the middle of a box, or the nearest pixel of the foreground within `radius`. A piece
    of the foreground (4-connected) without a seed has one at its deepest pixel. Seeds grow to
    `radius` inside their pieces, then the depth below the foreground's outline is flooded.

    Args:
        mask: `(H, W)` bool.
        boxes: `(K, 4)` xyxy, pixels, best first; of two seeds in one pixel the first stays.
        border: Middles nearer to the border of the image are no seeds, pixels.
        min_area: Smaller pieces of the foreground are dropped, pixels.
        radius: See above, pixels.
        line: Leave a line of background between nuclei, as the authors do.

    Returns:
        `(H, W)` `int32` label map, 0 or 1..N.
    """
    pieces = without_small(ndimage.label(mask, output=np.int32)[0], min_area)
    mask = pieces > 0
    if not mask.any():
        return pieces
    depth = depth_of(mask)
    points = place_seeds(mask, boxes, border, radius)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[points[:, 0], points[:, 1]] = np.arange(1, len(points) + 1)
    add_missing(seeds, pieces, depth)
    seeds = grown(seeds, mask, radius)
    labels = watershed(-depth, seeds, mask=mask, watershed_line=line)
    return without_small(labels.astype(np.int32), 1)


def depth_of(mask: np.ndarray) -> np.ndarray:
    """Distance to the background of each pixel of a foreground whose holes are filled.

    Args:
        mask: `(H, W)` bool.

    Returns:
        `(H, W)` float, pixels; all 0 where there is no background to measure from.
    """
    filled = ndimage.binary_fill_holes(mask)
    if filled.all():
        return np.zeros(mask.shape)
    return ndimage.distance_transform_edt(filled)


def place_seeds(mask: np.ndarray, boxes: np.ndarray, border: float, radius: float) -> np.ndarray:
    """Rows and columns of the seeds of boxes, `(S, 2)` `int64`, each in a pixel of its own.

    For arguments see `cut_foreground`.
    """
    height, width = mask.shape
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    deep = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    rows = np.floor(y).astype(np.int64).clip(0, height - 1)
    cols = np.floor(x).astype(np.int64).clip(0, width - 1)
    away, (near_row, near_col) = ndimage.distance_transform_edt(~mask, return_indices=True)
    keep = (deep >= border) & (away[rows, cols] <= radius)
    rows, cols = rows[keep], cols[keep]
    points = np.stack([near_row[rows, cols], near_col[rows, cols]], 1).astype(np.int64)
    _, first = np.unique(points, axis=0, return_index=True)
    return points[np.sort(first)]


def add_missing(seeds: np.ndarray, pieces: np.ndarray, depth: np.ndarray) -> None:
    """Give each piece without a seed one at its deepest pixel, the first of equals.

    Args:
        seeds: `(H, W)` `int32`, changed in place.
        pieces: `(H, W)` integer with values 0..N, all present.
        depth: `(H, W)` float.
    """
    numbers = np.arange(1, pieces.max() + 1)
    missing = np.setdiff1d(numbers, pieces[seeds > 0])
    for place in ndimage.maximum_position(depth, pieces, missing):
        seeds[place] = seeds.max() + 1


def grown(seeds: np.ndarray, mask: np.ndarray, radius: float) -> np.ndarray:
    """Seeds grown inside the foreground, none over another's pixels.

    Args:
        seeds: `(H, W)` `int32`, one pixel each.
        mask: `(H, W)` bool.
        radius: Pixels.
    """
    away = ndimage.distance_transform_edt(seeds == 0)
    return watershed(away, seeds, mask=mask & (away <= radius)).astype(np.int32)


def cleaned(labels: np.ndarray, share: float = 0.2, mean: float | None = None) -> np.ndarray:
    """A label map without small nuclei and without small holes in nuclei.

    Args:
        labels: `(H, W)` `int32` with values 0..N, all present.
        share: Of the mean area of the nuclei; smaller ones are removed, and smaller holes that
            are surrounded by one nucleus alone become part of it.
        mean: That mean area, pixels, if the map is a part of an image; None measures it.

    Returns:
        `(H, W)` `int32` label map, 0 or 1..N.
    """
    if not labels.any():
        return labels
    limit = share * (np.bincount(labels.ravel())[1:].mean() if mean is None else mean)
    labels = without_small(labels, int(np.ceil(limit)))
    holes, _ = ndimage.label(labels == 0)
    areas = np.bincount(holes.ravel())
    for number, box in enumerate(ndimage.find_objects(holes), 1):
        rows, cols = (slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        own = holes[rows, cols] == number
        at_edge = any(s.start == 0 or s.stop == n for s, n in zip(box, labels.shape, strict=True))
        if areas[number] >= limit or at_edge:
            continue
        ring = np.unique(labels[rows, cols][ndimage.binary_dilation(own) & ~own])
        if len(ring) == 1:
            labels[rows, cols][own] = ring[0]
    return labels
