"""The U-Net that several nets have inside: DIST, U-Net itself, NuSeT.

Source: Ronneberger et al., *U-Net: Convolutional Networks for Biomedical Image Segmentation*,
MICCAI 2015. Published variants differ in a few layers, which are switches here: DIST (Naylor et
al. 2019) normalises batches and upsamples by 2 x 2 kernels; NuSeT (Yang et al. 2020, the authors'
code) has no normalisation, 3 x 3 kernels, and no skip connection at its deepest level.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 5
"""Resolutions of the U-Net; each has half the pixels a side of the one before."""

STRIDE = 2 ** (LEVELS - 1)
"""Pixels of a cell of the lowest resolution."""

MARGIN = 92
"""Pixels that convolutions without padding take off each side of the image."""


class Encoded(NamedTuple):
    """What the encoder computes.

    Attributes:
        levels: The map of each level, finest first; the last has `16 n` channels and stride 16.
        pooled: `(B, 8n, h, w)`, what the last level reads: stride 16, where another head may
            branch off.
    """

    levels: list[Tensor]
    pooled: Tensor


class UNet(nn.Module):
    """Five levels of widths n, 2n, .. 16n, and a head without activation.

    Args:
        width: Channels n of the first level.
        padding: Zeros around each convolution: 1 keeps the size, 0 loses `MARGIN` pixels a side.
        in_channels: Of the images.
        out_channels: Of the result.
        norm: Batch normalisation after each convolution, whose bias it replaces.
        up_kernel: Side of the kernels that double the resolution, 2 or 3.
        up_relu: ReLU after these also where a skip connection follows.
        deep_skip: Whether the fourth level has a skip connection, as the finer ones have.
        head_kernel: Side of the head's kernel, 1 or 3; one of 3 is padded and has no bias.
    """

    def __init__(
        self,
        width: int,
        padding: int = 1,
        in_channels: int = 3,
        out_channels: int = 1,
        norm: bool = True,
        up_kernel: int = 2,
        up_relu: bool = True,
        deep_skip: bool = True,
        head_kernel: int = 1,
    ):
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            block(before, after, padding, norm)
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (16n, 8n), .., (2n, n)
        odd = up_kernel % 2  # torch's words for "twice the size" with kernels of 3
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, up_kernel, stride=2, padding=odd, output_padding=odd)
            for a, b in pairs
        )
        self.skips = [deep_skip, *[True] * (LEVELS - 2)]
        self.merge = nn.ModuleList(
            block(2 * b if skip else b, b, padding, norm)
            for (_, b), skip in zip(pairs, self.skips, strict=True)
        )
        same = head_kernel // 2
        self.head = nn.Conv2d(width, out_channels, head_kernel, padding=same, bias=not same)
        self.up_relu = up_relu

    def encode(self, x: Tensor) -> Encoded:
        """Features of images `(B, C, H, W)` at each resolution.

        Args:
            x: Sides of 16 k, or 16 k + 60 without padding.
        """
        levels: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = F.max_pool2d(x, 2) if level else x
            pooled = x
            x = block(x)
            levels.append(x)
        return Encoded(levels, pooled)

    def decode(self, encoded: Encoded) -> Tensor:
        """The finest map of the decoder, `(B, n, h, w)`."""
        *finer, x = encoded.levels
        for up, merge, skip, joined in zip(
            self.up, self.merge, reversed(finer), self.skips, strict=True
        ):
            x = up(x)
            if self.up_relu or not joined:
                x = F.relu(x, inplace=True)
            x = merge(torch.cat([middle(skip, x.shape[-2:]), x], 1) if joined else x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, out_channels, h, w)`; for sides see `encode`."""
        return self.head(self.decode(self.encode(x)))


def block(before: int, width: int, padding: int, norm: bool) -> nn.Sequential:
    """Twice convolution and ReLU, normalised in between or not."""
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=padding, bias=not norm))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def middle(x: Tensor, size: torch.Size) -> Tensor:
    """The central part of a map."""
    top, left = (x.shape[-2] - size[0]) // 2, (x.shape[-1] - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]


def xavier(module: nn.Module) -> None:
    """Uniform kernels after Glorot and Bengio, zero bias (NuSeT's); for `nn.Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
