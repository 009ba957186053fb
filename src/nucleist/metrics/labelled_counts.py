"""The counts behind the scores at labelled nuclei, from tables of overlaps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from nucleist.metrics.counts import IOU_THRESHOLDS, LabelMap, ratio
from nucleist.metrics.partial import Area, as_array, counted
from nucleist.ops.contingency import Contingency, contingency, count_matches


class LabelledCounts(NamedTuple):
    """Sums over the labelled nuclei of one image; those of several images may be added.

    Attributes:
        matched: `(..., 10)` `int64` labelled nuclei found at each of `IOU_THRESHOLDS`.
        labelled: `(...)` `int64` labelled nuclei.
        best_iou: `(...)` `float64` sum of the IoU of each with the detection that covers it best.
        distance: `(...)` `float64` sum of the boundary distances of those found at 1/2, pixels.
        found: `(...)` `int64` detections.
        unjudged: `(...)` `int64` detections on no labelled nucleus and not in a complete area.
    """

    matched: np.ndarray
    labelled: np.ndarray
    best_iou: np.ndarray
    distance: np.ndarray
    found: np.ndarray
    unjudged: np.ndarray


def count_labelled(
    table: Contingency,
    true: LabelMap,
    pred: LabelMap,
    area: Area,
    kept: Sequence[np.ndarray],
    known: LabelMap | None = None,
) -> list[LabelledCounts]:
    """The counts of one image for each choice of detections.

    Args:
        table: Overlaps of the two maps.
        true: `(H, W)` integer label map of the labelled nuclei.
        pred: `(H, W)` integer label map of the detections.
        area: `(H, W)` `bool`, where every nucleus is labelled.
        kept: `(P,)` `bool` each, which of the table's detections count.
        known: `(H, W)` integer label map of further labelled nuclei.
    """
    on = 2 * table.intersection > table.union
    distances = np.zeros(len(on))
    distances[on] = _distances(table, true, pred, np.flatnonzero(on))
    judged = counted(table, true, pred, area)[1] | _on_a_nucleus(table)
    if known is not None:
        judged |= _on_a_nucleus(contingency(known, pred))
    found = []
    for keep in kept:
        some, pair = table.keep_predictions(keep), keep[table.pred_index]
        best = np.zeros(len(some.true_ids))
        np.maximum.at(best, some.true_index, some.iou)
        found.append(
            LabelledCounts(
                matched=count_matches(some, IOU_THRESHOLDS),
                labelled=np.asarray(len(table.true_ids)),
                best_iou=best.sum(),
                distance=distances[pair].sum(),
                found=np.asarray(np.count_nonzero(keep)),
                unjudged=np.asarray(np.count_nonzero(keep & ~judged)),
            )
        )
    return found


def _on_a_nucleus(table: Contingency) -> np.ndarray:
    """Which detections have an IoU above 1/2 with a true nucleus, `(P,)` `bool`."""
    matched = np.zeros(len(table.pred_ids), bool)
    matched[table.pred_index[2 * table.intersection > table.union]] = True
    return matched


def _distances(
    table: Contingency, true: LabelMap, pred: LabelMap, pairs: np.ndarray
) -> list[float]:
    """Boundary distance of pairs of the table, in pixels."""
    true, pred = _numbered(true, table.true_ids), _numbered(pred, table.pred_ids)
    boxes_true, boxes_pred = ndimage.find_objects(true), ndimage.find_objects(pred)
    found = []
    for one, other in zip(table.true_index[pairs], table.pred_index[pairs], strict=True):
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(boxes_true[one], boxes_pred[other], strict=True)
        )
        found.append(boundary_distance(true[box] == one + 1, pred[box] == other + 1))
    return found


def _numbered(labels: LabelMap, ids: np.ndarray) -> np.ndarray:
    """The map with its ids as 1, 2, ...: a list of boxes is as long as the largest id."""
    labels = as_array(labels)
    if len(ids) == 0 or ids[-1] == len(ids):
        return labels
    return np.where(labels > 0, np.searchsorted(ids, labels) + 1, 0)


def boundary_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance between the outlines of two masks, both ways, in pixels.

    An outline are the pixels of a mask with a side neighbour that is not in it.

    Args:
        one: `(H, W)` `bool`, not empty.
        other: The same shape, not empty.

    Examples:
        >>> a, b = np.zeros((2, 9, 9), bool)
        >>> a[2:7, 2:7] = b[2:7, 3:8] = True
        >>> round(boundary_distance(a, a), 3), round(boundary_distance(a, b), 3)
        (0.0, 0.5)
    """
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (one, other)]
    first, second = (ndimage.distance_transform_edt(~edge) for edge in edges)
    both = [*second[edges[0]].tolist(), *first[edges[1]].tolist()]
    return float(np.mean(both))


def _mean_recall(c: LabelledCounts) -> np.ndarray:
    return ratio(c.matched.mean(-1), c.labelled, np.nan)


def _recall_50(c: LabelledCounts) -> np.ndarray:
    return ratio(c.matched[..., 0], c.labelled, np.nan)


def _iou(c: LabelledCounts) -> np.ndarray:
    return ratio(c.best_iou, c.labelled, np.nan)


def _distance(c: LabelledCounts) -> np.ndarray:
    return ratio(c.distance, c.matched[..., 0], np.nan)


def evidence(c: LabelledCounts) -> np.ndarray:
    """Mean of R_t^2 n / d; 0 where nothing is found, NaN where nothing is labelled."""
    squares = ratio((c.matched.astype(np.float64) ** 2).mean(-1), c.labelled, np.nan)
    return ratio(squares, c.found, np.where(c.labelled > 0, 0.0, np.nan))


LABELLED_SCORES = {
    "labelled_recall": _mean_recall,
    "labelled_recall_50": _recall_50,
    "labelled_iou": _iou,
    "boundary_distance": _distance,
}
"""Each score by its name in logs, as a function of (possibly added up) counts."""


def labelled_scores(
    true: LabelMap, pred: LabelMap, area: Area, known: LabelMap | None = None
) -> dict[str, float]:
    """The scores of one image: a row of a table, without what is not defined.

    Args:
        true: `(H, W)` integer label map of the labelled nuclei.
        pred: `(H, W)` integer label map of the detections.
        area: `(H, W)` `bool`, where every nucleus is labelled.
        known: `(H, W)` integer label map of further labelled nuclei, which are not scored.

    Examples:
        >>> import numpy as np
        >>> nowhere = np.zeros((1, 6), bool)
        >>> row = labelled_scores(
        ...     np.array([[1, 1, 0, 2, 0, 0]]), np.array([[1, 1, 0, 0, 0, 2]]), nowhere)
        >>> row["labelled_recall"], row["labelled_nuclei"], row["unjudged"]
        (0.5, 2, 1)
    """
    table = contingency(true, pred)
    everything = [np.ones(len(table.pred_ids), bool)]
    counts = count_labelled(table, true, pred, area, everything, known)[0]
    scores = {name: float(score(counts)) for name, score in LABELLED_SCORES.items()}
    return {
        **{name: value for name, value in scores.items() if np.isfinite(value)},
        "labelled_nuclei": int(counts.labelled),
        "unjudged": int(counts.unjudged),
    }
