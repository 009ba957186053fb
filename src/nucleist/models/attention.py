"""Decomposed self-attention: attention of rank 64 at linear cost.

Source: Feng et al., IEEE Access 2019, section II. Instead of an N x N attention matrix over
the N locations, a basis map B (softmax over locations) and a coefficient map K (softmax over
the 64 channels) are learned; the attention matrix is K^T B, whose rows sum to 1.
"""

from collections.abc import Iterator, Sequence

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

    Attributes:
        context: `B^T x` of the image that the next maps are windows of, `(C_b, channels)`; None
            where each map is an image, whose context is its own.

    Shape:
        `(B, channels, h, w)` in and out.
    """

    context: Tensor | None

    def __init__(self, channels: int, basis: int = 64, values: int = 64):
        super().__init__()
        self.context = None
        self.basis = nn.Conv2d(channels, basis, 1)
        self.coefficients = nn.Conv2d(channels, basis, 1)
        self.values = nn.Conv2d(channels, values, 1)
        self.fuse = nn.Conv2d(values, channels, 1)

    def maps(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Basis `(B, C_b, N)` and coefficients `(B, N, C_b)` of `(B, N, channels)` cells.

        Both sum to 1 over their last dimension, the first over locations, the second over
        channels; a softmax over a dimension that lies together in memory is the fast one.
        """
        return self.basis_logits(cells).softmax(2), self._coefficients(cells)

    def basis_logits(self, cells: Tensor) -> Tensor:
        """The basis before its softmax, `(B, C_b, N)` `float32`, of `(B, N, channels)` cells."""
        weight = self.basis.weight.flatten(1).expand(len(cells), -1, -1)
        assert self.basis.bias is not None
        # Softmax over 10^4 locations underflows in half precision.
        return torch.baddbmm(self.basis.bias[:, None], weight, cells.transpose(1, 2)).float()

    def _coefficients(self, cells: Tensor) -> Tensor:
        layer = self.coefficients
        return F.linear(cells, layer.weight.flatten(1), layer.bias).float().softmax(2)

    def _context(self, cells: Tensor) -> Tensor:
        """`B^T x`, `(B, C_b, channels)`, of each map or of the image that all are windows of."""
        if self.context is not None:
            return self.context.to(cells).expand(len(cells), -1, -1)
        return torch.bmm(self.basis_logits(cells).softmax(2).to(cells.dtype), cells)

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add.

        Values and fusion are linear and the maps sum to 1, so both layers, with their biases, are
        applied to the C_b rows of `B^T x` instead of to all locations, which is cheaper.
        """
        cells = x.permute(0, 2, 3, 1).flatten(1, 2)
        context = self._context(cells)
        for layer in (self.values, self.fuse):
            context = F.linear(context, layer.weight.flatten(1), layer.bias)
        coefficients = self._coefficients(cells).to(cells.dtype)
        attended = torch.baddbmm(cells, coefficients, context.to(cells.dtype))
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


class Context:
    """The context of an image for one block, from windows of it: a softmax over all their cells."""

    def __init__(self) -> None:
        """Begin without any."""
        self._sums: Tensor | None = None

    def add(self, block: DecomposedAttention, cells: Tensor) -> None:
        """Add the cells of a window.

        Args:
            block: The block.
            cells: `(N, channels)` of its input; each cell of the image once.
        """
        if not len(cells):
            return
        logits = block.basis_logits(cells[None])[0]
        largest = logits.max(1, keepdim=True).values
        shares = (logits - largest).exp()
        weighted = torch.cat([shares.sum(1, keepdim=True), shares @ cells.float()], 1).double()
        largest = largest.double()
        if self._sums is None:
            self._largest, self._sums = largest, weighted
            return
        both = torch.maximum(largest, self._largest)  # so that no exponential overflows
        self._sums *= (self._largest - both).exp()
        self._sums += weighted * (largest - both).exp()
        self._largest = both

    def values(self) -> list[list[float]]:
        """`B^T x`, C_b rows of as many numbers as there are channels; empty without cells."""
        if self._sums is None:
            return []
        rows: list[list[float]] = (self._sums[:, 1:] / self._sums[:, :1]).tolist()
        return rows


def attention_blocks(module: nn.Module) -> Iterator[tuple[str, DecomposedAttention]]:
    """The blocks of a module with their names, those that others depend on first."""
    for name, part in module.named_modules():
        if isinstance(part, DecomposedAttention):
            yield name, part


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
