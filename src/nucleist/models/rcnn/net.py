"""Mask R-CNN by composition of torchvision's parts: the baseline of every comparison.

Source: He et al., ICCV 2017. Parameter names are torchvision's, so its weights load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from nucleist.models.attention import attention_blocks
from nucleist.models.backbones import Pyramid
from nucleist.models.net import Capabilities, Net, Part, Surveyed, given
from nucleist.models.rcnn.roi import LabelMapRoIHeads
from nucleist.models.rcnn.rpn import GridAnchors, GridRPN
from nucleist.models.rcnn.survey import contexts_of
from nucleist.models.rcnn.transform import LabelMapTransform
from nucleist.types import Prediction, Target, UserError

RPN = {
    "fg_iou_thresh": 0.7,
    "bg_iou_thresh": 0.3,
    "batch_size_per_image": 256,
    "positive_fraction": 0.5,
    "pre_nms_top_n": {"training": 4000, "testing": 4000},
    "post_nms_top_n": {"training": 2000, "testing": 2000},
    "nms_thresh": 0.7,
}
"""Options of torchvision's `RegionProposalNetwork` where a net names no other."""

ROI = {
    "fg_iou_thresh": 0.5,
    "bg_iou_thresh": 0.5,
    "batch_size_per_image": 512,
    "positive_fraction": 0.25,
    "bbox_reg_weights": (10.0, 10.0, 5.0, 5.0),
    "score_thresh": 0.05,
    "nms_thresh": 0.5,
    "detections_per_img": 1000,
}
"""Options of torchvision's `RoIHeads` where a net names no other."""


class MaskRCNN(GeneralizedRCNN, Net):
    """Torchvision's `GeneralizedRCNN` with one class, nucleus, and label maps for masks.

    In training `net(images, targets)` returns a dict of losses; in evaluation `net(images)`
    returns a list of `nucleist.types.Prediction`.
    """

    title = "Mask R-CNN"
    can = Capabilities(coco_weights=True)

    backbone: Pyramid
    rpn: GridRPN
    roi_heads: LabelMapRoIHeads
    transform: LabelMapTransform

    def __init__(
        self,
        backbone: Pyramid,
        rpn: GridRPN,
        roi_heads: LabelMapRoIHeads,
        transform: LabelMapTransform,
    ):
        GeneralizedRCNN.__init__(self, backbone, rpn, roi_heads, transform)  # calls Net's
        roi_heads.limits_reached, roi_heads.cut = self.limits_reached, rpn.cut
        self._surveyed: Surveyed | None = None
        self.can = replace(self.can, surveys=any(True for _ in attention_blocks(backbone)))
        if transform.has_min_size:
            sides = f"model.transform.min_size={transform.min_size[0]}"
            self.can = replace(self.can, untileable=f"{sides} resizes images by their own size")

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """See `Net.forward`."""
        if not self.training:
            return GeneralizedRCNN.forward(self, list(images))
        return GeneralizedRCNN.forward(self, list(images), with_classes(given(targets)))

    @property
    def score_floor(self) -> float:  # type: ignore[override]
        """See `Net`: such detections are left out before their masks are computed."""
        return self.roi_heads.score_floor

    @score_floor.setter
    def score_floor(self, score: float) -> None:
        self.roi_heads.score_floor = score

    @property
    def surveyed(self) -> Surveyed | None:  # type: ignore[override]
        """See `Net`: what attention takes from the image as a whole, by the name of its block."""
        return self._surveyed

    @surveyed.setter
    def surveyed(self, known: Surveyed | None) -> None:
        self._surveyed = known
        for name, block in attention_blocks(self.backbone):
            context = (known or {}).get(name)
            block.context = torch.tensor(context) if context else None

    @torch.no_grad()
    def survey(self, parts: Sequence[Part]) -> Surveyed:
        """See `Net.survey`: the contexts of attention, which looks at the image as a whole."""
        if not self.can.surveys:
            raise self._cannot("surveys")
        return contexts_of(self, parts)

    def box_weights(self) -> tuple[float, ...]:
        """See `Net.box_weights`."""
        return tuple(self.rpn.box_coder.weights)


def with_classes(targets: Sequence[Target]) -> list[dict[str, Tensor]]:
    """Torchvision's target dicts: new ones, with the class 1 of every nucleus as `labels`.

    Raises:
        ValueError: If a target lacks its boxes or its label map.
    """
    for key in ("boxes", "label_map"):
        if any(key not in target for target in targets):
            raise ValueError(f"every target needs `{key}` in training")
    boxes = [target["boxes"] for target in targets]
    classes = [torch.ones(len(b), dtype=torch.int64, device=b.device) for b in boxes]
    return [{**t, "labels": c} for t, c in zip(targets, classes, strict=True)]  # type: ignore[dict-item]


