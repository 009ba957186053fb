"""Nets: each obeys `net(images, targets) -> losses` and `net(images) -> predictions`."""

from nucleist.models.backbones import compact_fpn, resnet_body, resnet_fpn
from nucleist.models.canonical import canonical_shape
from nucleist.models.deeplabv3 import deeplabv3
from nucleist.models.dist import dist
from nucleist.models.mask_rcnn import MaskRCNN, mask_rcnn
from nucleist.models.partial import mask_rcnn_pa

__all__ = [
    "MaskRCNN",
    "canonical_shape",
    "compact_fpn",
    "deeplabv3",
    "dist",
    "mask_rcnn",
    "mask_rcnn_pa",
    "resnet_body",
    "resnet_fpn",
]
