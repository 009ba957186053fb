"""Mask R-CNN's classifier, box and mask heads, with label maps in place of stacks of masks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    maskrcnn_inference,
)
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from nucleist.models.rcnn.rpn import FullBoxCoder, caps_factor, count_reached
from nucleist.models.rcnn.transform import Sizes
from nucleist.ops.masks import mask_targets
from nucleist.ops.matching import OverlapMatcher, overlaps
from nucleist.types import IGNORE

SMALLEST = 0.01
"""Side of the smallest box that is kept, in pixels (torchvision's)."""

Detections = tuple[list[Tensor], list[Tensor], list[Tensor]]


class LabelMapRoIHeads(RoIHeads):
    """RoIHeads for one class that take mask targets from `target["label_map"]`.

    The forward is torchvision's, step by step, without key points; it is written out because
    the original reads a mask stack between two steps that cannot be overridden. Under one seed
    its losses are torchvision's, which a test checks.

    Args:
        caps_area: Pixels of the image that `detections_per_img` is meant for; see `GridRPN`.
        mask_alignment: One of `nucleist.ops.masks.ALIGNMENTS`, for the mask targets.

    Attributes:
        score_floor: See `nucleist.models.net.Net`.
        limits_reached: See `nucleist.models.net.Net`. A limit on proposals counts in images in
            which a detection above the score threshold was lost with them.
        cut: That of the RPN.
    """

    box_coder: BoxCoder

    def __init__(
        self,
        *args: Any,
        caps_area: float | None = None,
        mask_alignment: str = "exact",
        **kw: Any,
    ):
        super().__init__(*args, **kw)
        self.mask_alignment = mask_alignment
        self.box_coder = FullBoxCoder(self.box_coder.weights, self.box_coder.bbox_xform_clip)
        old: Matcher = self.proposal_matcher
        self.proposal_matcher: OverlapMatcher = OverlapMatcher(
            old.high_threshold, old.low_threshold, False
        )
        self.caps_area = caps_area
        self.limits_reached: dict[str, int] = {}
        self.cut: dict[str, list[Tensor]] = {}
        self.score_floor = 0.0

    def check_targets(self, targets: Any) -> None:
        """Nothing to check: torchvision asks for masks here; `MaskRCNN` has checked the targets."""

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: list[Tensor], shapes: Sizes
    ) -> Detections:
        """Boxes, scores and labels of each image, best score first, as torchvision's."""
        sizes = [len(p) for p in proposals]
        decoded = self.box_coder.decode(deltas, proposals).reshape(-1, 2, 4)
        every = decoded[:, 1].split(sizes)
        chances = logits.float().softmax(-1)[:, 1].split(sizes)
        least = max(self.score_thresh, self.score_floor)
        found, reached = [], []
        for boxes, scores, shape in zip(every, chances, shapes, strict=True):
            boxes = clip_boxes_to_image(boxes, shape)
            large = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST).all(1)
            keep = ((scores > least) & large).nonzero()[:, 0]
            boxes, scores = boxes[keep], scores[keep]
            labels = torch.ones_like(keep)
            cap = round(self.detections_per_img * caps_factor(self.caps_area, shape[0] * shape[1]))
            best = batched_nms(boxes, scores, labels, self.nms_thresh)
            reached.append(len(best) > cap)
            best = best[:cap]
            found.append((boxes[best], scores[best], labels[best]))
        name = f"roi.detections_per_img={self.detections_per_img}"
        count_reached(self.limits_reached, name, reached)
        return [f[0] for f in found], [f[1] for f in found], [f[2] for f in found]

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's, from the pairs that overlap."""
        matched, labels = [], []
        for candidates, boxes, own in zip(proposals, gt_boxes, gt_labels, strict=True):
            if len(boxes) == 0:
                matched.append(torch.zeros_like(candidates[:, 0], dtype=torch.int64))
                labels.append(matched[-1].clone())
                continue
            match = self.proposal_matcher(overlaps(boxes, candidates))
            label = own[match.clamp(min=0)]
            label = label.masked_fill(match == Matcher.BELOW_LOW_THRESHOLD, 0)
            labels.append(label.masked_fill(match == Matcher.BETWEEN_THRESHOLDS, IGNORE))
            matched.append(match.clamp(min=0))
        return matched, labels

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: Any = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Losses in training, detections with 28 x 28 masks in evaluation."""
        if self.training:
            return [], self._losses(features, proposals, image_shapes, targets)
        boxes = [p[:, :4] for p in proposals]
        logits, deltas = self._classify(features, boxes, image_shapes)
        found = self.detect(logits, deltas, proposals, image_shapes)
        self._count_lost(features, found[0], proposals, image_shapes)
        masks = maskrcnn_inference(self._mask_logits(features, found[0], image_shapes), found[2])
        rows = zip(*found, masks, strict=True)
        return [dict(zip(("boxes", "scores", "labels", "masks"), r, strict=True)) for r in rows], {}

    def _count_lost(
        self,
        features: dict[str, Tensor],
        found: list[Tensor],
        proposals: list[Tensor],
        shapes: Sizes,
    ) -> None:
        """Count the limits on proposals that cost a detection: what they cut is looked at.

        Args:
            features: Of the images.
            found: The detected boxes of each image.
            proposals: Those that were not cut.
            shapes: Height and width of each image.
        """
        if not self.cut:
            return
        before = dict(self.limits_reached)
        for name, boxes in self.cut.items():
            left = [self._apart(box, own) for box, own in zip(boxes, found, strict=True)]
            if not sum(map(len, left)):
                continue
            logits, deltas = self._classify(features, left, shapes)
            more = [F.pad(box, (0, p.shape[1] - 4)) for box, p in zip(left, proposals, strict=True)]
            detected = self.detect(logits, deltas, more, shapes)[0]
            rows = zip(detected, found, strict=True)
            count_reached(before, name, [len(self._apart(new, own)) > 0 for new, own in rows])
        self.limits_reached.clear()
        self.limits_reached.update(before)

    def _apart(self, boxes: Tensor, found: Tensor) -> Tensor:
        """The boxes that no detection would suppress."""
        if not len(boxes) or not len(found):
            return boxes
        return boxes[box_iou(boxes, found).amax(1) <= self.nms_thresh]

    def to_label(self, logits: Tensor) -> Tensor:
        """Logits that the classifier's loss compares with the labels; here those of the classes."""
        return logits

    def _classify(
        self, features: dict[str, Tensor], boxes: list[Tensor], shapes: Sizes
    ) -> tuple[Tensor, Tensor]:
        return self.box_predictor(self.box_head(self.box_roi_pool(features, boxes, shapes)))

    def _mask_logits(
        self, features: dict[str, Tensor], boxes: list[Tensor], shapes: Sizes
    ) -> Tensor:
        return self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, shapes)))

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        shapes: Sizes,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        sampled = self.select_training_samples(proposals, targets)
        boxes, matched, labels, regression = sampled
        logits, deltas = self._classify(features, boxes, shapes)
        classifier, box_reg = fastrcnn_loss(self.to_label(logits), deltas, labels, regression)
        positive = [(label > 0).nonzero()[:, 0] for label in labels]
        boxes = [b[p] for b, p in zip(boxes, positive, strict=True)]
        matched = [m[p] for m, p in zip(matched, positive, strict=True)]
        mask_logits = self._mask_logits(features, boxes, shapes)
        return {
            "loss_classifier": classifier,
            "loss_box_reg": box_reg,
            "loss_mask": self._mask_loss(mask_logits, boxes, matched, targets),
        }

    def _mask_loss(
        self,
        logits: Tensor,
        boxes: list[Tensor],
        matched: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> Tensor:
        if len(logits) == 0:  # the mean over nothing is not a number
            return logits.sum() * 0
        side = logits.shape[-1]
        rows = zip(targets, boxes, matched, strict=True)
        how = side, self.mask_alignment
        wanted = torch.cat([mask_targets(t["label_map"], b, m, *how) for t, b, m in rows])
        classes = torch.cat([t["labels"][m] for t, m in zip(targets, matched, strict=True)])
        own = logits[torch.arange(len(logits), device=logits.device), classes]
        return F.binary_cross_entropy_with_logits(own, wanted)
