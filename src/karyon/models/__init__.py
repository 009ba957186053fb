"""Nets: each obeys `net(images, targets) -> losses` and `net(images) -> predictions`."""

from karyon.models.backbones import compact_fpn, resnet_fpn
from karyon.models.mask_rcnn import MaskRCNN, mask_rcnn
from karyon.models.partial import mask_rcnn_pa

__all__ = ["MaskRCNN", "compact_fpn", "mask_rcnn", "mask_rcnn_pa", "resnet_fpn"]
