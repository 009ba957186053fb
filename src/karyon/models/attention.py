"""Decomposed self-attention: attention of rank 64 at linear cost.

Source: Feng et al., IEEE Access 2019, section II. Instead of an N x N attention matrix over
the N locations, a basis map B (softmax over locations) and a coefficient map K (softmax over
the 64 channels) are learned; the attention matrix is K^T B, whose rows sum to 1.
"""

from collections.abc import Sequence

import torch
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

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Basis `(B, C_b, N)`, summing to 1 over locations; coefficients, over channels."""
        # Softmax over 10^4 locations underflows in half precision.
        basis = self.basis(x).flatten(2).float().softmax(2)
        coefficients = self.coefficients(x).flatten(2).float().softmax(1)
        return basis, coefficients

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add."""
        basis, coefficients = self.maps(x)
        values = self.values(x).flatten(2)  # (B, C_v, N)
        context = torch.bmm(values, basis.to(values.dtype).transpose(1, 2))  # (B, C_v, C_b)
        attended = torch.bmm(context, coefficients.to(values.dtype))  # (B, C_v, N)
        return x + self.fuse(attended.unflatten(2, x.shape[2:]))

    @torch.no_grad()
    def attention_of(self, x: Tensor, where: Tensor) -> Tensor:
        """Sum of the attention that the marked locations give (paper's Fig. 1).

        Args:
            x: `(1, channels, h, w)` input of the block.
            where: `(h, w)` weight of each location, e.g. 1 inside labelled nuclei.

        Returns:
            `(h, w)`, scaled to [0, 1].
        """
        basis, coefficients = self.maps(x)
        weight = where.to(coefficients).reshape(1, 1, -1)
        given = torch.bmm(torch.bmm(weight, coefficients.transpose(1, 2)), basis)
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
