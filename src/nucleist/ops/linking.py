"""Nuclei of single slices linked to nuclei in three dimensions.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020, who segment the slices of a confocal
stack one by one and put them together; how is not described. Cellpose's `stitch_threshold` does it
by IoU too.
"""

from collections.abc import Sequence

import numpy as np

from nucleist.ops.contingency import contingency, pair_best

INSIDE = 0.7
"""A nucleus of which this share lies in one of the next slice is linked to it, however small."""

WAIST = 0.5
"""A chain of slices is two nuclei where its area is below this share of what is on both sides."""


def link_slices(
    slices: Sequence[np.ndarray], least: float = 0.3, gap: int = 0, waist: float = WAIST
) -> np.ndarray:
    """Give the nuclei of adjacent slices the same label where they are one nucleus.

    How it works: from one slice to the next nuclei are paired one to one, so that the sum of the
    IoUs is largest; pairs below `least` are none, unless one of the two lies in the other, as the
    end of a nucleus does. Of two nuclei that merge in the next slice one goes on, of one that parts
    in two one part does; the other begins anew. Nuclei that lie on each other are one chain then:
    it is cut where it is thin.

    Args:
        slices: `(H, W)` integer label maps of one shape, 0 background, from one end of the stack
            to the other; their labels need not agree.
        least: Lowest IoU of two nuclei in adjacent slices that are one, in (0, 1].
        gap: A nucleus may be missing in so many slices in a row; it is not filled in there.
        waist: A nucleus is cut at the slice in which its area is smaller than this share of its
            largest areas before and after, in [0, 1]; 0 cuts none.

    Returns:
        `(Z, H, W)` `int32`, 0 background, nuclei 1..N.

    Raises:
        ValueError: If the shapes differ, there is no slice, or a number is out of range.

    Examples:
        >>> volume = link_slices([np.array([[7, 7, 0, 2]]), np.array([[1, 1, 0, 0]])])
        >>> volume.tolist()
        [[[2, 2, 0, 1]], [[2, 2, 0, 0]]]
    """
    if not slices or len({one.shape for one in slices}) > 1:
        raise ValueError(
            f"Expected slices of one shape, but got {sorted({one.shape for one in slices})}"
        )
    if not 0 < least <= 1 or gap < 0 or not 0 <= waist <= 1:
        raise ValueError(
            "Expected `least` in (0, 1], `gap` >= 0 and `waist` in [0, 1], but got "
            f"{least}, {gap} and {waist}"
        )
    volume = np.zeros((len(slices), *slices[0].shape), np.int32)
    count = 0
    for z, labels in enumerate(slices):
        ids, own = np.unique(labels, return_inverse=True)
        numbers = _partners(_before(volume[max(z - 1 - gap, 0) : z]), labels, ids, least)
        new = (numbers == 0) & (ids > 0)
        numbers[new] = count + 1 + np.arange(new.sum())
        count += int(new.sum())
        volume[z] = numbers[own.reshape(labels.shape)]
    return _cut_at_waists(volume, count, waist) if waist else volume


def _before(slices: np.ndarray) -> np.ndarray | None:
    """The last slice of some, and where it has no nucleus those of earlier ones that ended."""
    if not len(slices):
        return None
    found, seen = slices[-1].copy(), np.unique(slices[-1])
    for earlier in slices[-2::-1]:
        ended = (found == 0) & ~np.isin(earlier, seen)
        found[ended] = earlier[ended]
        seen = np.union1d(seen, earlier)
    return found


def _partners(
    before: np.ndarray | None, labels: np.ndarray, ids: np.ndarray, least: float
) -> np.ndarray:
    """Label in the slice before of each of the `ids` of a slice, 0 for none."""
    numbers = np.zeros(len(ids), np.int32)
    if before is None:
        return numbers
    table = contingency(before, labels)
    areas = table.true_areas[table.true_index], table.pred_areas[table.pred_index]
    near = (table.iou >= least) | (table.intersection >= INSIDE * np.minimum(*areas))
    table = table._replace(
        true_index=table.true_index[near],
        pred_index=table.pred_index[near],
        intersection=table.intersection[near],
    )
    pairs = pair_best(table)
    places = np.searchsorted(ids, table.pred_ids[table.pred_index[pairs]])
    numbers[places] = table.true_ids[table.true_index[pairs]]
    return numbers


def _cut_at_waists(volume: np.ndarray, count: int, waist: float) -> np.ndarray:
    """Cut chains where they are thin; what comes after a cut has a new label."""
    areas = np.stack([np.bincount(z.ravel(), minlength=count + 1) for z in volume])
    found = count
    lookup = np.repeat(np.arange(count + 1, dtype=np.int32)[None], len(volume), 0)
    for label in range(1, count + 1):
        slices = np.flatnonzero(areas[:, label])
        for start in cuts(areas[slices, label], waist):
            found += 1
            lookup[slices[start] :, label] = found
    return np.stack([numbers[z] for numbers, z in zip(lookup, volume, strict=True)])


def cuts(areas: np.ndarray, waist: float) -> list[int]:
    """Where the parts of a chain begin, but for the first, ascending.

    Args:
        areas: `(N,)`, one for each slice, positive.
        waist: See `link_slices`.

    Examples:
        >>> cuts(np.array([4, 9, 5, 2, 3, 8, 6]), 0.5)
        [4]
    """
    if len(areas) < 3:
        return []
    before = np.maximum.accumulate(areas)[:-2]
    after = np.maximum.accumulate(areas[::-1])[::-1][2:]
    depth = areas[1:-1] / np.minimum(before, after)
    thinnest = int(depth.argmin())
    if depth[thinnest] >= waist:
        return []
    start = thinnest + 2  # the thinnest slice is the last of the first part
    rest = [start + place for place in cuts(areas[start:], waist)]
    return [*cuts(areas[:start], waist), start, *rest]
