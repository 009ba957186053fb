"""Backbones: torchvision's ResNets, with a feature pyramid or plain, and a compact pyramid.

The compact pyramid has 64 channels, strides of 4, 8 and 16, and learns from scratch on two cores.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn
from torchvision import models
from torchvision.models import list_models, resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.misc import FrozenBatchNorm2d

from nucleist.models.attention import AttendedLevels, DecomposedAttention
from nucleist.models.random_state import untouched_random_state
from nucleist.types import UserError, one_of

Attention = Sequence[str]


class Encoder(Protocol):
    """A backbone without a pyramid, such as `ResNetBody`: a module that returns one map.

    Attributes:
        out_channels: Channels of the map.
        stride: Pixels between two of its cells.
    """

    out_channels: int
    stride: int

    def __call__(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, out_channels, ceil(H / stride), ceil(W / stride))`."""


class Pyramid(BackboneWithFPN):
    """A body with a feature pyramid, made by `resnet_fpn` and `compact_fpn`.

    Args:
        body: Has the stages `layer1`, `layer2`, ...
        widths: Channels of each stage.
        channels: Channels of the pyramid.
        extra: Attention, and the extra level if there is one.

    Attributes:
        levels: Number of levels, with the extra one.
        out_channels: Channels of each level.
    """

    def __init__(
        self, body: nn.Module, widths: Sequence[int], channels: int, extra: AttendedLevels
    ):
        stages = {f"layer{i + 1}": str(i) for i in range(len(widths))}
        super().__init__(body, stages, list(widths), channels, extra)
        self.levels = len(widths) + (extra.pool is not None)

    @property
    def attention(self) -> nn.ModuleDict:
        """The attention blocks of the pyramid by level, `"0"` the finest."""
        return self.fpn.extra_blocks.attention


def _levels(attention: Attention, allowed: Sequence[str]) -> list[str]:
    unknown = sorted(set(attention) - set(allowed))
    if unknown:
        raise UserError(
            f"attention={','.join(unknown)}: this backbone has no such level; "
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
) -> Pyramid:
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
    with untouched_random_state():
        for level, layer, width in (("c4", body.layer3, stage * 4), ("c5", body.layer4, stage * 8)):
            if level in wanted:
                layer.add_module("attention", DecomposedAttention(width))
    return Pyramid(
        body,
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
) -> Pyramid:
    """The compact pyramid: P2..P4 with trainable batch normalisation.

    Args:
        attention: Where decomposed attention sits, from `p2`, `p3`, `p4`.
        extra_level: Add one coarser level by subsampling.
        channels: Channels of the pyramid.
        stem: Channels of the stem.
        widths: Channels of the three stages.
    """
    wanted = _levels(attention, ("p2", "p3", "p4"))
    return Pyramid(
        CompactBody(stem, widths),
        widths,
        channels,
        AttendedLevels([int(p[1]) - 2 for p in wanted], channels, extra_level),
    )


class ResNetBody(nn.Module):
    """A torchvision ResNet up to its last stage, made by `resnet_body`.

    Attributes:
        body: The ResNet under torchvision's parameter names, without pooling and `fc`.
        out_channels: Channels C of the last stage.
        stride: Pixels between two cells of its map.
    """

    def __init__(self, net: resnet.ResNet, stride: int):
        super().__init__()
        self.out_channels: int = net.fc.in_features
        self.stride = stride
        self.body = IntermediateLayerGetter(net, {"layer4": "layer4"})

    def forward(self, images: Tensor) -> Tensor:
        """Map of the last stage, `(B, C, ceil(H / stride), ceil(W / stride))`.

        Args:
            images: `(B, 3, H, W)`, normalised.
        """
        features: Tensor = self.body(images)["layer4"]
        return features


def resnet_body(name: str = "resnet18", dilated: bool = True) -> ResNetBody:
    """A ResNet without pyramid, for nets that predict from its last stage.

    Batch normalisation is trained. Dilation adds no parameter, so ImageNet weights load.

    Args:
        name: Constructor in `torchvision.models.resnet`; the papers of the nets that use it take
            `resnet50`.
        dilated: The last stage keeps the resolution of the one before and dilates its 3 x 3
            convolutions by 2 instead (stride 16, otherwise 32).

    Raises:
        UserError: If torchvision has no such ResNet.
    """
    one_of("model.backbone.name", name, tuple(list_models(models, include="*resne*t*")))
    net = getattr(resnet, name)(weights=None)
    if dilated:
        _dilate(net.layer4)
    return ResNetBody(net, 16 if dilated else 32)


def _dilate(stage: nn.Module) -> None:
    """Replace a stage's stride by dilation: the same values, and those between them.

    torchvision does so for bottlenecks alone. Convolutions up to the strided one read the map of
    the stage before and stay as they are; the 3 x 3 ones after it are dilated by 2.
    """
    after = False
    for name, conv in stage.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        if after and conv.kernel_size == (3, 3):
            conv.dilation = conv.padding = (2, 2)
        if conv.stride == (2, 2):
            conv.stride = (1, 1)
            after |= "downsample" not in name
