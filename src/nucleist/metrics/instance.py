"""The scores of `nucleist.metrics.functional` over a data set, at several score thresholds at once.

Every class has the same sum states, as torchmetrics' `PanopticQuality` has, so a `MetricCollection`
updates one and shares its states with the others, and the states of several processes are added.
Each score has two averages: `<name>_pooled` adds the counts of all images, then divides, so that a
crowded image weighs more; `<name>_per_image` is the mean of the images' own scores. The IEEE Access
paper (2019) pools its own AJI but cites per-image means of others, so both are needed to compare.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from nucleist.metrics.counts import (
    IOU_THRESHOLDS,
    SCORES,
    TENTHS,
    AjiMatching,
    Counts,
    LabelMap,
    count,
)
from nucleist.metrics.partial import Area, batch_of, checked, is_complete_somewhere, kept_at, within
from nucleist.ops.contingency import contingency
from nucleist.types import Prediction


class InstanceScores(Metric):
    """States and update shared by all scores; `compute` of a subclass returns some of them.

    Where an image is complete only in part, what counts is what lies there, see
    `nucleist.metrics.partial`; an image that is complete nowhere does not count at all. Without
    any that counts the scores are NaN, and 0 before the first update.

    A detection counts at a score threshold if its score is greater and it has a pixel in the
    label map. The overlaps are counted once for each image: at a higher threshold, detections are
    erased from the same label map.

    Results are `(thresholds,)`; torchmetrics makes a scalar of a result with one entry, so with
    one threshold they can be logged as they are.

    Attributes:
        score_thresholds: The thresholds, in the order of the results' entries.
    """

    is_differentiable: bool = False
    higher_is_better: bool = True
    full_state_update: bool = False

    matched: Tensor
    n_true: Tensor
    n_pred: Tensor
    matched_iou: Tensor
    aji_intersection: Tensor
    aji_union: Tensor
    covered: Tensor
    true_area: Tensor
    pred_area: Tensor
    both_area: Tensor
    matched_tenths: Tensor
    score_sums: Tensor
    images: Tensor
    seen: Tensor
    partial: Tensor

    def __init__(
        self,
        score_thresholds: Sequence[float] = (0.5,),
        *,
        inclusive: bool = False,
        aji_matching: AjiMatching = "greedy",
    ) -> None:
        """Set up empty sums.

        Args:
            score_thresholds: In [0, 1], at least one; detections with a greater score count.
            inclusive: Match nuclei at IoU >= t rather than > t (PQ stays at > 1/2, the mean F1 at
                >= t).
            aji_matching: How AJI pairs nuclei, see `aggregated_jaccard_index`.

        Raises:
            ValueError: If a threshold is outside [0, 1] or there is none.
        """
        super().__init__()
        self.score_thresholds = checked(score_thresholds)
        self.inclusive = inclusive
        self.aji_matching: AjiMatching = aji_matching
        size = len(self.score_thresholds)
        for name in Counts._fields:
            dtype = torch.double if name in ("matched_iou", "covered") else torch.long
            wide = {"matched": len(IOU_THRESHOLDS), "matched_tenths": len(TENTHS)}
            shape = (size, wide[name]) if name in wide else (size,)
            self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")
        sums = torch.zeros(size, len(SCORES), dtype=torch.double)
        self.add_state("score_sums", sums, dist_reduce_fx="sum")
        for name in ("images", "seen", "partial"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        preds: Sequence[Prediction],
        targets: Sequence[LabelMap],
        complete: Sequence[Area] | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            preds: One for each image; `label_map` `(H, W)` integer in which detection `i` has
                the value `i + 1`, and `scores` `(N,)`.
            targets: `(H, W)` integer label maps, 0 background, with **all** nuclei of the area
                that is complete.
            complete: For each image where it is complete, `(H, W)` `bool`, or None if it is
                everywhere; None if all images are.

        Raises:
            ValueError: If the batch lengths or the shapes differ, or a detection has no score.
        """
        for pred, target, area in batch_of(preds, targets, complete):
            self.seen = self.seen + 1
            self.partial = self.partial + int(area is not None)
            if not is_complete_somewhere(area):
                continue
            counts = self._count(pred, target, area)
            scores = np.stack([score(counts) for score in SCORES.values()], axis=-1)
            for name, value in counts._asdict().items():
                self._add(name, value)
            self._add("score_sums", scores)
            self.images = self.images + 1

    def compute(self) -> dict[str, Tensor]:
        """All scores, pooled and per image: `{"map_pooled": (thresholds,) float64, ...}`.

        None at all if there were images, but none that is complete anywhere. If some are not
        complete, `complete_nuclei` `(thresholds,)` is the number of nuclei that they stand on.
        """
        if self.seen and not self.images:
            return {}
        known = {"complete_nuclei": self.n_true} if self.partial else {}
        return self.averages(*SCORES) | known

    def averages(self, *names: str) -> dict[str, Tensor]:
        """Both averages of the named scores, each `(thresholds,)` `float64`.

        Without any image all are 0, so that a validation without images does not score 1; with
        images of which none is complete anywhere they are NaN.
        """
        counts = Counts(*(getattr(self, field).cpu().numpy() for field in Counts._fields))
        result = {}
        for name in names:
            mean = self.score_sums[:, list(SCORES).index(name)] / self.images.clamp(min=1)
            pooled = torch.from_numpy(SCORES[name](counts)).to(mean)
            undefined = np.nan if self.seen and not self.images else 0.0
            result[f"{name}_pooled"] = pooled.where(self.images > 0, undefined)
            result[f"{name}_per_image"] = mean.where(self.images > 0, undefined)
        return result

    def _count(self, pred: Prediction, target: LabelMap, area: Area) -> Counts:
        """Counts of one image with a leading dimension of score thresholds."""
        table = contingency(target, pred["label_map"])
        if area is not None:
            table = within(table, target, pred["label_map"], area)
        kept = kept_at(table, pred, self.score_thresholds)
        each = [
            count(table.keep_predictions(keep), IOU_THRESHOLDS, self.inclusive, self.aji_matching)
            for keep in kept
        ]
        return Counts(*(np.stack(values) for values in zip(*each, strict=True)))

    def _add(self, name: str, value: np.ndarray) -> None:
        state = getattr(self, name)
        setattr(self, name, state + torch.from_numpy(value).to(state))


