"""The RoI heads of partial-annotation Mask R-CNN: found nuclei are not taken for background.

Source: Feng et al., IEEE Access 2019 (arXiv 1907.09738), section II; see
`nucleist.models.rcnn.partial_net`.
"""

from typing import Any

import torch
from torch import Tensor

from nucleist.models.rcnn.label_frequency import label_frequency
from nucleist.models.rcnn.roi import Detections, LabelMapRoIHeads
from nucleist.models.rcnn.transform import Sizes
from nucleist.ops.log_space import scaled_logit
from nucleist.ops.matching import overlaps
from nucleist.types import IGNORE, one_of


class PartialRoIHeads(LabelMapRoIHeads):
    """RoI heads that do not take proposals on found boxes as background.

    Args:
        suppress: Leave proposals near found boxes out of the negatives. Found boxes then join
            the proposals in training: those on annotated nuclei become further positives.
        final_score: Score of a found box at inference: `"override"` (code: 1, here just below
            and ordered by the centre score), `"rcnn"` (its classifier's), `"center"` (centre
            score) or `"max"` (the larger of the last two).
        missed_ratio: See `nucleist.models.rcnn.label_frequency`; 0 for torchvision's loss.
    """

    def __init__(
        self,
        *args: Any,
        suppress: bool = True,
        final_score: str = "rcnn",
        missed_ratio: float = 0.0,
        **kw: Any,
    ):
        super().__init__(*args, **kw)
        self.missed_ratio = missed_ratio
        self.label_frequency = 1.0  # of this batch
        one_of("model.final_score", final_score, ("rcnn", "override", "center", "max"))
        self.suppress = suppress
        self.final_score = final_score
        self.counts: dict[str, Tensor] = {}

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> Any:
        """Sample as torchvision does, found boxes being candidates unless suppression is off."""
        if targets is not None:
            self.label_frequency = label_frequency(targets, self.missed_ratio, self.suppress)
        if targets is not None and not self.suppress:
            targets = [
                {**t, **{key: t[key][t["labels"] >= 0] for key in ("boxes", "labels")}}
                for t in targets
            ]
        return super().select_training_samples(proposals, targets)

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's labels from the real boxes; background near found boxes is ignored."""
        real = [label >= 0 for label in gt_labels]
        matched, labels = super().assign_targets_to_proposals(
            proposals,
            [b[r] for b, r in zip(gt_boxes, real, strict=True)],
            [x[r] for x, r in zip(gt_labels, real, strict=True)],
        )
        ignored = 0
        for label, proposal, box, r in zip(labels, proposals, gt_boxes, real, strict=True):
            hit = (label == 0) & self.proposal_matcher.near(overlaps(box[~r], proposal))
            label[hit] = IGNORE
            ignored += int(hit.sum())
        self.counts = {"ignored_rois": labels[0].new_tensor(ignored)}
        return matched, labels

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: list[Tensor], shapes: Sizes
    ) -> Detections:
        """Torchvision's detections, found boxes having their final score."""
        boxes = [p[:, :4] for p in proposals]
        logits = self._final_logits(logits, torch.cat([p[:, 4] for p in proposals]))
        return super().detect(logits, deltas, boxes, shapes)

    def _final_logits(self, class_logits: Tensor, center: Tensor) -> Tensor:
        """Class logits that give found boxes (centre score above 0) their final score."""
        center = center.float()
        found = center > 0
        if self.final_score == "rcnn" or not found.any():
            return class_logits
        score = class_logits.float().softmax(1)[:, 1]
        if self.final_score == "override":
            score = 0.999 + 0.0009 * center
        elif self.final_score == "center":
            score = center
        else:
            score = torch.maximum(score, center)
        own = torch.stack([(1 - score), score], 1).clamp(min=1e-7).log()
        return torch.where(found[:, None], own, class_logits)

    def to_label(self, logits: Tensor) -> Tensor:
        """Logits of background and *labelled* nucleus."""
        if self.label_frequency >= 1:
            return logits
        labelled = scaled_logit(logits[:, 1] - logits[:, 0], self.label_frequency)
        return torch.stack([torch.zeros_like(labelled), labelled], 1)
