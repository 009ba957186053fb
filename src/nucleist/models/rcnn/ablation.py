"""Mask R-CNN for few labels without a centre head: what the partial-annotation net is held against.

Two ways to bear missing labels that need nothing to be found. They are rows of
experiments/protocol, not recipes.

- *Label frequency*: RPN and RoI classifier learn the probability `p` of a nucleus from losses of
  `c p`, the probability of a labelled one, with one `c` for all batches (Elkan and Noto, KDD 2008).
- *Negatives near labels*: a negative anchor or proposal counts only if it overlaps a labelled box.
  Everywhere else nothing is taken for background.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nucleist.models.backbones import Pyramid
from nucleist.models.rcnn.net import MaskRCNN, Parts, mask_rcnn
from nucleist.models.rcnn.roi import LabelMapRoIHeads
from nucleist.models.rcnn.rpn import GridRPN
from nucleist.ops.log_space import scaled_logit
from nucleist.ops.matching import overlaps
from nucleist.types import IGNORE, UserError, one_of

NEGATIVES = ("all", "near")


def only_near(
    labels: Sequence[Tensor], candidates: Sequence[Tensor], boxes: Sequence[Tensor]
) -> None:
    """Ignore the negatives that overlap no labelled box, in place.

    A batch without any labelled box keeps its negatives: a loss of nothing is not a number.

    Args:
        labels: `(P,)` of each image, 0 for negatives.
        candidates: `(P, 4)` anchors or proposals, xyxy.
        boxes: `(N, 4)` labelled boxes.
    """
    if not sum(map(len, boxes)):
        return
    for label, candidate, box in zip(labels, candidates, boxes, strict=True):
        far = torch.ones(len(candidate), dtype=torch.bool, device=label.device)
        far[overlaps(box, candidate).candidate] = False
        label[far & (label == 0)] = IGNORE


class FewLabelsRPN(GridRPN):
    """RPN with a label frequency, and with negatives near labels alone if asked for.

    Args:
        label_frequency: `c`, in (0, 1]; 1 for torchvision's loss.
        negatives: Of `NEGATIVES`.
    """

    def __init__(self, *args: Any, label_frequency: float, negatives: str, **kw: Any):
        super().__init__(*args, **kw)
        self.label_frequency, self.negatives = label_frequency, negatives

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's labels, those far from labelled nuclei ignored."""
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        if self.negatives == "near":
            only_near(labels, anchors, [target["boxes"] for target in targets])
        return labels, matched

    def compute_loss(
        self, objectness: Tensor, deltas: Tensor, labels: list[Tensor], regression: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Torchvision's, of the probability that an anchor is on a *labelled* nucleus."""
        if self.label_frequency < 1:
            objectness = scaled_logit(objectness, self.label_frequency)
        return super().compute_loss(objectness, deltas, labels, regression)


class FewLabelsRoIHeads(LabelMapRoIHeads):
    """RoI heads with a label frequency, and with negatives near labels alone if asked for.

    Args:
        label_frequency: `c`, in (0, 1]; 1 for torchvision's loss.
        negatives: Of `NEGATIVES`.
    """

    def __init__(self, *args: Any, label_frequency: float, negatives: str, **kw: Any):
        super().__init__(*args, **kw)
        self.label_frequency, self.negatives = label_frequency, negatives

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's labels, those far from labelled nuclei ignored."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        if self.negatives == "near":
            only_near(labels, proposals, gt_boxes)
        return matched, labels

    def to_label(self, logits: Tensor) -> Tensor:
        """Logits of background and *labelled* nucleus."""
        if self.label_frequency >= 1:
            return logits
        labelled = scaled_logit(logits[:, 1] - logits[:, 0], self.label_frequency)
        return torch.stack([torch.zeros_like(labelled), labelled], 1)


def mask_rcnn_ablation(
    backbone: Pyramid, label_frequency: float = 1.0, negatives: str = "all", **options: Any
) -> MaskRCNN:
    """Mask R-CNN that bears missing labels without a centre head.

    Args:
        backbone: From `nucleist.models.backbones`.
        label_frequency: Probability that a nucleus among the samples is labelled, in (0, 1]; 1 is
            plain Mask R-CNN.
        negatives: `"all"` anchors and proposals off the labelled nuclei, or those alone that are
            `"near"`: that overlap a labelled box.
        **options: See `nucleist.models.rcnn.net.mask_rcnn`.

    Raises:
        UserError: If the frequency is not in (0, 1], or `negatives` is unknown.
    """
    if not 0 < label_frequency <= 1:
        raise UserError(
            f"model.label_frequency={label_frequency} is not a probability; give a number above 0 "
            "and at most 1"
        )
    one_of("model.negatives", negatives, NEGATIVES)
    own = {"label_frequency": label_frequency, "negatives": negatives}
    parts = Parts(rpn=partial(FewLabelsRPN, **own), roi_heads=partial(FewLabelsRoIHeads, **own))
    net = mask_rcnn(backbone, **options, parts=parts)
    net.can = replace(net.can, models_missing_labels=label_frequency < 1)
    return net
