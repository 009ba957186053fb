"""The counts behind the measures of the NuSeT paper, see `nucleist.metrics.nuset`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nucleist.metrics.counts import LabelMap, ratio
from nucleist.metrics.partial import as_array
from nucleist.ops.contingency import Contingency, contingency


class DetectionErrors(NamedTuple):
    """Numbers of objects or events, as `nucleist.metrics.nuset.detection_errors` defines them."""

    correct: int
    incorrect: int
    missed: int
    gained: int
    split: int
    merge: int
    catastrophe: int


class NusetCounts(NamedTuple):
    """The counts of one image; those of several images may be added.

    Attributes:
        nuclei: True nuclei.
        predicted: Predicted nuclei.
        uncovered: True nuclei of which no prediction covers 70 %.
        spurious: Predictions of which no true nucleus covers 70 %.
        separated: Touching nuclei that have a prediction of their own.
        touching: True nuclei within 2 pixels of another.
        both: Pixels that are foreground in both maps.
        only_true: Pixels that are foreground in the true map alone.
        only_pred: Pixels that are foreground in the predicted map alone.
        neither: Pixels that are background in both maps.
    """

    nuclei: int
    predicted: int
    uncovered: int
    spurious: int
    separated: int
    touching: int
    both: int
    only_true: int
    only_pred: int
    neither: int


def errors_of(table: Contingency) -> DetectionErrors:
    """`detection_errors` from a table of overlaps."""
    hit = 5 * table.intersection > 3 * table.union
    n_true, n_pred = len(table.true_ids), len(table.pred_ids)
    free = np.ones(n_true + n_pred, bool)  # nodes of a graph: true nuclei, then predictions
    free[table.true_index[hit]] = free[n_true + table.pred_index[hit]] = False
    ends = table.true_index, n_true + table.pred_index
    edge = (10 * table.intersection >= table.union) & free[ends[0]] & free[ends[1]]
    pairs = ends[0][edge], ends[1][edge]
    correct = int(hit.sum())
    found = DetectionErrors(
        correct=correct,
        incorrect=n_pred - correct,
        missed=int(free[:n_true].sum()),
        gained=int(free[n_true:].sum()),
        split=0,
        merge=0,
        catastrophe=0,
    )
    if all(len(np.unique(one)) == len(one) for one in pairs):  # nobody is joined to two
        return found
    graph = coo_array((np.ones(len(pairs[0]), np.int8), pairs), (len(free), len(free)))
    groups, group = connected_components(graph, directed=False)
    of_true, of_pred = (
        np.bincount(group[part][free[part]].astype(int), minlength=groups)
        for part in (slice(n_true), slice(n_true, None))
    )
    return found._replace(
        missed=int(((of_true == 1) & (of_pred <= 1)).sum()),
        gained=int(((of_pred == 1) & (of_true <= 1)).sum()),
        split=int(((of_true == 1) & (of_pred > 1)).sum()),
        merge=int(((of_true > 1) & (of_pred == 1)).sum()),
        catastrophe=int(((of_true > 1) & (of_pred > 1)).sum()),
    )


def count_nuset(
    true: LabelMap,
    pred: LabelMap,
    table: Contingency | None = None,
    touching: np.ndarray | None = None,
) -> NusetCounts:
    """The counts of one image.

    Args:
        true: `(H, W)` integer, 0 background.
        pred: `(H, W)` integer, 0 background; not looked at if there is a table.
        table: Their overlaps, if they are counted already.
        touching: `touching_pairs(true)`, if they are known already.
    """
    table = contingency(true, pred) if table is None else table
    shared_true, shared_pred = np.zeros_like(table.true_ids), np.zeros_like(table.pred_ids)
    np.maximum.at(shared_true, table.true_index, table.intersection)
    np.maximum.at(shared_pred, table.pred_index, table.intersection)
    near = touching_pairs(true) if touching is None else touching
    separated, touch = _separated(near, table)
    both, in_true, in_pred = (
        int(a.sum()) for a in (table.intersection, table.true_areas, table.pred_areas)
    )
    return NusetCounts(
        nuclei=len(table.true_ids),
        predicted=len(table.pred_ids),
        uncovered=int((10 * shared_true < 7 * table.true_areas).sum()),
        spurious=int((10 * shared_pred < 7 * table.pred_areas).sum()),
        separated=separated,
        touching=touch,
        both=both,
        only_true=in_true - both,
        only_pred=in_pred - both,
        neither=int(np.prod(true.shape)) - in_true - in_pred + both,
    )


def _separated(near: np.ndarray, table: Contingency) -> tuple[int, int]:
    """Numbers of separated and of touching nuclei."""
    first, second = (np.searchsorted(table.true_ids, ids) for ids in near.T)
    # The last row of each nucleus in this order is its largest overlap with the lowest label.
    order = np.lexsort((-table.pred_index, table.intersection, table.true_index))
    best = np.full(len(table.true_ids), -1)
    best[table.true_index[order]] = table.pred_index[order]
    shared = np.zeros(len(table.true_ids), np.int64)
    np.maximum.at(shared, table.true_index, table.intersection)
    own = 2 * shared >= table.true_areas
    same = best[first] == best[second]
    own[first[same]] = own[second[same]] = False
    touching = np.union1d(first, second)
    return int(own[touching].sum()), len(touching)


def touching_pairs(true: LabelMap) -> np.ndarray:
    """Nuclei that have pixels at most 2 apart: shift the map over itself.

    Args:
        true: `(H, W)` integer, 0 background.

    Returns:
        `(K, 2)` pairs of labels.
    """
    labels = as_array(true)
    found = [np.empty((0, 2), labels.dtype)]
    height, width = labels.shape
    for dy, dx in ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0)):
        here = labels[: height - dy, max(-dx, 0) : width - max(dx, 0)]
        there = labels[dy:, max(dx, 0) : width - max(-dx, 0)]
        meet = (here > 0) & (there > 0) & (here != there)
        found.append(np.stack([here[meet], there[meet]], 1))
    return np.unique(np.concatenate(found), axis=0)


def _rate(wrong: str) -> Callable[[NusetCounts], np.ndarray]:
    return lambda c: ratio(getattr(c, wrong), c.nuclei, np.asarray(c.predicted) > 0)


def _classes(c: NusetCounts, weight: int) -> np.ndarray:
    """Mean over the two classes of w TP / (w TP + FP + FN): IU for w = 1, F1 for w = 2."""
    wrong = c.only_true + c.only_pred
    parts = [ratio(weight * tp, weight * tp + wrong, 1) for tp in (c.both, c.neither)]
    return np.mean(parts, axis=0)


def _error(c: NusetCounts) -> np.ndarray:
    wrong = c.only_true + c.only_pred
    return ratio(wrong, wrong + c.both + c.neither, 0)


NUSET_SCORES: Mapping[str, Callable[[NusetCounts], np.ndarray]] = MappingProxyType(
    {
        "missed_rate": _rate("uncovered"),
        "spurious_rate": _rate("spurious"),
        "touching_separated": lambda c: ratio(c.separated, c.touching, 1),
        "pixel_mean_iu": lambda c: _classes(c, 1),
        "pixel_mean_f1": lambda c: _classes(c, 2),
        "pixel_accuracy": lambda c: 1 - _error(c),
        "pixel_rmse": lambda c: np.sqrt(_error(c)),
    }
)
"""Each measure by its name in tables, as a function of (possibly added up) counts."""


def nuset_row(counts: NusetCounts, errors: DetectionErrors) -> dict[str, float]:
    """Every measure of one image by name, and the numbers of its errors by kind."""
    return {name: float(f(counts)) for name, f in NUSET_SCORES.items()} | errors._asdict()
