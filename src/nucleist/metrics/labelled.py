"""Scores where not every nucleus is labelled: from the labelled ones, which are all that is known.

A detection that is on no labelled nucleus may be right, so it is counted and not judged. If the
labelled nuclei are a random sample of all, `labelled_recall` estimates the recall at all of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from nucleist.metrics.counts import IOU_THRESHOLDS, LabelMap
from nucleist.metrics.labelled_counts import (
    LABELLED_SCORES,
    LabelledCounts,
    count_labelled,
    evidence,
)
from nucleist.metrics.partial import Area, batch_of, checked, kept_at
from nucleist.ops.contingency import contingency
from nucleist.types import Prediction


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
    `labelled_score_best_threshold` is the highest of it over the score thresholds 0.05, 0.10, ...,
    0.95 and the fixed one, in logs of the validation.

    .. math:: \frac{1}{|T|} \cdot \sum_{t \in T} R_t

    Metric:
        Names: labelled_recall, labelled_recall_50, labelled_iou, boundary_distance,
            labelled_score, labelled_score_best_threshold, labelled_nuclei, unjudged, complete_area
        Matching: one to one; above an IoU of 1/2 no nucleus has two partners
        Threshold: IoU > t, strict, compared in integers
        Averages: pooled (sums of all images added, then divided) and per image, over the images
            in which the number is defined; labelled_score is pooled; labelled_nuclei and unjudged
            are numbers over all images, complete_area is a share of the area of all images
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
            score_thresholds: In [0, 1], at least one; detections with a greater score count.

        Raises:
            ValueError: If a threshold is outside [0, 1] or there is none.
        """
        super().__init__()
        self.score_thresholds = checked(score_thresholds)
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
        known: Sequence[LabelMap | None] | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            preds: As of `nucleist.metrics.InstanceScores`.
            targets: `(H, W)` integer label maps of the labelled nuclei, 0 elsewhere.
            complete: For each image where every nucleus is labelled, `(H, W)` `bool`, or None
                if it is everywhere; such images count in the area alone.
            known: For each image the label map of further labelled nuclei, which are not scored,
                but of which a detection is judged; None without any.
        """
        others = [None] * len(targets) if known is None else known
        for (pred, target, area), other in zip(
            batch_of(preds, targets, complete), others, strict=True
        ):
            pixels = int(np.prod(target.shape))
            self.pixels = self.pixels + pixels
            if area is None:
                self.complete_pixels = self.complete_pixels + pixels
                continue
            self.complete_pixels = self.complete_pixels + int(area.sum())
            self.partial_images = self.partial_images + 1
            counts = self._count(pred, target, area, other)
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
            "labelled_score": torch.from_numpy(evidence(counts)).to(self.sums),
            "labelled_nuclei": self.labelled,
            "unjudged": self.unjudged,
            "complete_area": area.expand(len(self.score_thresholds)),
        }

    def _count(
        self, pred: Prediction, target: LabelMap, area: Area, known: LabelMap | None
    ) -> LabelledCounts:
        """Counts of one image with a leading dimension of score thresholds."""
        found = pred["label_map"]
        table = contingency(target, found)
        kept = kept_at(table, pred, self.score_thresholds)
        each = count_labelled(table, target, found, area, kept, known)
        return LabelledCounts(*(np.stack(values) for values in zip(*each, strict=True)))

    def _add(self, name: str, value: np.ndarray) -> None:
        state = getattr(self, name)
        setattr(self, name, state + torch.from_numpy(np.asarray(value)).to(state))
