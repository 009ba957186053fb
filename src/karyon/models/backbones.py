"""Feature pyramids: torchvision's ResNets, and a compact net for nuclei on two cores.

On images the size of nuclei the heads, not the backbone, are the cost; `compact` keeps the
pyramid at 64 channels and strides 4, 8 and 16, and learns from scratch.
"""

from collections.abc import Sequence

from torch import nn
from torchvision.models import resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.misc import FrozenBatchNorm2d

from karyon.models.attention import AttendedLevels, DecomposedAttention
from karyon.models.side import aside
from karyon.types import UserError

Attention = Sequence[str]


def _levels(attention: Attention, allowed: Sequence[str]) -> list[str]:
    unknown = sorted(set(attention) - set(allowed))
    if unknown:
        raise UserError(
            f"model.attention names {', '.join(unknown)}, which this backbone lacks; "
            f"choose from {', '.join(allowed)}"
        )
    return list(attention)


def resnet_fpn(
    name: str = "resnet50",
    attention: Attention = (),
    extra_level: bool = True,
    trainable_layers: int = 3,
    channels: int = 256,
    norm_eps: float = 1e-5,
) -> BackboneWithFPN:
    """A torchvision ResNet with a feature pyramid P2..P5 (and P6).

    Batch normalisation is frozen (affine only). Parameter names are torchvision's, so its
    weights load; attention adds its own.

    Args:
        name: Constructor in `torchvision.models.resnet`, such as `resnet18`.
        attention: Where decomposed attention sits, from `c4`, `c5`, `p2` .. `p5`; inside the
            ResNet it follows the stage, and the next stage reads the attended map.
        extra_level: Add P6 by subsampling P5.
        trainable_layers: Stages trained, counted from the last, 0..5.
        channels: Channels of the pyramid.
        norm_eps: Batch normalisation's epsilon, 0 for weights from Caffe2.
    """
    wanted = _levels(attention, ("c4", "c5", "p2", "p3", "p4", "p5"))
    body = getattr(resnet, name)(
        weights=None, norm_layer=lambda width: FrozenBatchNorm2d(width, eps=norm_eps)
    )
    trained = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable_layers]
    for key, parameter in body.named_parameters():
        parameter.requires_grad_(key.startswith(tuple(trained)))
    stage = body.inplanes // 8
    with aside():
        for level, layer, width in (("c4", body.layer3, stage * 4), ("c5", body.layer4, stage * 8)):
            if level in wanted:
                layer.add_module("attention", DecomposedAttention(width))
    return BackboneWithFPN(
        body,
        {f"layer{i + 1}": str(i) for i in range(4)},
        [stage, stage * 2, stage * 4, stage * 8],
        channels,
        AttendedLevels([int(p[1]) - 2 for p in wanted if p[0] == "p"], channels, extra_level),
    )


class CompactBody(nn.Module):
    """Stem of stride 2 and three stages of two basic blocks at strides 4, 8 and 16."""

    def __init__(self, stem: int = 32, widths: Sequence[int] = (48, 96, 160)):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
        )
        previous = stem
        for i, width in enumerate(widths, 1):
            down = nn.Sequential(
                nn.Conv2d(previous, width, 1, stride=2, bias=False), nn.BatchNorm2d(width)
            )
            blocks = [
                resnet.BasicBlock(previous, width, stride=2, downsample=down),
                resnet.BasicBlock(width, width),
            ]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
            previous = width


def compact_fpn(
    attention: Attention = (),
    extra_level: bool = False,
    channels: int = 64,
    stem: int = 32,
    widths: Sequence[int] = (48, 96, 160),
) -> BackboneWithFPN:
    """The compact pyramid: P2..P4 with trainable batch normalisation.

    Args:
        attention: Where decomposed attention sits, from `p2`, `p3`, `p4`.
        extra_level: Add one coarser level by subsampling.
        channels: Channels of the pyramid.
        stem: Channels of the stem.
        widths: Channels of the three stages.
    """
    wanted = _levels(attention, ("p2", "p3", "p4"))
    return BackboneWithFPN(
        CompactBody(stem, widths),
        {f"layer{i + 1}": str(i) for i in range(len(widths))},
        list(widths),
        channels,
        AttendedLevels([int(p[1]) - 2 for p in wanted], channels, extra_level),
    )