class MeanAveragePrecision(InstanceScores):
    """Mean over IoU 0.50:0.05:0.95 of TP / (TP + FP + FN), the mAP of the 2018 Bowl.

    Examples:
        >>> label_map = torch.tensor([[1, 1, 0, 2, 2]])
        >>> pred = {"label_map": label_map, "scores": torch.tensor([0.9, 0.4])}
        >>> metric = MeanAveragePrecision(score_thresholds=(0.3, 0.5))
        >>> metric.update([pred], [label_map])
        >>> metric.compute()["map_pooled"]
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """

    def compute(self) -> dict[str, Tensor]:
        """`map_pooled` and `map_per_image`, each `(thresholds,)` `float64`."""
        return self.averages("map")


class AggregatedJaccardIndex(InstanceScores):
    """Aggregated Jaccard index of Kumar et al., see `functional.aggregated_jaccard_index`."""

    def compute(self) -> dict[str, Tensor]:
        """`aji_pooled` and `aji_per_image`, each `(thresholds,)` `float64`."""
        return self.averages("aji")


class NormalizedCoverageScore(InstanceScores):
    """Area-weighted best IoU, see `functional.normalized_coverage_score`."""

    def compute(self) -> dict[str, Tensor]:
        """`ncs_pooled` and `ncs_per_image`, each `(thresholds,)` `float64`."""
        return self.averages("ncs")


class PrecisionRecall(InstanceScores):
    """Precision and recall at an IoU of 0.5, see `functional.precision_recall`."""

    def compute(self) -> dict[str, Tensor]:
        """`precision_...` and `recall_...`, each `(thresholds,)` `float64`."""
        return self.averages("precision", "recall")


class PanopticQuality(InstanceScores):
    """Panoptic quality of Kirillov et al., see `functional.panoptic_quality`."""

    def compute(self) -> dict[str, Tensor]:
        """`pq_pooled` and `pq_per_image`, each `(thresholds,)` `float64`."""
        return self.averages("pq")


class F1(InstanceScores):
    """F1 at an IoU of 0.5 and its mean over 0.1, ..., 1.0, see `functional.mean_f1`."""

    def compute(self) -> dict[str, Tensor]:
        """`f1_...`, `f1_50_...` and `f1_mean_...`, each `(thresholds,)` `float64`."""
        return self.averages("f1", "f1_50", "f1_mean")


class ForegroundOverlap(InstanceScores):
    """IoU and Dice of the foreground, see `functional.pixel_overlap`."""

    def compute(self) -> dict[str, Tensor]:
        """`pixel_iou_...` and `pixel_dice_...`, each `(thresholds,)` `float64`."""
        return self.averages("pixel_iou", "pixel_dice")


class NucleusCount(InstanceScores):
    """Numbers of detections and of true nuclei, over all images.

    `complete_nuclei` are the nuclei of the complete areas, where images are not complete.

    Metric:
        Names: nuclei, detections, complete_nuclei
        Matching: none
        Threshold: detections with a score above the score threshold (strict) and a pixel
        Averages: none, numbers over all images, or of one image in a table of images
        Empty: 0
        Range: 0 and up
        Source: none
    """

    def compute(self) -> dict[str, Tensor]:
        """`detections` and `nuclei`, each `(thresholds,)` `int64`; `nuclei` are all the same."""
        return {"detections": self.n_pred, "nuclei": self.n_true}


def instance_metrics(score_thresholds: Sequence[float] = (0.5,)) -> MetricCollection:
    """All scores as one collection, whose overlaps are counted once.

    `compute()` returns one flat dict.

    Keys: the names of `SCORES`, each with `_pooled` and `_per_image` (`float64`), and
    `detections` and `nuclei` (`int64`); each value is `(thresholds,)`, or a scalar if there is
    one threshold.

    Args:
        score_thresholds: In [0, 1]; detections with a greater score count.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        kind.__name__: kind(score_thresholds)
        for kind in (
            MeanAveragePrecision,
            AggregatedJaccardIndex,
            NormalizedCoverageScore,
            PrecisionRecall,
            PanopticQuality,
            F1,
            ForegroundOverlap,
            NucleusCount,
        )
    }
    # named, because torchmetrics would guess the groups from equal values of the first batch
    return MetricCollection(metrics, compute_groups=[list(metrics)])
