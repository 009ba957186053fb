"""Mask R-CNN by composition of torchvision's parts: the baseline of every comparison.

He et al., ICCV 2017. Parameter names are torchvision's. The presets in `conf/preset` name the
backbone, the anchors and the sizes of the heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from nucleist.models.mask_rcnn.label_maps import LabelMapRoIHeads, LabelMapTransform
from nucleist.models.mask_rcnn.rpn import GridAnchors, GridRPN
from nucleist.types import UserError

RPN = {
    "fg_iou_thresh": 0.7,
    "bg_iou_thresh": 0.3,
    "batch_size_per_image": 256,
    "positive_fraction": 0.5,
    "pre_nms_top_n": {"training": 4000, "testing": 4000},
    "post_nms_top_n": {"training": 2000, "testing": 2000},
    "nms_thresh": 0.7,
}
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


class MaskRCNN(GeneralizedRCNN):
    """Torchvision's contract with label maps for masks.

    In training `net(images, targets)` returns a dict of losses; in evaluation `net(images)`
    returns a list of `nucleist.types.Prediction`. `counts` holds what the last training step saw
    (found boxes, ignored anchors and RoIs), for the log only. `capped` counts the images in
    which a limit cut what was found, by the limit's name, since it was last cleared.
    """

    def __init__(self, backbone: nn.Module, rpn: GridRPN, roi_heads: Any, transform: nn.Module):
        super().__init__(backbone, rpn, roi_heads, transform)
        self.capped: dict[str, int] = {}
        rpn.capped = roi_heads.capped = self.capped

    def only_above(self, score: float) -> None:
        """Leave detections of at most this score out before their masks are computed."""
        self.roi_heads.score_thresh = max(score, self.roi_heads.score_thresh)

    @property
    def counts(self) -> dict[str, Tensor]:
        """Numbers of the last training step, empty for the plain model."""
        return {**getattr(self.rpn, "counts", {}), **getattr(self.roi_heads, "counts", {})}


def _roi_pool(levels: Sequence[str], side: int) -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign(list(levels), output_size=side, sampling_ratio=2)


def build(
    backbone: BackboneWithFPN,
    anchor_sizes: Sequence[Sequence[float]],
    anchor_ratios: Sequence[float],
    transform: Mapping[str, Any],
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
    rpn_box_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    rpn_min_size: float = 0.01,
    box_head: int = 1024,
    mask_head: Sequence[int] = (256, 256, 256, 256),
    roi_levels: Sequence[str] = ("0", "1", "2", "3"),
    caps_area: float | None = None,
    net_class: type[MaskRCNN] = MaskRCNN,
    rpn_class: type[GridRPN] = GridRPN,
    rpn_head_class: type[RPNHead] = RPNHead,
    roi_class: type[RoIHeads] = LabelMapRoIHeads,
    rpn_options: Mapping[str, Any] | None = None,
    roi_options: Mapping[str, Any] | None = None,
) -> MaskRCNN:
    """Put the parts together; `mask_rcnn` and `mask_rcnn_pa` differ in the classes they pass."""
    anchors = GridAnchors(
        tuple(tuple(level) for level in anchor_sizes), (tuple(anchor_ratios),) * len(anchor_sizes)
    )
    extra = backbone.fpn.extra_blocks
    levels = len(backbone.fpn.layer_blocks) + (getattr(extra, "pool", extra) is not None)
    if len(anchor_sizes) != levels:
        raise UserError(
            f"model.anchor_sizes={[list(level) for level in anchor_sizes]}: {len(anchor_sizes)} "
            f"lists for a pyramid of {levels} levels; give one list a level"
        )
    channels = backbone.out_channels
    head = rpn_head_class(channels, anchors.num_anchors_per_location()[0])
    proposals = rpn_class(
        anchors, head, **{**RPN, **(rpn or {})}, caps_area=caps_area, **(rpn_options or {})
    )
    proposals.box_coder.weights = tuple(float(w) for w in rpn_box_weights)
    proposals.min_size = rpn_min_size
    heads = roi_class(
        _roi_pool(roi_levels, 7),
        TwoMLPHead(channels * 7**2, box_head),
        FastRCNNPredictor(box_head, 2),
        **{**ROI, **(roi or {})},
        caps_area=caps_area,
        mask_roi_pool=_roi_pool(roi_levels, 14),
        mask_head=MaskRCNNHeads(channels, list(mask_head), 1),
        mask_predictor=MaskRCNNPredictor(mask_head[-1], mask_head[-1], 2),
        **(roi_options or {}),
    )
    return net_class(backbone, proposals, heads, LabelMapTransform(**transform))


def mask_rcnn(backbone: BackboneWithFPN, **options: Any) -> nn.Module:
    """Mask R-CNN for one class, nucleus.

    Args:
        backbone: From `nucleist.models.backbones`.
        **options: See `build`: `anchor_sizes` (px, one list a level), `anchor_ratios` (h/w),
            `transform` (see `LabelMapTransform`), `rpn` and `roi` (overrides of `RPN`, `ROI`),
            `box_head` (width), `mask_head` (widths), `roi_levels`, `caps_area` (px for which the
            caps at inference are meant; larger images get more).
    """
    return build(backbone, **options)
