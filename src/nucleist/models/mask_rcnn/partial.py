"""Partial-annotation Mask R-CNN: find unlabelled nuclei, and do not take them as background.

Source: Feng et al., IEEE Access 2019 (arXiv 1907.09738), section II. A centre head
on the first FPN level shares the RPN's 3x3 convolution. Cells whose centre score passes a
threshold become *found boxes*: in training, anchors and proposals near them are left out of the
negatives; at inference they join the proposals.

Found boxes travel as targets with the label -1 (`nucleist.types.IGNORE`), so that what the RPN
finds reaches the RoI sampler. The only state that RPN and RoI heads keep from a batch is how often
its nuclei are labelled (`nucleist.models.mask_rcnn.unlabelled`).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import resize_boxes

from nucleist.models.aside import aside
from nucleist.models.mask_rcnn.center_head import CenterHead
from nucleist.models.mask_rcnn.partial_roi import PartialRoIHeads
from nucleist.models.mask_rcnn.partial_rpn import PartialRPN, TrunkRPNHead
from nucleist.models.mask_rcnn.plain import MaskRCNN, build
from nucleist.types import UserError


class PartialMaskRCNN(MaskRCNN):
    """MaskRCNN whose centre head can be trained or looked at by itself."""

    @property
    def knows_unlabelled(self) -> bool:
        """Whether scores are those of nuclei, not of labelled nuclei (`missed_ratio`)."""
        return self.roi_heads.missed_ratio > 0

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


def mask_rcnn_pa(
    backbone: BackboneWithFPN,
    center: dict[str, Any],
    final_score: str = "rcnn",
    suppress_rpn: bool = True,
    suppress_roi: bool = True,
    propose_test: bool = True,
    missed_ratio: float = 0.0,
    **options: Any,
) -> MaskRCNN:
    """Mask R-CNN with the partial-annotation module.

    Args:
        backbone: From `nucleist.models.backbones`, usually with attention.
        center: Options of `CenterHead`.
        final_score: See `PartialRoIHeads`.
        suppress_rpn: Leave anchors near found boxes out of the RPN's negatives.
        suppress_roi: Leave proposals near found boxes out of the RoI heads' negatives.
        propose_test: Found boxes join the proposals at inference.
        missed_ratio: Nuclei that the centre head misses, for each unlabelled one it finds, at
            least 0. Above 0 the losses of RPN and RoI classifier know that a negative may be such
            a nucleus (`nucleist.models.mask_rcnn.unlabelled`); at 0, and where nothing is found, they are
            torchvision's.
        **options: See `nucleist.models.mask_rcnn.plain.build`.

    Raises:
        UserError: If the ratio is negative.
    """
    if not 0 <= missed_ratio < math.inf:
        raise UserError(
            f"model.missed_ratio={missed_ratio} must be 0 or more; 0 takes every nucleus that is "
            "neither labelled nor found for background"
        )
    with aside():
        head = CenterHead(backbone.out_channels, **center)
    missed = {"missed_ratio": missed_ratio}
    return build(
        backbone,
        **options,
        net_class=PartialMaskRCNN,
        rpn_class=PartialRPN,
        rpn_head_class=TrunkRPNHead,
        roi_class=PartialRoIHeads,
        rpn_options={
            **missed,
            "center": head,
            "suppress": suppress_rpn,
            "propose": propose_test,
        },
        roi_options={**missed, "suppress": suppress_roi, "final_score": final_score},
    )
