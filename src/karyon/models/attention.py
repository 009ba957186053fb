"""Decomposed self-attention: attention of rank 64 at linear cost.

Source: Feng et al., IEEE Access 2019, section II. Instead of an N x N attention matrix over
the N locations, a basis map B (softmax over locations) and a coefficient map K (softmax over
the 64 channels) are learned; the attention matrix is K^T B, whose rows sum to 1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from karyon.models.side import aside


class DecomposedAttention(nn.Module):
    """Residual attention block `x + W_f (G^T K)` with `G = B V^T`.

    Args:
        channels: Channels of the feature map.
        basis: Number of basis maps C_b.
        values: Channels of the value map C_v.

    Shape:
        `(B, channels, h, w)` in and out.
    """

    def __init__(self, channels: int, basis: int = 64, values: int = 64):
        super().__init__()
        self.basis = nn.Conv2d(channels, basis, 1)
        self.coefficients = nn.Conv2d(channels, basis, 1)
        self.values = nn.Conv2d(channels, values, 1)
        self.fuse = nn.Conv2d(values, channels, 1)

    def maps(self, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three maps of `(B, N, channels)` cells.

        Returns:
            Basis `(B, N, C_b)`, summing to 1 over locations; coefficients `(B, N, C_b)`, over
            channels; values `(B, N, C_v)`.
        """
        layers = (self.basis, self.coefficients, self.values)
        # One product for all three, and no change of layout: half the time of three convolutions.
        weight = torch.cat([layer.weight.flatten(1) for layer in layers])
        bias = torch.cat([layer.bias for layer in layers if layer.bias is not None])
        sizes = [layer.out_channels for layer in layers]
        basis, coefficients, values = F.linear(cells, weight, bias).split(sizes, 2)
        # Softmax over 10^4 locations underflows in half precision.
        return basis.float().softmax(1), coefficients.float().softmax(2), values

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add."""
        cells = x.permute(0, 2, 3, 1)
        basis, coefficients, values = self.maps(cells.flatten(1, 2))
        context = torch.bmm(basis.to(values.dtype).transpose(1, 2), values)  # (B, C_b, C_v)
        attended = torch.bmm(coefficients.to(values.dtype), context)  # (B, N, C_v)
        fused = F.linear(attended, self.fuse.weight.flatten(1), self.fuse.bias)
        return x + fused.unflatten(1, cells.shape[1:3]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def attention_of(self, x: Tensor, where: Tensor) -> Tensor:
        """Sum of the attention that the marked locations give (paper's Fig. 1).

        Args:
            x: `(1, channels, h, w)` input of the block.
            where: `(h, w)` weight of each location, e.g. 1 inside labelled nuclei.

        Returns:
            `(h, w)`, scaled to [0, 1].
        """
        basis, coefficients, _ = self.maps(x.permute(0, 2, 3, 1).flatten(1, 2))
        weight = where.to(coefficients).reshape(1, 1, -1)
        given = torch.bmm(torch.bmm(weight, coefficients), basis.transpose(1, 2))
        given = given.reshape(where.shape) - given.min()
        return given / given.max().clamp(min=torch.finfo(given.dtype).tiny)


class AttendedLevels(ExtraFPNBlock):
    """Attention after the 3x3 convolutions of chosen FPN levels, then the usual extra level.

    Args:
        levels: Indices of the attended levels, 0 the finest (P2).
        channels: Channels of the FPN.
        extra_level: Add a coarsest level by max-pooling (P6); the authors' baseline lacks it.
    """

    def __init__(self, levels: Sequence[int], channels: int, extra_level: bool = True):
        super().__init__()
        with aside():  # around all of them, or each would begin with the same weights
            blocks = {str(i): DecomposedAttention(channels) for i in levels}
        self.attention = nn.ModuleDict(blocks)
        self.pool = LastLevelMaxPool() if extra_level else None

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """See `torchvision.ops.feature_pyramid_network.ExtraFPNBlock`."""
        results = [
            self.attention[str(i)](level) if str(i) in self.attention else level
            for i, level in enumerate(results)
        ]
        return (results, names) if self.pool is None else self.pool(results, x, names)
