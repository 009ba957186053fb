"""Nets: each is a `Net`, `net(images, targets) -> losses` and `net(images) -> predictions`."""

from nucleist.models.backbones import compact_fpn, resnet_body, resnet_fpn
from nucleist.models.canonical.net import canonical_shape
from nucleist.models.deeplabv3 import deeplabv3
from nucleist.models.dist import dist
from nucleist.models.net import Capabilities, Net
from nucleist.models.nuset.net import nuset
from nucleist.models.otsu import otsu
from nucleist.models.rcnn.ablation import mask_rcnn_ablation
from nucleist.models.rcnn.net import MaskRCNN, mask_rcnn
from nucleist.models.rcnn.partial_net import mask_rcnn_pa
from nucleist.models.two_pass import two_pass
from nucleist.models.unet import unet

__all__ = [
    "Capabilities",
    "MaskRCNN",
    "Net",
    "canonical_shape",
    "compact_fpn",
    "deeplabv3",
    "dist",
    "mask_rcnn",
    "mask_rcnn_ablation",
    "mask_rcnn_pa",
    "nuset",
    "otsu",
    "resnet_body",
    "resnet_fpn",
    "two_pass",
    "unet",
]
