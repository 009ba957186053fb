"""The RPN of partial-annotation Mask R-CNN: it finds nuclei by their centres beside the anchors.

Source: Feng et al., IEEE Access 2019 (arXiv 1907.09738), section II; see
`nucleist.models.rcnn.partial_net`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead

from nucleist.models.rcnn.center_head import CenterHead
from nucleist.models.rcnn.label_frequency import label_frequency
from nucleist.models.rcnn.rpn import GridRPN
from nucleist.ops.log_space import scaled_logit
from nucleist.types import IGNORE


class TrunkRPNHead(RPNHead):
    """RPNHead without its 3x3 convolution, which `PartialRPN` runs once for both heads."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and deltas of each level from the trunk's maps."""
        return [self.cls_logits(t) for t in x], [self.bbox_pred(t) for t in x]


class PartialRPN(GridRPN):
    """RPN with a centre head.

    Args:
        center: The centre head.
        suppress: Leave anchors near found boxes out of the negatives.
        propose: Add found boxes to the proposals at inference.
        missed_ratio: See `nucleist.models.rcnn.label_frequency`; 0 for torchvision's loss.
        certain_background: Drop found boxes that lie mostly where no nucleus can be.
    """

    def __init__(
        self,
        *args: Any,
        center: CenterHead,
        suppress: bool = True,
        propose: bool = True,
        missed_ratio: float = 0.0,
        certain_background: bool = True,
        **kw: Any,
    ):
        super().__init__(*args, **kw)
        self.certain_background = certain_background
        self.center_head = center
        self.suppress = suppress
        self.propose = propose
        self.missed_ratio = missed_ratio
        self.label_frequency = 1.0  # of this batch
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
        if self.certain_background:
            found = [rows[~impossible(rows, t)] for rows, t in zip(found, targets, strict=True)]
        for target, rows in zip(targets, found, strict=True):
            boxes, labels = target["boxes"], target["labels"]
            target["boxes"] = torch.cat([boxes, rows[:, :4].to(boxes)])
            target["labels"] = torch.cat([labels, labels.new_full((len(rows),), IGNORE)])
        self.label_frequency = label_frequency(targets, self.missed_ratio, self.suppress)
        self.counts = {
            "found_boxes": logits.new_tensor(sum(len(rows) for rows in found)),
            "label_frequency": torch.tensor(self.label_frequency, device=logits.device),
        }
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

    def compute_loss(
        self, objectness: Tensor, deltas: Tensor, labels: list[Tensor], regression: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Torchvision's, of the probability that an anchor is on a *labelled* nucleus."""
        if self.label_frequency < 1:
            objectness = scaled_logit(objectness, self.label_frequency)
        return super().compute_loss(objectness, deltas, labels, regression)


def impossible(boxes: Tensor, target: Mapping[str, Any]) -> Tensor:
    """Which boxes hold no unlabelled nucleus: those mostly on certain background.

    Args:
        boxes: `(K, 4+)` xyxy in pixels, inside the image.
        target: `label_map`, and `known` unless every nucleus of the image is labelled; see
            `nucleist.types.Target`.

    Returns:
        `(K,)` `bool`: more than half of the pixels are in no labelled nucleus, where all are
        labelled.
    """
    certain = target["label_map"] == 0
    if "known" in target:
        certain = certain & target["known"]
    # Sums of the pixels above and to the left of each corner
    sums = F.pad(certain.to(torch.int32).cumsum(0).cumsum(1), (1, 0, 1, 0))
    x0, y0 = boxes[:, :2].floor().long().unbind(1)
    x1, y1 = boxes[:, 2:4].ceil().long().unbind(1)
    x0, x1 = x0.clamp(0, sums.shape[1] - 1), x1.clamp(0, sums.shape[1] - 1)
    y0, y1 = y0.clamp(0, sums.shape[0] - 1), y1.clamp(0, sums.shape[0] - 1)
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return 2 * inside > (x1 - x0) * (y1 - y0)
