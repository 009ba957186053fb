"""The counts that all scores are computed from: sums over one image, added up over many.

A score is a ratio of sums. Pooling a data set adds the counts of its images before dividing;
averaging takes the mean of the images' own ratios. All counts come from one table of overlaps, as
in StarDist, see `nucleist.ops.contingency`.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from nucleist.ops.contingency import (
    Contingency,
    Threshold,
    count_matches,
    pair_best,
    pair_greedily,
)

LabelMap = np.ndarray | Tensor
AjiMatching = Literal["greedy", "hungarian"]

IOU_THRESHOLDS = tuple(Fraction(k, 20) for k in range(10, 20))
"""0.50, 0.55, ..., 0.95 as exact fractions; precision and recall use the first."""

TENTHS = tuple(Fraction(k, 10) for k in range(1, 11))
"""0.1, 0.2, ..., 1.0 as exact fractions, the thresholds of the mean F1."""


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
        true_area: `(...)` `int64` pixels of true nuclei.
        pred_area: `(...)` `int64` pixels of predicted nuclei.
        both_area: `(...)` `int64` pixels in a true and a predicted nucleus, whichever they are.
        matched_tenths: `(..., 10)` `int64` nuclei matched one to one at IoU >= 0.1, ..., 1.0.
    """

    matched: np.ndarray
    n_true: np.ndarray
    n_pred: np.ndarray
    matched_iou: np.ndarray
    aji_intersection: np.ndarray
    aji_union: np.ndarray
    covered: np.ndarray
    true_area: np.ndarray
    pred_area: np.ndarray
    both_area: np.ndarray
    matched_tenths: np.ndarray


def count(
    table: Contingency,
    thresholds: Sequence[Threshold] = IOU_THRESHOLDS,
    inclusive: bool = False,
    aji_matching: AjiMatching = "greedy",
) -> Counts:
    """The counts of one image, from its table of overlaps.

    Args:
        table: Overlaps of true and predicted nuclei.
        thresholds: IoUs in [0, 1] at which nuclei are matched.
        inclusive: Match at IoU >= t rather than > t.
        aji_matching: How AJI pairs nuclei, see `aggregated_jaccard_index`.

    Raises:
        ValueError: If a threshold is outside [0, 1], or `aji_matching` is unknown.
    """
    if aji_matching not in ("greedy", "hungarian"):
        raise ValueError(
            f"Expected `matching` to be 'greedy' or 'hungarian', but got {aji_matching!r}"
        )
    pairs = pair_greedily(table) if aji_matching == "greedy" else pair_best(table)
    shared = table.intersection[pairs].sum()
    iou, true_area, pred_area = table.iou, table.true_areas.sum(), table.pred_areas.sum()
    best = np.zeros(len(table.true_ids))
    np.maximum.at(best, table.true_index, iou)
    above_half = 2 * table.intersection > table.union
    return Counts(
        matched=count_matches(table, thresholds, inclusive),
        n_true=np.asarray(len(table.true_ids)),
        n_pred=np.asarray(len(table.pred_ids)),
        matched_iou=iou[above_half].sum(),
        aji_intersection=shared,
        # |G or S| = |G| + |S| - |G and S|, and a nucleus without a partner adds its area
        aji_union=true_area + pred_area - shared,
        covered=(table.true_areas * best).sum(),
        true_area=true_area,
        pred_area=pred_area,
        both_area=table.intersection.sum(),
        matched_tenths=_matches_at_tenths(table),
    )


