"""What a model found in each image at many score thresholds, as numbers that can be added up.

Scores of any part of a data set follow from them without the net: of one field, of one fold, of a
bootstrap sample. `nucleist.metrics.counts` computes the same scores from the pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nucleist.data.sets import Whole
from nucleist.inference.load import Model
from nucleist.inference.outline import outline
from nucleist.metrics.counts import IOU_THRESHOLDS, count, jaccard
from nucleist.metrics.partial import kept_at
from nucleist.ops.contingency import contingency

GRID = tuple(round(0.01 * i, 2) for i in range(5, 96))
"""Score thresholds to choose from: 0.05, 0.06, ..., 0.95."""


class MatchCounts(NamedTuple):
    """Counts of one image; those of several images may be added.

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

    def row(self) -> list[int]:
        """The 14 numbers in order, for a file."""
        return [
            *(self.nuclei, self.detections, *self.matched),
            *(self.aji_intersection, self.aji_union),
        ]


def as_rows(counts: Iterable[MatchCounts]) -> np.ndarray:
    """The rows of some images, `(N, 14)` `int64`, for `map_of` and `aji_of`."""
    return np.array([one.row() for one in counts], np.int64).reshape(-1, 14)


def map_of(total: np.ndarray) -> np.ndarray:
    """Pooled mAP of counts that were added up.

    Args:
        total: `(..., 14)` sums of rows of `MatchCounts`.

    Returns:
        `(...)` `float64` in [0, 1]: mean over the IoU thresholds of TP / (TP + FP + FN).

    Examples:
        >>> rows = as_rows([MatchCounts(2, 1, (1,) * 10, 5, 9), MatchCounts(1, 1, (0,) * 10, 0, 9)])
        >>> float(map_of(rows.sum(0)))
        0.25
    """
    total = np.asarray(total)
    n = len(IOU_THRESHOLDS)
    return jaccard(total[..., 2 : 2 + n], total[..., :1], total[..., 1:2]).mean(-1)


def aji_of(total: np.ndarray) -> np.ndarray:
    """Pooled AJI of counts that were added up, like `map_of`; 0 where there are no pixels."""
    total = np.asarray(total, np.float64)
    return total[..., -2] / np.maximum(total[..., -1], 1)


def match_counts(
    model: Model, images: Mapping[str, Whole], thresholds: Sequence[float]
) -> dict[float, dict[str, MatchCounts]]:
    """Predict each image once and count at every score threshold.

    Args:
        model: A trained model.
        images: Normalised images with all their labels, by id; complete everywhere.
        thresholds: Detections with a higher score count, in [0, 1].

    Returns:
        Counts by threshold and image.

    Raises:
        ValueError: If an image is not complete: what is not labelled is no false detection there.
    """
    found: dict[float, dict[str, MatchCounts]] = {threshold: {} for threshold in thresholds}
    for image_id, whole in images.items():
        if whole.complete is not None:
            raise ValueError(f"Expected complete images, but {image_id!r} is not")
        prediction = outline(model.net, whole.image)
        table = contingency(whole.labels, prediction["label_map"].cpu().numpy())
        for threshold, kept in zip(thresholds, kept_at(table, prediction, thresholds), strict=True):
            counts = count(table.keep_predictions(kept))
            found[threshold][image_id] = MatchCounts(
                *(int(counts.n_true), int(counts.n_pred)),
                tuple(int(n) for n in counts.matched),
                *(int(counts.aji_intersection), int(counts.aji_union)),
            )
    return found


def best_threshold(counts: Mapping[float, Mapping[str, MatchCounts]]) -> float:
    """The score threshold with the highest pooled mAP; of equal ones the middle one.

    Args:
        counts: Of validation images, as `match_counts` returns them.
    """
    scores = {t: float(map_of(as_rows(some.values()).sum(0))) for t, some in counts.items()}
    best = sorted(t for t, score in scores.items() if score == max(scores.values()))
    return best[len(best) // 2]
