"""Torchvision's Mask R-CNN with the architecture and the weights of one of nucleist's nets.

Everything but the layers of the backbone is torchvision's own, composed as in its `MaskRCNN`.
Thresholds and numbers are read from nucleist's net; the weights are loaded strictly.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from nucleist.config.build import build


def stock_of(net: Any, config: Mapping[str, Any], size: int) -> GeneralizedRCNN:
    """Torchvision's net.

    Args:
        net: Nucleist's baseline.
        config: Its configuration, `model` of a run.
        size: Side of the images, pixels; the transform keeps it if nucleist's does.
    """
    backbone = build(config["backbone"])
    box, mask = config["box_head"], config["mask_head"]
    levels = net.roi_heads.box_roi_pool.featmap_names
    heads = RoIHeads(
        MultiScaleRoIAlign(levels, 7, 2),
        TwoMLPHead(backbone.out_channels * 7**2, box),
        FastRCNNPredictor(box, 2),
        **_matching(net.roi_heads),
        bbox_reg_weights=net.roi_heads.box_coder.weights,
        score_thresh=net.roi_heads.score_thresh,
        nms_thresh=net.roi_heads.nms_thresh,
        detections_per_img=net.roi_heads.detections_per_img,
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 2),
        mask_head=MaskRCNNHeads(backbone.out_channels, mask, 1),
        mask_predictor=MaskRCNNPredictor(mask[-1], mask[-1], 2),
    )
    options = config["transform"]
    transform = GeneralizedRCNNTransform(
        options["min_size"] or size,
        max(options["max_size"], size),
        options["image_mean"],
        options["image_std"],
    )
    stock = GeneralizedRCNN(backbone, stock_rpn(net, config), heads, transform)
    stock.load_state_dict(net.state_dict(), strict=True)
    return stock


def stock_rpn(net: Any, config: Mapping[str, Any]) -> RegionProposalNetwork:
    """Torchvision's region proposal network with initial weights."""
    ratios = (tuple(config["anchor_ratios"]),) * len(config["anchor_sizes"])
    anchors = AnchorGenerator(tuple(tuple(level) for level in config["anchor_sizes"]), ratios)
    ours = net.rpn
    rpn = RegionProposalNetwork(
        anchors,
        RPNHead(net.backbone.out_channels, anchors.num_anchors_per_location()[0]),
        **_matching(ours),
        pre_nms_top_n=ours._pre_nms_top_n,
        post_nms_top_n=ours._post_nms_top_n,
        nms_thresh=ours.nms_thresh,
    )
    rpn.box_coder.weights = ours.box_coder.weights
    rpn.min_size = ours.min_size
    return rpn


def _matching(part: Any) -> dict[str, float]:
    """Options of matching and sampling in the RPN or the RoI heads."""
    matcher, sampler = part.proposal_matcher, part.fg_bg_sampler
    return {
        "fg_iou_thresh": matcher.high_threshold,
        "bg_iou_thresh": matcher.low_threshold,
        "batch_size_per_image": sampler.batch_size_per_image,
        "positive_fraction": sampler.positive_fraction,
    }


def painted(masks: Tensor) -> Tensor:
    """Paint full-size masks `(N, 1, H, W)`, best first, into an `(H, W)` `int32` label map."""
    painting = torch.zeros(masks.shape[-2:], dtype=torch.int32, device=masks.device)
    for i in range(len(masks) - 1, -1, -1):  # better ones are painted over the others
        painting.masked_fill_(masks[i, 0] > 0.5, i + 1)
    return painting
