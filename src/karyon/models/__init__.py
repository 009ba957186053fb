"""Nets: each obeys `net(images, targets) -> losses` and `net(images) -> predictions`."""

from karyon.models.backbones import compact_fpn, resnet_body, resnet_fpn
from karyon.models.canonical import canonical_shape
from karyon.models.deeplabv3 import deeplabv3
from karyon.models.dist import dist
from karyon.models.mask_rcnn import MaskRCNN, mask_rcnn
from karyon.models.partial import mask_rcnn_pa

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