class Parts(NamedTuple):
    """What a variant of Mask R-CNN is made of: classes, or functions with the same arguments."""

    net: Any = MaskRCNN
    rpn: Any = GridRPN
    rpn_head: Any = RPNHead
    roi_heads: Any = LabelMapRoIHeads


PLAIN = Parts()


def mask_rcnn(
    backbone: Pyramid,
    anchor_sizes: Sequence[Sequence[float]] = ((8,), (16,), (32,), (64,), (128,)),
    anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    transform: Mapping[str, Any] | None = None,
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
    rpn_box_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    rpn_min_size: float = 0.01,
    box_head: int = 1024,
    mask_head: Sequence[int] = (256, 256, 256, 256),
    roi_levels: Sequence[str] = ("0", "1", "2", "3"),
    caps_area: float | None = 360_000,
    mask_alignment: str = "exact",
    parts: Parts = PLAIN,
) -> MaskRCNN:
    """Mask R-CNN for one class, nucleus. The defaults are those of `conf/preset/resnet50.yaml`.

    Args:
        backbone: From `nucleist.models.backbones`.
        anchor_sizes: Sides of the anchors in pixels, one list for each level of the pyramid.
        anchor_ratios: Height over width of the anchors.
        transform: Options of `LabelMapTransform`.
        rpn: Options of the region proposal network that differ from `RPN`.
        roi: Options of the RoI heads that differ from `ROI`.
        rpn_box_weights: Weights of the RPN's box coder for `(dx, dy, dw, dh)`.
        rpn_min_size: Least side of a proposal, pixels.
        box_head: Width of the box head's two layers.
        mask_head: Channels of the mask head's layers.
        roi_levels: Levels that RoIs are pooled from.
        caps_area: Pixels of the image that the limits on proposals and detections are meant for;
            larger images may have more. None for the same limits whatever the image (the papers).
        mask_alignment: `"exact"`, or `"torchvision"` for its own numbers and for mask heads that
            learned from its targets; see `nucleist.ops.masks`. Training and prediction need the
            same.
        parts: Classes of the parts.

    Raises:
        UserError: If there is not one list of anchor sizes for each level.
    """
    if len(anchor_sizes) != backbone.levels:
        raise UserError(
            f"model.anchor_sizes={[list(level) for level in anchor_sizes]}: {len(anchor_sizes)} "
            f"lists for a pyramid of {backbone.levels} levels; give one list a level"
        )
    channels, ratios = backbone.out_channels, (tuple(anchor_ratios),) * len(anchor_sizes)
    anchors = GridAnchors(tuple(tuple(level) for level in anchor_sizes), ratios)
    head = parts.rpn_head(channels, anchors.num_anchors_per_location()[0])
    proposals = parts.rpn(anchors, head, **_with_caps({**RPN, **(rpn or {})}), caps_area=caps_area)
    proposals.box_coder.weights = tuple(float(w) for w in rpn_box_weights)
    proposals.min_size = rpn_min_size
    pool = partial(MultiScaleRoIAlign, list(roi_levels), sampling_ratio=2)
    heads = parts.roi_heads(
        pool(output_size=7),
        TwoMLPHead(channels * 7**2, box_head),
        FastRCNNPredictor(box_head, 2),
        **{**ROI, **(roi or {})},
        caps_area=caps_area,
        mask_alignment=mask_alignment,
        mask_roi_pool=pool(output_size=14),
        mask_head=MaskRCNNHeads(channels, list(mask_head), 1),
        mask_predictor=MaskRCNNPredictor(mask_head[-1], mask_head[-1], 2),
    )
    resizer = LabelMapTransform(**(transform or {}), mask_alignment=mask_alignment)
    return parts.net(backbone, proposals, heads, resizer)


def _with_caps(rpn: dict[str, Any]) -> dict[str, Any]:
    """Options of the RPN; a single number is the cap in training and at inference."""
    for key in ("pre_nms_top_n", "post_nms_top_n"):
        cap = rpn[key]
        both = cap if isinstance(cap, Mapping) else {"training": cap, "testing": cap}
        if {"training", "testing"} - set(both) or not all(
            isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in both.values()
        ):
            raise UserError(f"model.rpn.{key}={cap}: give a whole number from 1")
        rpn[key] = dict(both)
    return rpn
