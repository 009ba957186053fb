"""Partial-annotation Mask R-CNN: find unlabelled nuclei, and do not take them as background.

Source: Feng et al., IEEE Access 2019 (arXiv 1907.09738), section II. A centre head
on the first FPN level shares the RPN's 3x3 convolution. Cells whose centre score passes a
threshold become *found boxes*: in training, anchors and proposals near them are left out of the
negatives; at inference they join the proposals.

Found boxes travel as targets with the label -1 (`karyon.types.IGNORE`), so that what the RPN
finds reaches the RoI sampler without state on the modules.
"""

import math
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import resize_boxes

from karyon.models.center_head import CenterHead
from karyon.models.label_maps import Detections, LabelMapRoIHeads, Sizes
from karyon.models.mask_rcnn import MaskRCNN, build
from karyon.models.rpn import GridRPN
from karyon.models.side import aside
from karyon.ops.matching import overlaps
from karyon.types import IGNORE, one_of


class TrunkRPNHead(RPNHead):
    """RPNHead without its 3x3 convolution, which `PartialRPN` runs once for both heads."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and deltas of each level from the trunk's maps."""
        return [self.cls_logits(t) for t in x], [self.bbox_pred(t) for t in x]


class PartialMaskRCNN(MaskRCNN):
    """MaskRCNN whose centre head can be trained or looked at by itself."""

    def _first_level(self, images: list[Tensor], targets: Any) -> tuple[ImageList, Any, Tensor]:
        batch, targets = self.transform(images, targets)
        return batch, targets, self.backbone(batch.tensors)["0"]

    def center_losses(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Only the two centre losses; the other parts are neither run nor given a gradient."""
        batch, inner, level = self._first_level(images, targets)
        return self.rpn.center_losses(batch, level, inner)

    def _centers(self, image: Tensor) -> tuple[ImageList, Tensor, Tensor, float]:
        batch, _, level = self._first_level([image], None)
        logits, deltas = self.rpn.center_head(self.rpn.head.conv(level))
        return batch, logits, deltas, batch.tensors.shape[-2] / level.shape[-2]

    @torch.no_grad()
    def center_map(self, image: Tensor) -> Tensor:
        """Centre scores `(h, w)` of one `(3, H, W)` image, a cell being `H / h` pixels (eval)."""
        batch, logits, _, stride = self._centers(image)
        score = self.rpn.center_head.probability(logits, batch.image_sizes, stride)[0]
        height, width = batch.image_sizes[0]
        return score[: math.ceil(height / stride), : math.ceil(width / stride)]

    @torch.no_grad()
    def found_boxes(self, image: Tensor) -> Tensor:
        """Boxes `(K, 4)` that the centre head finds, xyxy in pixels of the image (eval mode)."""
        batch, logits, deltas, stride = self._centers(image)
        head, coder, sizes = self.rpn.center_head, self.rpn.box_coder, batch.image_sizes
        found = head.find(logits, deltas, coder, sizes, stride)[0]
        return resize_boxes(found[:, :4], sizes[0], image.shape[-2:])

    @torch.no_grad()
    def attention_map(self, image: Tensor, label_map: Tensor) -> Tensor | None:
        """Where the labelled nuclei attend to on the first level (paper's Fig. 1).

        Args:
            image: `(3, H, W)` in [0, 1].
            label_map: `(H, W)`, positive inside labelled nuclei.

        Returns:
            `(h, w)` in [0, 1], or None if the first level has no attention.
        """
        blocks = self.backbone.fpn.extra_blocks.attention
        if "0" not in blocks:
            return None
        seen: list[Tensor] = []
        handle = blocks["0"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            batch, _, _ = self._first_level([image], None)
        finally:
            handle.remove()
        height, width = batch.image_sizes[0]
        inside = F.interpolate((label_map > 0)[None, None].to(seen[0]), size=(height, width))
        rows, cols = batch.tensors.shape[-2:]
        padded = F.pad(inside, (0, cols - width, 0, rows - height))
        cells = seen[0].shape[-2:]
        where = F.interpolate(padded, size=cells, mode="bilinear", align_corners=False)[0, 0]
        stride = batch.tensors.shape[-2] / cells[0]
        given = blocks["0"].attention_of(seen[0], where)
        return given[: math.ceil(height / stride), : math.ceil(width / stride)]


class PartialRPN(GridRPN):
    """RPN with a centre head.

    Args:
        center: The centre head.
        suppress: Leave anchors near found boxes out of the negatives.
        propose: Add found boxes to the proposals at inference.
    """

    def __init__(
        self, *args: Any, center: CenterHead, suppress: bool = True, propose: bool = True, **kw: Any
    ):
        super().__init__(*args, **kw)
        self.center_head = center
        self.suppress = suppress
        self.propose = propose
        self.counts: dict[str, Tensor] = {}

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals `(P, 4)`, in evaluation `(P, 5)` with the centre score (0: from an anchor).

        In training the found boxes are appended to `targets` with the label -1.
        """
        trunk = OrderedDict((name, self.head.conv(x)) for name, x in features.items())
        first = next(iter(trunk.values()))
        stride = images.tensors.shape[-2] / first.shape[-2]
        logits, deltas = self.center_head(first)
        sizes = images.image_sizes
        found = self.center_head.find(logits, deltas, self.box_coder, sizes, stride)
        if not self.training or targets is None:
            proposals, losses = super().forward(images, trunk, targets)
            return self._with_found(proposals, found), losses
        center_losses = self.center_head.loss(
            logits, deltas, self.box_coder, targets, sizes, stride
        )
        for target, rows in zip(targets, found, strict=True):
            boxes, labels = target["boxes"], target["labels"]
            target["boxes"] = torch.cat([boxes, rows[:, :4].to(boxes)])
            target["labels"] = torch.cat([labels, labels.new_full((len(rows),), IGNORE)])
        self.counts = {"found_boxes": logits.new_tensor(sum(len(rows) for rows in found))}
        proposals, losses = super().forward(images, trunk, targets)
        return proposals, {**losses, **center_losses}

    def center_losses(
        self, images: ImageList, level: Tensor, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The centre head's losses from the first level's features."""
        logits, deltas = self.center_head(self.head.conv(level))
        stride = images.tensors.shape[-2] / level.shape[-2]
        return self.center_head.loss(
            logits, deltas, self.box_coder, targets, images.image_sizes, stride
        )

    def _with_found(self, proposals: list[Tensor], found: list[Tensor]) -> list[Tensor]:
        tagged = [F.pad(p, (0, 1)) for p in proposals]
        if not self.propose:
            return tagged
        return [torch.cat([p, rows.to(p)]) for p, rows in zip(tagged, found, strict=True)]

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's labels from the real boxes; background near found boxes is ignored."""
        real = [{"boxes": t["boxes"][t["labels"] >= 0]} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, real)
        ignored = 0
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            if self.suppress:
                found = target["boxes"][target["labels"] == IGNORE]
                near = self.proposal_matcher.near(self.overlaps(found, anchor))
                hit = (label == 0) & near
                label[hit] = IGNORE
                ignored += int(hit.sum())
        self.counts["ignored_anchors"] = labels[0].new_tensor(ignored)
        return labels, matched


class PartialRoIHeads(LabelMapRoIHeads):
    """RoI heads that do not take proposals on found boxes as background.

    Args:
        suppress: Leave proposals near found boxes out of the negatives. Found boxes then join
            the proposals in training: those on annotated nuclei become further positives.
        final_score: Score of a found box at inference: `"override"` (code: 1, here just below
            and ordered by the centre score), `"rcnn"` (its classifier's), `"center"` (centre
            score) or `"max"` (the larger of the last two).
    """

    def __init__(self, *args: Any, suppress: bool = True, final_score: str = "rcnn", **kw: Any):
        super().__init__(*args, **kw)
        one_of("model.final_score", final_score, ("rcnn", "override", "center", "max"))
        self.suppress = suppress
        self.final_score = final_score
        self.counts: dict[str, Tensor] = {}

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> Any:
        """Sample as torchvision does, found boxes being candidates unless suppression is off."""
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


def mask_rcnn_pa(
    backbone: BackboneWithFPN,
    center: dict[str, Any],
    final_score: str = "rcnn",
    suppress_rpn: bool = True,
    suppress_roi: bool = True,
    propose_test: bool = True,
    **options: Any,
) -> MaskRCNN:
    """Mask R-CNN with the partial-annotation module.

    Args:
        backbone: From `karyon.models.backbones`, usually with attention.
        center: Options of `CenterHead`.
        final_score: See `PartialRoIHeads`.
        suppress_rpn: Leave anchors near found boxes out of the RPN's negatives.
        suppress_roi: Leave proposals near found boxes out of the RoI heads' negatives.
        propose_test: Found boxes join the proposals at inference.
        **options: See `karyon.models.mask_rcnn.build`.
    """
    with aside():
        head = CenterHead(backbone.out_channels, **center)
    return build(
        backbone,
        **options,
        net_class=PartialMaskRCNN,
        rpn_class=PartialRPN,
        rpn_head_class=TrunkRPNHead,
        roi_class=PartialRoIHeads,
        rpn_options={"center": head, "suppress": suppress_rpn, "propose": propose_test},
        roi_options={"suppress": suppress_roi, "final_score": final_score},
    )
