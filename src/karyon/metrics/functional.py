r"""Scores of instance segmentation, each a function of two integer label maps.

mAP is the measure of the 2018 Data Science Bowl (Caicedo et al., Nature Methods 2019), AJI is
Kumar et al. (IEEE TMI 2017), NCS is Cicconet et al. (2017) as given in eq. 4 of the
partial-annotation paper (IEEE Access 2019), PQ is Kirillov et al. (CVPR 2019, eq. 1).

:math:`G_j` are the true nuclei, :math:`S_k` the predicted ones,
:math:`IoU(G, S) = |G \cap S| / |G \cup S|`. **Edge cases, for every score:** nothing to find
and nothing found is 1; one map empty and the other not is 0, also where the formula says 0/0.

Each score is a ratio of sums (`Counts`), so a data set can be pooled by adding the counts of its
images; `karyon.metrics.instance` does that.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from karyon.ops.contingency import (
    Contingency,
    Threshold,
    contingency,
    count_matches,
    pair_best,
    pair_greedily,
)

LabelMap = np.ndarray | Tensor
AjiMatching = Literal["greedy", "hungarian"]

IOU_THRESHOLDS = tuple(Fraction(k, 20) for k in range(10, 20))
"""0.50, 0.55, ..., 0.95 as exact fractions; the first is the one of precision and recall."""


class PrecisionRecallF1(NamedTuple):
    """What `precision_recall` returns: shares in [0, 1]."""

    precision: float
    recall: float
    f1: float


class PanopticQualityParts(NamedTuple):
    """What `panoptic_quality` returns: quality, and the two factors it is the product of."""

    pq: float
    sq: float
    rq: float


class Counts(NamedTuple):
    """Numerators and denominators of all scores; counts of several images may be added.

    Every array has the same leading dimensions `...` (none for one image).

    Attributes:
        matched: `(..., thresholds)` `int64` nuclei matched one to one at each IoU threshold.
        n_true: `(...)` `int64` true nuclei.
        n_pred: `(...)` `int64` predicted nuclei.
        matched_iou: `(...)` `float64` sum of the IoUs above 1/2 (PQ).
        aji_intersection: `(...)` `int64` pixels.
        aji_union: `(...)` `int64` pixels.
        covered: `(...)` `float64` pixels, areas of true nuclei times their best IoU (NCS).
        true_area: `(...)` `int64` pixels.
    """

    matched: np.ndarray
    n_true: np.ndarray
    n_pred: np.ndarray
    matched_iou: np.ndarray
    aji_intersection: np.ndarray
    aji_union: np.ndarray
    covered: np.ndarray
    true_area: np.ndarray


def mean_average_precision(
    true: LabelMap,
    pred: LabelMap,
    thresholds: Sequence[Threshold] = IOU_THRESHOLDS,
    inclusive: bool = False,
) -> float:
    r"""Mean over IoU thresholds of TP / (TP + FP + FN): the mAP of the 2018 Data Science Bowl.

    .. math:: mAP = \frac{1}{|T|} \sum_{t \in T} \frac{TP_t}{TP_t + FP_t + FN_t}

    A pair matches at :math:`IoU > t`, compared in integers. Above 1/2 matches are unique;
    otherwise as many pairs as possible are matched one to one. This is not COCO's AP: scores
    are not ranked.

    Args:
        true: `(H, W)` integer, 0 background.
        pred: `(H, W)` integer, 0 background.
        thresholds: IoUs in [0, 1]. A float stands for the nearest fraction with a denominator
            up to 10 000, so 0.6000000000000001 is 3/5.
        inclusive: Match at :math:`IoU \ge t`, as COCO, StarDist and Cellpose do.

    Examples:
        >>> true, pred = np.zeros((2, 10, 30), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 2:12] = 1  # IoU 80 / 120: above 0.50, 0.55, 0.60, 0.65
        >>> mean_average_precision(true, pred)
        0.4
    """
    table = contingency(true, pred)
    matched = count_matches(table, thresholds, inclusive)
    return float(_jaccard(matched, len(table.true_ids), len(table.pred_ids)).mean())


def aggregated_jaccard_index(
    true: LabelMap, pred: LabelMap, matching: AjiMatching = "greedy"
) -> float:
    r"""Aggregated Jaccard index of Kumar et al., each prediction used at most once.

    .. math:: AJI = \frac{\sum_j |G_j \cap S_{*}(j)|}
                         {\sum_j |G_j \cup S_{*}(j)| + \sum_{k \in U} |S_k|}

    :math:`U` are the predictions left over; a true nucleus without a partner adds its area
    below. Cellpose divides by the union of the foregrounds, which gives larger values.

    Args:
        true: `(H, W)` integer, 0 background.
        pred: `(H, W)` integer, 0 background.
        matching: `greedy`: true nuclei in the order of their labels, each takes the overlapping
            prediction of highest IoU that is still free (ties: lowest label), so the value can
            depend on the order of the true labels. `hungarian`: largest sum of IoUs (AJI+).

    Examples:
        >>> true, pred = np.zeros((2, 10, 30), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 5:15] = 1
        >>> pred[:, 20:25] = 2  # 50 / (150 + 50)
        >>> aggregated_jaccard_index(true, pred)
        0.25
    """
    return float(_aji(count(contingency(true, pred), aji_matching=matching)))


def normalized_coverage_score(true: LabelMap, pred: LabelMap) -> float:
    r"""Best IoU of each true nucleus, weighted by area; extra predictions are not punished.

    .. math:: NCS = \frac{\sum_j |G_j| \max_k IoU(G_j, S_k)}{\sum_j |G_j|}

    One prediction may serve several true nuclei.

    Examples:
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> true[:, 20:40] = 2
        >>> pred[:, 0:10] = 1  # (100 * 1 + 200 * 0) / 300
        >>> round(normalized_coverage_score(true, pred), 3)
        0.333
    """
    return float(_ncs(count(contingency(true, pred))))


def precision_recall(
    true: LabelMap, pred: LabelMap, threshold: Threshold = 0.5, inclusive: bool = False
) -> PrecisionRecallF1:
    r"""Shares of the predictions that are right and of the nuclei that are found.

    .. math:: P = \frac{TP}{TP + FP}, \quad R = \frac{TP}{TP + FN}, \quad
              F_1 = \frac{2\,TP}{2\,TP + FP + FN}

    Matches as in `mean_average_precision`. No predictions where there are nuclei is precision 0;
    predictions where there are no nuclei is recall 0.

    Examples:
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> true[:, 20:40] = 2
        >>> pred[:, 0:10] = 1
        >>> precision, recall, f1 = precision_recall(true, pred)
        >>> precision, recall, round(f1, 3)
        (1.0, 0.5, 0.667)
    """
    counts = count(contingency(true, pred), (threshold,), inclusive)
    parts = _precision(counts), _recall(counts), _f1(counts)
    return PrecisionRecallF1(*(float(v) for v in parts))


def panoptic_quality(true: LabelMap, pred: LabelMap) -> PanopticQualityParts:
    r"""Panoptic quality, and segmentation quality times recognition quality.

    .. math:: PQ = \frac{\sum_{TP} IoU}{TP + FP/2 + FN/2}
                 = \frac{\sum_{TP} IoU}{TP} \cdot \frac{TP}{TP + FP/2 + FN/2} = SQ \cdot RQ

    Pairs match at :math:`IoU > 1/2`, as the definition has it. SQ without a match is 0.

    Examples:
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 0:8] = 1  # IoU 0.8
        >>> pred[:, 20:30] = 2
        >>> pq, sq, rq = panoptic_quality(true, pred)
        >>> round(pq, 3), sq, round(rq, 3)
        (0.533, 0.8, 0.667)
    """
    counts = count(contingency(true, pred))
    sq = _ratio(counts.matched_iou, counts.matched[..., 0], _nothing(counts))
    return PanopticQualityParts(float(_pq(counts)), float(sq), float(_f1(counts)))


def count(
    table: Contingency,
    thresholds: Sequence[Threshold] = IOU_THRESHOLDS,
    inclusive: bool = False,
    aji_matching: AjiMatching = "greedy",
) -> Counts:
    """Count, for one image, what every score is made of; `Counts` says what.

    Raises:
        ValueError: If a threshold is outside [0, 1], or `aji_matching` is unknown.
    """
    if aji_matching not in ("greedy", "hungarian"):
        raise ValueError(
            f"Expected `matching` to be 'greedy' or 'hungarian', but got {aji_matching!r}"
        )
    pairs = pair_greedily(table) if aji_matching == "greedy" else pair_best(table)
    shared = table.intersection[pairs].sum()
    iou, true_area = table.iou, table.true_areas.sum()
    best = np.zeros(len(table.true_ids))
    np.maximum.at(best, table.true_index, iou)
    above_half = 2 * table.intersection > table.union
    return Counts(
        matched=count_matches(table, thresholds, inclusive),
        n_true=np.asarray(len(table.true_ids)),
        n_pred=np.asarray(len(table.pred_ids)),
        matched_iou=iou[above_half].sum(),
        aji_intersection=shared,
        # |G or S| = |G| + |S| - |G and S|, and what has no partner adds its area
        aji_union=true_area + table.pred_areas.sum() - shared,
        covered=(table.true_areas * best).sum(),
        true_area=true_area,
    )


def _ratio(above: np.ndarray, below: np.ndarray, if_zero: np.ndarray) -> np.ndarray:
    """`above / below`, and `if_zero` (1 or 0) where `below` is 0."""
    below = np.asarray(below, np.float64)
    return np.where(
        below > 0, above / np.where(below > 0, below, 1), np.asarray(if_zero, np.float64)
    )


def _jaccard(matched: np.ndarray, n_true: np.ndarray | int, n_pred: np.ndarray | int) -> np.ndarray:
    return _ratio(matched, n_true + n_pred - matched, np.ones(()))


def _nothing(c: Counts) -> np.ndarray:
    return (c.n_true == 0) & (c.n_pred == 0)


def _map(c: Counts) -> np.ndarray:
    return _jaccard(c.matched, c.n_true[..., None], c.n_pred[..., None]).mean(-1)


def _aji(c: Counts) -> np.ndarray:
    return _ratio(c.aji_intersection, c.aji_union, _nothing(c))


def _ncs(c: Counts) -> np.ndarray:
    return _ratio(c.covered, c.true_area, _nothing(c))


def _precision(c: Counts) -> np.ndarray:
    return _ratio(c.matched[..., 0], c.n_pred, _nothing(c))


def _recall(c: Counts) -> np.ndarray:
    return _ratio(c.matched[..., 0], c.n_true, _nothing(c))


def _f1(c: Counts) -> np.ndarray:
    return _ratio(2 * c.matched[..., 0], c.n_true + c.n_pred, _nothing(c))


def _pq(c: Counts) -> np.ndarray:
    return _ratio(2 * c.matched_iou, c.n_true + c.n_pred, _nothing(c))


SCORES: Mapping[str, Callable[[Counts], np.ndarray]] = MappingProxyType(
    {
        "map": _map,
        "aji": _aji,
        "ncs": _ncs,
        "precision": _precision,
        "recall": _recall,
        "pq": _pq,
    }
)
"""Each score by its name in logs, as a function of (possibly added up) counts."""
