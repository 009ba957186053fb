"""Scores where not every nucleus is labelled: from the labelled ones, which are all that is known.

A detection that is on no labelled nucleus may be right, so it is counted and not judged. If the
labelled nuclei are a random sample of all, `labelled_recall` estimates the recall at all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics import Metric

from nucleist.metrics.counts import IOU_THRESHOLDS, LabelMap, ratio
from nucleist.metrics.partial import Area, as_array, batch_of, counted, kept_at
from nucleist.ops.contingency import Contingency, contingency, count_matches
from nucleist.types import Prediction


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


class LabelledScores(Metric):
    r"""Recall, IoU and boundary distance at the labelled nuclei of images that are not complete.

    :math:`R_t` is the share of the labelled nuclei that a detection covers with an IoU above t.
    `labelled_recall` is its mean over t = 0.50, 0.55, ..., 0.95, `labelled_recall_50` that of 0.50
    alone, `labelled_iou` the mean of the best IoU of each nucleus. `boundary_distance` is the mean
    over the nuclei found at 0.50 of the distance, in pixels, from each outline to the nearest
    point of the other one, both ways. `labelled_nuclei` says how many nuclei these numbers stand
    on, `unjudged` how many detections are neither on a labelled nucleus nor in a complete area, so
    that nobody knows whether they are right, and `complete_area` which share of the area is
    complete, on which alone precision, mAP, AJI and PQ stand.

    Recall alone also rises when everything is outlined. `labelled_score` falls then: with n
    labelled nuclei and d detections, :math:`R_t^2 \cdot n / d` is proportional to precision times
    recall if the labelled nuclei are a random sample of all (Lee and Liu), and `labelled_score` is
    its mean over t. It compares checkpoints on the same images and is no quality by itself.

    .. math:: \frac{1}{|T|} \cdot \sum_{t \in T} R_t

    Metric:
        Names: labelled_recall, labelled_recall_50, labelled_iou, boundary_distance,
            labelled_score, labelled_nuclei, unjudged, complete_area
        Matching: one to one; above an IoU of 1/2 no nucleus has two partners
        Threshold: IoU > t, strict, compared in integers
        Averages: pooled (sums of all images added, then divided) and per image, over the images
            in which the number is defined; labelled_score is pooled; the last three are sums
        Empty: not defined without a labelled nucleus (boundary_distance: without one that is
            found); complete images have none of these numbers
        Range: 0 to 1, higher is better; boundary_distance 0 pixels and up, lower is better
        Source: labelled_score after Lee and Liu, ICML 2003; the others are ours
    """

    is_differentiable: bool = False
    higher_is_better: bool = True
    full_state_update: bool = False

    matched: Tensor
    labelled: Tensor
    best_iou: Tensor
    distance: Tensor
    found: Tensor
    unjudged: Tensor
    sums: Tensor
    terms: Tensor
    pixels: Tensor
    complete_pixels: Tensor
    partial_images: Tensor

    def __init__(self, score_thresholds: Sequence[float] = (0.5,)) -> None:
        """Set up empty sums.

        Args:
            score_thresholds: In [0, 1]; detections with a greater score count.
        """
        super().__init__()
        self.score_thresholds = tuple(float(t) for t in score_thresholds)
        size = len(self.score_thresholds)
        real = ("best_iou", "distance")
        for name in LabelledCounts._fields:
            shape = (size, len(IOU_THRESHOLDS)) if name == "matched" else (size,)
            dtype = torch.double if name in real else torch.long
            self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")
        for name, dtype in (("sums", torch.double), ("terms", torch.long)):
            shape = (size, len(LABELLED_SCORES))
            self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")
        for name in ("pixels", "complete_pixels", "partial_images"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        preds: Sequence[Prediction],
        targets: Sequence[LabelMap],
        complete: Sequence[Area] | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            preds: As of `nucleist.metrics.InstanceScores`.
            targets: `(H, W)` integer label maps of the labelled nuclei, 0 elsewhere.
            complete: For each image where every nucleus is labelled, `(H, W)` `bool`, or None
                if it is everywhere; such images count in the area alone.
        """
        for pred, target, area in batch_of(preds, targets, complete):
            pixels = int(np.prod(target.shape))
            self.pixels = self.pixels + pixels
            if area is None:
                self.complete_pixels = self.complete_pixels + pixels
                continue
            self.complete_pixels = self.complete_pixels + int(area.sum())
            self.partial_images = self.partial_images + 1
            counts = self._count(pred, target, area)
            for name, value in counts._asdict().items():
                self._add(name, value)
            scores = np.stack([score(counts) for score in LABELLED_SCORES.values()], axis=-1)
            self._add("sums", np.nan_to_num(scores))
            self._add("terms", np.isfinite(scores))

    def compute(self) -> dict[str, Tensor]:
        """`labelled_recall_pooled` and so on, each `(thresholds,)`; empty if all was complete.

        A number that is not defined is NaN.
        """
        if not self.partial_images:
            return {}
        counts = LabelledCounts(*(getattr(self, n).cpu().numpy() for n in LabelledCounts._fields))
        result = {}
        for i, (name, score) in enumerate(LABELLED_SCORES.items()):
            result[f"{name}_pooled"] = torch.from_numpy(score(counts)).to(self.sums)
            result[f"{name}_per_image"] = self.sums[:, i] / self.terms[:, i]
        area = self.complete_pixels.double() / self.pixels
        return result | {
            "labelled_score": torch.from_numpy(_evidence(counts)).to(self.sums),
            "labelled_nuclei": self.labelled,
            "unjudged": self.unjudged,
            "complete_area": area.expand(len(self.score_thresholds)),
        }

    def _count(self, pred: Prediction, target: LabelMap, area: Area) -> LabelledCounts:
        """Counts of one image with a leading dimension of score thresholds."""
        table = contingency(target, pred["label_map"])
        kept = kept_at(table, pred, self.score_thresholds)
        each = count_labelled(table, target, pred["label_map"], area, kept)
        return LabelledCounts(*(np.stack(values) for values in zip(*each, strict=True)))

    def _add(self, name: str, value: np.ndarray) -> None:
        state = getattr(self, name)
        setattr(self, name, state + torch.from_numpy(np.asarray(value)).to(state))


