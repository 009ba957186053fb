"""What can be scored where only a part of an image is complete.

**Inside.** Precision, mAP, AJI and the like need every nucleus, so they are computed from what lies
in the complete area: a labelled nucleus of which at least half its pixels do, and a detection that
is on such a nucleus (IoU above 1/2), or is on no labelled nucleus and has at least half its pixels
there. Both keep their pixels outside the area, so that a nucleus on its border is compared whole.

**Elsewhere** only labelled nuclei are known: see `nucleist.metrics.labelled`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nucleist.metrics.counts import LabelMap
from nucleist.ops.contingency import Contingency
from nucleist.types import Prediction

Area = np.ndarray | Tensor | None
"""`(H, W)` `bool`: where an image is complete; None if it is everywhere."""


def is_complete_somewhere(area: Area) -> bool:
    """Whether any of an image can be scored for false detections."""
    return area is None or bool(area.any())


def within(table: Contingency, true: LabelMap, pred: LabelMap, area: Area) -> Contingency:
    """The table of what counts in the complete area.

    Args:
        table: Overlaps of the two whole maps.
        true: `(H, W)` integer label map of the labelled nuclei.
        pred: `(H, W)` integer label map of the detections.
        area: Where every nucleus is labelled.
    """
    if area is None:
        return table
    known, judged = counted(table, true, pred, area)
    return table.keep_true(known).keep_predictions(judged)


def counted(
    table: Contingency, true: LabelMap, pred: LabelMap, area: Area
) -> tuple[np.ndarray, np.ndarray]:
    """Which labelled nuclei and which detections count in the complete area.

    Returns:
        `(T,)` and `(P,)` `bool`.
    """
    known = _half_inside(true, table.true_ids, table.true_areas, area)
    judged = _half_inside(pred, table.pred_ids, table.pred_areas, area)
    partners = 2 * table.intersection > table.union  # at most one a nucleus
    judged[table.pred_index[partners]] = known[table.true_index[partners]]
    return known, judged


def kept_at(table: Contingency, pred: Prediction, thresholds: Sequence[float]) -> list[np.ndarray]:
    """For each score threshold which of the table's detections have a greater score.

    Returns:
        `(P,)` `bool` each.

    Raises:
        ValueError: If a detection has no score.
    """
    scores = pred["scores"].detach().float().cpu().numpy()
    if len(table.pred_ids) and table.pred_ids[-1] > len(scores):
        raise ValueError(
            f"Expected a score for each label of the predicted label map, but got "
            f"{len(scores)} scores and the label {table.pred_ids[-1]}"
        )
    scores = scores[table.pred_ids - 1]
    # in float32, as the scores are, or a score of 0.1 would be greater than 0.1
    return [scores > np.float32(t) for t in thresholds]


def checked(score_thresholds: Sequence[float]) -> tuple[float, ...]:
    """Score thresholds as plain numbers.

    Raises:
        ValueError: If one is outside [0, 1] or there is none.
    """
    if len(score_thresholds) == 0 or not all(0 <= t <= 1 for t in score_thresholds):
        raise ValueError(f"Expected `score_thresholds` in [0, 1], but got {list(score_thresholds)}")
    return tuple(float(t) for t in score_thresholds)


def batch_of(
    preds: Sequence[Prediction], targets: Sequence[LabelMap], complete: Sequence[Area] | None
) -> Iterator[tuple[Prediction, LabelMap, Area]]:
    """The images of a batch.

    Raises:
        ValueError: If the lengths differ.
    """
    areas = [None] * len(targets) if complete is None else complete
    if len(preds) != len(targets) or len(areas) != len(targets):
        raise ValueError(
            f"Expected a target for each prediction, but got {len(preds)} predictions "
            f"and {len(targets)} targets with {len(areas)} areas"
        )
    return zip(preds, targets, areas, strict=True)


def _half_inside(labels: LabelMap, ids: np.ndarray, areas: np.ndarray, area: Area) -> np.ndarray:
    """Whether at least half the pixels of each nucleus lie in an area."""
    assert area is not None
    inside = as_array(labels)[as_array(area)]
    pixels = np.searchsorted(ids, inside[inside > 0])
    return 2 * np.bincount(pixels, minlength=len(ids)) >= areas


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A NumPy array on the CPU."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
