"""Partial-annotation Mask R-CNN: find unlabelled nuclei, and do not take them as background.

Source: Feng et al., IEEE Access 2019 (arXiv 1907.09738), section II. A centre head on the first
FPN level shares the RPN's 3x3 convolution. Cells whose centre score passes a threshold become
*found boxes*: in training, anchors and proposals near them are left out of the negatives; at
inference they join the proposals.

Between the RPN and the RoI heads found boxes are further boxes of the targets, of the class -1
(`nucleist.types.IGNORE`). The only state that RPN and RoI heads keep from a batch is how often its
nuclei are labelled (`nucleist.models.rcnn.label_frequency`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import resize_boxes

from nucleist.models.backbones import Pyramid
from nucleist.models.net import Capabilities
from nucleist.models.random_state import untouched_random_state
from nucleist.models.rcnn.center_head import CenterHead
from nucleist.models.rcnn.net import MaskRCNN, Parts, mask_rcnn, with_classes
from nucleist.models.rcnn.partial_roi import PartialRoIHeads
from nucleist.models.rcnn.partial_rpn import PartialRPN, TrunkRPNHead
from nucleist.models.rcnn.transform import LabelMapTransform
from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import Target, UserError


class PartialMaskRCNN(MaskRCNN):
    """Mask R-CNN with a centre head; made by `mask_rcnn_pa`."""

    title = "PA Mask R-CNN"
    can = Capabilities(centers=True, coco_weights=True)

    rpn: PartialRPN
    roi_heads: PartialRoIHeads

    def __init__(
        self,
        backbone: Pyramid,
        rpn: PartialRPN,
        roi_heads: PartialRoIHeads,
        transform: LabelMapTransform,
    ):
        super().__init__(backbone, rpn, roi_heads, transform)
        self.can = replace(
            self.can,
            attention="0" in backbone.attention,
            models_missing_labels=roi_heads.missed_ratio > 0,
        )

    def step_counts(self) -> Mapping[str, Tensor]:
        """Found boxes, anchors and RoIs left out, and the label frequency of the last step."""
        return {**self.rpn.counts, **self.roi_heads.counts}

    def center_losses(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """See `Net.center_losses`: `loss_centerness` and `loss_center_box`."""
        batch, inner, level = self._first_level(images, with_classes(targets))
        return self.rpn.center_losses(batch, level, inner)

    @torch.no_grad()
    def center_map(self, image: Tensor) -> Tensor:
        """See `Net.center_map`; in eval mode."""
        batch, logits, _, stride = self._centers(image)
        score = self.rpn.center_head.probability(logits, batch.image_sizes, stride)[0]
        return _at_pixels(score, batch.image_sizes[0], stride, image.shape[-2:])

    @torch.no_grad()
    def center_target(self, image: Tensor, label_map: Tensor) -> Tensor:
        """See `Net.center_target`."""
        numbered, ids = relabel(label_map.to(image.device))
        target = {"boxes": boxes_of(numbered, len(ids)), "label_map": numbered}
        batch, (inner,), level = self._first_level([image], [target])
        stride = batch.tensors.shape[-2] / level.shape[-2]
        cells, sizes = (int(level.shape[-2]), int(level.shape[-1])), batch.image_sizes
        wanted = self.rpn.center_head.target([inner], cells, sizes, stride)
        return _at_pixels(wanted.labels[0], sizes[0], stride, image.shape[-2:])

    @torch.no_grad()
    def found_boxes(self, image: Tensor) -> Tensor:
        """See `Net.found_boxes`; in eval mode."""
        batch, logits, deltas, stride = self._centers(image)
        head, coder, sizes = self.rpn.center_head, self.rpn.box_coder, batch.image_sizes
        found = head.find(logits, deltas, coder, sizes, stride)[0]
        return resize_boxes(found[:, :4], sizes[0], image.shape[-2:])

    @torch.no_grad()
    def attention_map(self, image: Tensor, label_map: Tensor) -> Tensor:
        """See `Net.attention_map`: on the first level (paper's Fig. 1), if attention is there.

        Raises:
            TypeError: If the first level has no attention.
        """
        if not self.can.attention:
            raise self._cannot("attention")
        block: Any = self.backbone.attention["0"]
        seen: list[Tensor] = []
        handle = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            batch, _, _ = self._first_level([image], None)
        finally:
            handle.remove()
        height, width = batch.image_sizes[0]
        inside = self.transform.resized_labels(label_map > 0, (height, width))
        inside = inside[None, None].to(seen[0])
        rows, cols = batch.tensors.shape[-2:]
        padded = F.pad(inside, (0, cols - width, 0, rows - height))
        cells = seen[0].shape[-2:]
        where = F.interpolate(padded, size=cells, mode="bilinear", align_corners=False)[0, 0]
        attention = block.attention_of(seen[0], where)
        return _at_pixels(attention, (height, width), rows / cells[0], image.shape[-2:])

    def _first_level(self, images: Sequence[Tensor], targets: Any) -> tuple[ImageList, Any, Tensor]:
        """Batched images and targets at the net's scale, and the features of the first level."""
        batch, targets = self.transform(list(images), targets)
        return batch, targets, self.backbone(batch.tensors)["0"]

    def _centers(self, image: Tensor) -> tuple[ImageList, Tensor, Tensor, float]:
        """The image at the net's scale, centre logits, deltas, and pixels a cell."""
        batch, _, level = self._first_level([image], None)
        logits, deltas = self.rpn.center_head(self.rpn.head.conv(level))
        return batch, logits, deltas, batch.tensors.shape[-2] / level.shape[-2]


def _at_pixels(
    cells: Tensor, inner: tuple[int, int], stride: float, outer: Sequence[int]
) -> Tensor:
    """The cell under the middle of each pixel of an image.

    Args:
        cells: `(h, w)`, of the batch with its padding.
        inner: Height and width of the image at the net's scale, pixels.
        stride: Pixels a cell at the net's scale.
        outer: Height and width of the image.
    """
    rows, cols = (
        ((torch.arange(side, device=cells.device) + 0.5) * net / side / stride).long()
        for net, side in zip(inner, outer, strict=True)
    )
    return cells[rows[:, None], cols]


def mask_rcnn_pa(
    backbone: Pyramid,
    center: Mapping[str, Any],
    final_score: str = "rcnn",
    suppress_rpn: bool = True,
    suppress_roi: bool = True,
    propose_test: bool = True,
    missed_ratio: float = 0.0,
    certain_background: bool = True,
    rpn_min_size: float = 0.01,
    mask_alignment: str = "exact",
    **options: Any,
) -> MaskRCNN:
    """Mask R-CNN with the partial-annotation module.

    Args:
        backbone: From `nucleist.models.backbones`, usually with attention.
        center: Options of `CenterHead`.
        final_score: See `PartialRoIHeads`; `"override"` in the authors' code.
        suppress_rpn: Leave anchors near found boxes out of the RPN's negatives.
        suppress_roi: Leave proposals near found boxes out of the RoI heads' negatives.
        propose_test: Found boxes join the proposals at inference.
        missed_ratio: Nuclei that the centre head misses, for each unlabelled one it finds, at
            least 0. Above 0 the losses of RPN and RoI classifier model that a negative may be such
            a nucleus (`nucleist.models.rcnn.label_frequency`); at 0, and where nothing is found,
            they are torchvision's (the papers').
        certain_background: Where every nucleus is labelled, in complete images and areas, a found
            box on background is no nucleus, and its anchors and proposals stay negatives; False
            treats all images alike (the papers').
        rpn_min_size: See `nucleist.models.rcnn.net.mask_rcnn`.
        mask_alignment: See there; also of the centre targets.
        **options: See `nucleist.models.rcnn.net.mask_rcnn`.

    Raises:
        UserError: If the ratio is negative, or an option has an unknown value.
    """
    if not 0 <= missed_ratio < math.inf:
        raise UserError(
            f"model.missed_ratio={missed_ratio} must be 0 or more; 0 takes every nucleus that is "
            "neither labelled nor found for background"
        )
    with untouched_random_state():
        head = CenterHead(backbone.out_channels, **center, mask_alignment=mask_alignment)
    parts = Parts(
        PartialMaskRCNN,
        partial(
            PartialRPN,
            center=head,
            suppress=suppress_rpn,
            propose=propose_test,
            missed_ratio=missed_ratio,
            certain_background=certain_background,
        ),
        TrunkRPNHead,
        partial(
            PartialRoIHeads,
            suppress=suppress_roi,
            final_score=final_score,
            missed_ratio=missed_ratio,
        ),
    )
    shared: dict[str, Any] = {"rpn_min_size": rpn_min_size, "mask_alignment": mask_alignment}
    return mask_rcnn(backbone, **options, **shared, parts=parts)