def labelled_scores(true: LabelMap, pred: LabelMap, area: Area) -> dict[str, float]:
    """The scores of one image: a row of a table, without what is not defined.

    Args:
        true: `(H, W)` integer label map of the labelled nuclei.
        pred: `(H, W)` integer label map of the detections.
        area: `(H, W)` `bool`, where every nucleus is labelled.

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
    counts = count_labelled(table, true, pred, area, everything)[0]
    scores = {name: float(score(counts)) for name, score in LABELLED_SCORES.items()}
    return {
        **{name: value for name, value in scores.items() if np.isfinite(value)},
        "labelled_nuclei": int(counts.labelled),
        "unjudged": int(counts.unjudged),
    }


def count_labelled(
    table: Contingency,
    true: LabelMap,
    pred: LabelMap,
    area: Area,
    kept: Sequence[np.ndarray],
) -> list[LabelledCounts]:
    """The counts of one image for each choice of detections.

    Args:
        table: Overlaps of the two maps.
        true: `(H, W)` integer label map of the labelled nuclei.
        pred: `(H, W)` integer label map of the detections.
        area: `(H, W)` `bool`, where every nucleus is labelled.
        kept: `(P,)` `bool` each, which of the table's detections count.
    """
    on = 2 * table.intersection > table.union
    distances = np.zeros(len(on))
    distances[on] = _distances(table, true, pred, np.flatnonzero(on))
    matched = np.zeros(len(table.pred_ids), bool)
    matched[table.pred_index[on]] = True
    judged = matched | counted(table, true, pred, area)[1]
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


def _distances(
    table: Contingency, true: LabelMap, pred: LabelMap, pairs: np.ndarray
) -> list[float]:
    """Boundary distance of pairs of the table, in pixels."""
    true, pred = as_array(true), as_array(pred)
    boxes_true, boxes_pred = ndimage.find_objects(true), ndimage.find_objects(pred)
    found = []
    for pair in pairs:
        one = int(table.true_ids[table.true_index[pair]])
        other = int(table.pred_ids[table.pred_index[pair]])
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(boxes_true[one - 1], boxes_pred[other - 1], strict=True)
        )
        found.append(boundary_distance(true[box] == one, pred[box] == other))
    return found


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


def _evidence(c: LabelledCounts) -> np.ndarray:
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
