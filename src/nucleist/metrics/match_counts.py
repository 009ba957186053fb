"""What was found in an image, as numbers that can be added up: `match_counts.csv` of a run.

Pooled scores of any part of a data set follow from them without the net: of one field, of one fold,
of a bootstrap sample (`nucleist.metrics.bootstrap`).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from nucleist.metrics.counts import IOU_THRESHOLDS, Counts, LabelMap, count, jaccard
from nucleist.ops.contingency import contingency


class MatchCounts(NamedTuple):
    """Counts of one image, of which several may be added.

    Attributes:
        nuclei: True nuclei.
        detections: Detections that count.
        matched: `(10,)` nuclei matched one to one at each of `IOU_THRESHOLDS`.
        aji_intersection: Pixels.
        aji_union: Pixels.
    """

    nuclei: int
    detections: int
    matched: tuple[int, ...]
    aji_intersection: int
    aji_union: int

    @classmethod
    def of(cls, counts: Counts) -> "MatchCounts":
        """From the counts of one image."""
        matched = tuple(int(n) for n in counts.matched)
        pixels = int(counts.aji_intersection), int(counts.aji_union)
        return cls(int(counts.n_true), int(counts.n_pred), matched, *pixels)

    def row(self) -> list[int]:
        """The 14 numbers in the order of `COLUMNS`."""
        first, last = (self.nuclei, self.detections), (self.aji_intersection, self.aji_union)
        return [*first, *self.matched, *last]


COLUMNS = (
    *("nuclei", "detections"),
    *(f"matched_{round(100 * iou)}" for iou in IOU_THRESHOLDS),
    *("aji_intersection", "aji_union"),
)
"""Names of the numbers: `matched_75` are the nuclei matched at an IoU above 0.75."""


def counts_row(true: LabelMap, pred: LabelMap) -> dict[str, int]:
    """The numbers of one image by their names, a row of `match_counts.csv`.

    Args:
        true: `(H, W)` integer label map with all nuclei, 0 background.
        pred: `(H, W)` integer label map of the detections that count.
    """
    counts = MatchCounts.of(count(contingency(true, pred)))
    return dict(zip(COLUMNS, counts.row(), strict=True))


def as_rows(counts: Iterable[MatchCounts]) -> np.ndarray:
    """The rows of some images, `(N, 14)` `int64`, for `map_of` and `aji_of`."""
    return np.array([one.row() for one in counts], np.int64).reshape(-1, len(COLUMNS))


def map_of(total: np.ndarray) -> np.ndarray:
    """Pooled mAP of counts that were added up.

    Args:
        total: `(..., 14)` sums of rows of `MatchCounts`, in the order of `COLUMNS`.

    Returns:
        `(...)` `float64` in [0, 1]: mean over the IoU thresholds of TP / (TP + FP + FN).

    Examples:
        >>> rows = as_rows([MatchCounts(2, 1, (1,) * 10, 5, 9), MatchCounts(1, 1, (0,) * 10, 0, 9)])
        >>> float(map_of(rows.sum(0)))
        0.25
    """
    total = np.asarray(total)
    return jaccard(total[..., 2:-2], total[..., :1], total[..., 1:2]).mean(-1)


def aji_of(total: np.ndarray) -> np.ndarray:
    """Pooled AJI of counts that were added up, like `map_of`; 0 where there are no pixels."""
    total = np.asarray(total, np.float64)
    return total[..., -2] / np.maximum(total[..., -1], 1)
