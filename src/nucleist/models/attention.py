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

from nucleist.models.random_state import untouched_random_state


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

    def maps(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Basis `(B, C_b, N)` and coefficients `(B, N, C_b)` of `(B, N, channels)` cells.

        Both sum to 1 over their last dimension, the first over locations, the second over
        channels; a softmax over a dimension that lies together in memory is the fast one.
        """
        weight = self.basis.weight.flatten(1).expand(len(cells), -1, -1)
        assert self.basis.bias is not None
        basis = torch.baddbmm(self.basis.bias[:, None], weight, cells.transpose(1, 2))
        layer = self.coefficients
        coefficients = F.linear(cells, layer.weight.flatten(1), layer.bias)
        # Softmax over 10^4 locations underflows in half precision.
        return basis.float().softmax(2), coefficients.float().softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add.

        Values and fusion are linear and the maps sum to 1, so both layers, with their biases, are
        applied to the C_b rows of `B^T x` instead of to all locations, which is cheaper.
        """
        cells = x.permute(0, 2, 3, 1).flatten(1, 2)
        basis, coefficients = self.maps(cells)
        context = torch.bmm(basis.to(cells.dtype), cells)  # (B, C_b, channels)
        for layer in (self.values, self.fuse):
            context = F.linear(context, layer.weight.flatten(1), layer.bias)
        attended = torch.baddbmm(cells, coefficients.to(cells.dtype), context.to(cells.dtype))
        return attended.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def attention_of(self, x: Tensor, where: Tensor) -> Tensor:
        """Sum of the attention of the marked locations to all locations (paper's Fig. 1).

        Args:
            x: `(1, channels, h, w)` input of the block.
            where: `(h, w)` weight of each location, e.g. 1 inside labelled nuclei.

        Returns:
            `(h, w)`, scaled to [0, 1].
        """
        basis, coefficients = self.maps(x.permute(0, 2, 3, 1).flatten(1, 2))
        weight = where.to(coefficients).reshape(1, 1, -1)
        given = torch.bmm(torch.bmm(weight, coefficients), basis)
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
        with (
            untouched_random_state()
        ):  # around all of them, or each would begin with the same weights
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
