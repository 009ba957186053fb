"""One sparse table of overlaps between two label maps, from which every score is derived.

Counting all pairs of labels in one pass is StarDist's idea (Schmidt et al., MICCAI 2018,
`matching`): IoU matrices of whole masks, one pair at a time, are hundreds of times slower. Only
pairs that share a pixel are stored, so thousands of nuclei cost what their pixels cost.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

Threshold = float | Fraction

DENSE_CELLS = 1 << 22
"""Largest table that is counted densely; 4 million int64 cells are 32 MiB."""


class Contingency(NamedTuple):
    """Areas and overlaps of the nuclei of two label maps; background is left out.

    All arrays are `int64`. The last three go together, one entry for each pair that shares at
    least one pixel, sorted by `true_index`, then by `pred_index`.

    Attributes:
        true_ids: `(T,)` labels of the true map, ascending.
        pred_ids: `(P,)` labels of the predicted map, ascending.
        true_areas: `(T,)` pixels, all positive.
        pred_areas: `(P,)` pixels, all positive.
        true_index: `(K,)` index into `true_ids`.
        pred_index: `(K,)` index into `pred_ids`.
        intersection: `(K,)` pixels, all positive.
    """

    true_ids: np.ndarray
    pred_ids: np.ndarray
    true_areas: np.ndarray
    pred_areas: np.ndarray
    true_index: np.ndarray
    pred_index: np.ndarray
    intersection: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """`(K,)` `int64` pixels in either nucleus of each pair."""
        areas = self.true_areas[self.true_index] + self.pred_areas[self.pred_index]
        return areas - self.intersection

    @property
    def iou(self) -> np.ndarray:
        """`(K,)` `float64` intersection over union of each pair, in (0, 1]."""
        return self.intersection / self.union

    def keep_predictions(self, keep: np.ndarray) -> "Contingency":
        """Table of the same maps with some predictions erased, without counting again.

        A prediction at a higher score threshold is the same label map with the lower scores
        erased, so one count serves a whole curve over thresholds.

        Args:
            keep: `(P,)` `bool`, one for each of `pred_ids`.

        Raises:
            ValueError: If `keep` is not a boolean for each prediction.
        """
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != self.pred_ids.shape:
            raise ValueError(
                f"Expected `keep` to be bool of shape {self.pred_ids.shape}, "
                f"but got {keep.dtype} of shape {keep.shape}"
            )
        pair = keep[self.pred_index]
        return self._replace(
            pred_ids=self.pred_ids[keep],
            pred_areas=self.pred_areas[keep],
            true_index=self.true_index[pair],
            pred_index=(np.cumsum(keep) - 1)[self.pred_index[pair]],
            intersection=self.intersection[pair],
        )

    def keep_true(self, keep: np.ndarray) -> "Contingency":
        """Table of the same maps with some true nuclei erased; see `keep_predictions`.

        Args:
            keep: `(T,)` `bool`, one for each of `true_ids`.
        """
        return self.swapped().keep_predictions(keep).swapped()

    def swapped(self) -> "Contingency":
        """The table with the two maps exchanged; its pairs are no longer sorted."""
        return Contingency(
            self.pred_ids,
            self.true_ids,
            self.pred_areas,
            self.true_areas,
            self.pred_index,
            self.true_index,
            self.intersection,
        )


def contingency(true: np.ndarray | Tensor, pred: np.ndarray | Tensor) -> Contingency:
    """Count the overlaps of two label maps of one shape.

    Args:
        true: `(H, W)` any integer type, 0 background; ids need not be consecutive.
        pred: The same shape, any integer type, 0 background.

    Raises:
        TypeError: If a map is not of an integer type (a mask of booleans has no labels).
        ValueError: If the shapes differ or a label is negative.

    Examples:
        >>> true = np.array([[1, 1, 0, 7]])
        >>> pred = np.array([[2, 2, 2, 5]])
        >>> table = contingency(true, pred)
        >>> table.true_ids.tolist(), table.true_areas.tolist()
        ([1, 7], [2, 1])
        >>> table.pred_ids.tolist(), table.pred_areas.tolist()
        ([2, 5], [3, 1])
        >>> table.intersection.tolist(), table.union.tolist()
        ([2, 1], [3, 1])
    """
    true, pred = _label_map(true, "true"), _label_map(pred, "pred")
    if true.shape != pred.shape:
        raise ValueError(
            f"Expected label maps of one shape, but got true {true.shape} and pred {pred.shape}"
        )
    true, pred = true.ravel(), pred.ravel()
    rows, columns = int(true.max(initial=0)) + 1, int(pred.max(initial=0)) + 1
    if rows * columns <= DENSE_CELLS:
        return _count_dense(true, pred, rows, columns)
    return _count_sorted(true, pred)


def _label_map(labels: np.ndarray | Tensor, name: str) -> np.ndarray:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"Expected `{name}` to be an integer label map, 0 background, but got {array.dtype}"
        )
    if array.min(initial=0) < 0:
        raise ValueError(f"Expected labels >= 0 in `{name}`, but got {array.min()}")
    return array


def _count_dense(true: np.ndarray, pred: np.ndarray, rows: int, columns: int) -> Contingency:
    # uint8 and the like must be widened first, or the product wraps round
    cell = true.astype(np.int64) * columns + pred.astype(np.int64)
    table = np.bincount(cell, minlength=rows * columns).reshape(rows, columns)
    true_areas, pred_areas = table.sum(1)[1:], table.sum(0)[1:]
    has_true, has_pred = true_areas > 0, pred_areas > 0
    true_row, pred_row = table[1:, 1:].nonzero()
    return Contingency(
        true_ids=np.flatnonzero(has_true) + 1,
        pred_ids=np.flatnonzero(has_pred) + 1,
        true_areas=true_areas[has_true],
        pred_areas=pred_areas[has_pred],
        true_index=(np.cumsum(has_true) - 1)[true_row],
        pred_index=(np.cumsum(has_pred) - 1)[pred_row],
        intersection=table[true_row + 1, pred_row + 1],
    )


def _count_sorted(true: np.ndarray, pred: np.ndarray) -> Contingency:
    """The same for ids so large or so many that a dense table would not fit."""
    true_ids, true_areas = np.unique(true[true > 0], return_counts=True)
    pred_ids, pred_areas = np.unique(pred[pred > 0], return_counts=True)
    both = (true > 0) & (pred > 0)
    true_row = np.searchsorted(true_ids, true[both])
    pred_row = np.searchsorted(pred_ids, pred[both])
    width = max(len(pred_ids), 1)
    pairs, intersection = np.unique(true_row * width + pred_row, return_counts=True)
    true_index, pred_index = np.divmod(pairs, width)
    arrays = (true_ids, pred_ids, true_areas, pred_areas, true_index, pred_index, intersection)
    return Contingency(*(a.astype(np.int64) for a in arrays))


def count_matches(
    table: Contingency, thresholds: Sequence[Threshold], inclusive: bool = False
) -> np.ndarray:
    """Number of pairs that can be matched one to one above each IoU threshold.

    IoUs are compared as integers, `q * intersection > p * union` for the threshold p / q, so
    that an IoU of exactly 3/5 is never above 3/5.

    Args:
        table: Overlaps of two label maps.
        thresholds: IoUs in [0, 1]; a float stands for the nearest fraction with a denominator
            up to 10 000.
        inclusive: Match at `>=` instead of `>`.

    Returns:
        `(len(thresholds),)` `int64`.

    Raises:
        ValueError: If there is no threshold, or one outside [0, 1].
    """
    if len(thresholds) == 0 or not all(0 <= t <= 1 for t in thresholds):
        raise ValueError(f"Expected `thresholds` in [0, 1], but got {list(thresholds)}")
    compare = np.greater_equal if inclusive else np.greater
    union, half, matches = table.union, Fraction(1, 2), []
    for value in thresholds:
        t = Fraction(value).limit_denominator(10_000)
        hit = compare(t.denominator * table.intersection, t.numerator * union)
        # Both halves of a nucleus reach an IoU of 1/2, so uniqueness begins just above it.
        unique = t > half or (t == half and not inclusive)
        matches.append(np.count_nonzero(hit) if unique else _largest_matching(table, hit))
    return np.array(matches, np.int64)


def _largest_matching(table: Contingency, hit: np.ndarray) -> int:
    pairs = table.true_index[hit], table.pred_index[hit]
    if not hit.any():
        return 0
    shape = len(table.true_ids), len(table.pred_ids)
    graph = coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape).tocsr()
    return int(np.count_nonzero(maximum_bipartite_matching(graph, "column") >= 0))


def pair_greedily(table: Contingency) -> np.ndarray:
    """Rows of the table in which each true nucleus, in turn, takes its best free prediction.

    Nuclei come in the order of their labels; equal IoUs go to the lower label. This is the
    pairing of the aggregated Jaccard index.

    Returns:
        `(pairs,)` `int64` indices into the last three arrays of the table.
    """
    order = np.lexsort((table.pred_index, -table.iou, table.true_index))
    columns = order, table.true_index[order], table.pred_index[order]
    rows, served, used = [], set(), set()
    for row, true, pred in zip(*(c.tolist() for c in columns), strict=True):
        if true not in served and pred not in used:
            served.add(true)
            used.add(pred)
            rows.append(row)
    return np.array(rows, np.int64)


def pair_best(table: Contingency) -> np.ndarray:
    """Rows of the table that pair nuclei one to one with the largest sum of IoUs.

    Needs a dense `(T, P)` matrix for the Hungarian method, unlike the rest of this module.

    Returns:
        `(pairs,)` `int64` indices into the last three arrays of the table.
    """
    row_of = np.full((len(table.true_ids), len(table.pred_ids)), -1)
    row_of[table.true_index, table.pred_index] = np.arange(len(table.intersection))
    gain = np.append(table.iou, 0.0)[row_of]  # row -1, no overlap, is the 0 at the end
    rows = row_of[linear_sum_assignment(gain, maximize=True)]
    return rows[rows >= 0]