def _matches_at_tenths(table: Contingency) -> np.ndarray:
    """`count_matches(table, TENTHS, inclusive=True)`, ten times as fast on a usual table.

    Up to an IoU of 1/2 a nucleus may have several partners, and finding the largest matching is
    slow. A pair whose nuclei have no other partner at 0.1 is in every largest matching, so only
    the other pairs are searched, which are few.
    """
    tenths = 10 * table.intersection // table.union  # IoU >= k / 10 exactly if this is >= k
    pairs = np.bincount(tenths, minlength=11)[::-1].cumsum()[::-1][1:]
    ambiguous = (tenths >= 1) & (
        _partners(table.true_index, tenths) + _partners(table.pred_index, tenths) > 2
    )
    if ambiguous.any():
        some = {name: getattr(table, name)[ambiguous] for name in table._fields[4:]}
        most = count_matches(table._replace(**some), TENTHS[:5], inclusive=True)
        pairs[:5] += most - (tenths[ambiguous] >= np.arange(1, 6)[:, None]).sum(1)
    return pairs


def _partners(nucleus: np.ndarray, tenths: np.ndarray) -> np.ndarray:
    """For each pair, how many pairs of IoU >= 0.1 its nucleus is in."""
    return np.bincount(nucleus, tenths >= 1)[nucleus]


def ratio(
    above: np.ndarray | float, below: np.ndarray | float, if_zero: np.ndarray | float
) -> np.ndarray:
    """`above / below`, and `if_zero` (1 or 0) where `below` is 0."""
    below = np.asarray(below, np.float64)
    return np.where(
        below > 0, above / np.where(below > 0, below, 1), np.asarray(if_zero, np.float64)
    )


def nothing(c: Counts) -> np.ndarray:
    """Whether both maps are empty."""
    return (c.n_true == 0) & (c.n_pred == 0)


def jaccard(matched: np.ndarray, n_true: np.ndarray | int, n_pred: np.ndarray | int) -> np.ndarray:
    """TP / (TP + FP + FN)."""
    return ratio(matched, n_true + n_pred - matched, 1)


def f1(matched: np.ndarray, c: Counts) -> np.ndarray:
    """2 TP / (2 TP + FP + FN)."""
    return ratio(2 * matched, c.n_true + c.n_pred, nothing(c))


def _map(c: Counts) -> np.ndarray:
    return jaccard(c.matched, c.n_true[..., None], c.n_pred[..., None]).mean(-1)


def _aji(c: Counts) -> np.ndarray:
    return ratio(c.aji_intersection, c.aji_union, nothing(c))


def _ncs(c: Counts) -> np.ndarray:
    return ratio(c.covered, c.true_area, nothing(c))


def _precision(c: Counts) -> np.ndarray:
    return ratio(c.matched[..., 0], c.n_pred, nothing(c))


def _recall(c: Counts) -> np.ndarray:
    return ratio(c.matched[..., 0], c.n_true, nothing(c))


def _f1(c: Counts) -> np.ndarray:
    return f1(c.matched[..., 0], c)


def _pq(c: Counts) -> np.ndarray:
    return ratio(2 * c.matched_iou, c.n_true + c.n_pred, nothing(c))


def _f1_50(c: Counts) -> np.ndarray:
    return f1(c.matched_tenths[..., TENTHS.index(Fraction(1, 2))], c)


def _f1_mean(c: Counts) -> np.ndarray:
    # the denominator is the same at every threshold, so the mean of F1s is the F1 of the mean
    return f1(c.matched_tenths.mean(-1), c)


def _pixel_iou(c: Counts) -> np.ndarray:
    return ratio(c.both_area, c.true_area + c.pred_area - c.both_area, 1)


def _pixel_dice(c: Counts) -> np.ndarray:
    return ratio(2 * c.both_area, c.true_area + c.pred_area, 1)


SCORES: Mapping[str, Callable[[Counts], np.ndarray]] = MappingProxyType(
    {
        "map": _map,
        "aji": _aji,
        "ncs": _ncs,
        "precision": _precision,
        "recall": _recall,
        "pq": _pq,
        "f1": _f1,
        "f1_50": _f1_50,
        "f1_mean": _f1_mean,
        "pixel_iou": _pixel_iou,
        "pixel_dice": _pixel_dice,
    }
)
"""Each score by its name in logs, as a function of (possibly added up) counts."""
