"""The canonical shape and its copies in the image: Costa et al., MIDL 2022, sections 2.1 and 2.2.

A small MLP predicts the probability that a point of the canonical frame is inside a nucleus. A
slot is a possible nucleus: an affine map from the image into that frame, and a presence. The
probability that a pixel is foreground is that of its most likely slot. All are log probabilities.

Lengths are units of 64 px: the paper's patches of 128 px are [-1, 1] wide.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nucleist.ops.log_space import LOG_MAX, log1mexp

UNIT_PX = 64
"""Pixels in a unit of length."""

POINTS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 21}
"""Points a slice of the first pass evaluates: on a CPU they should stay in the cache."""

REACH = 6.0
"""Radius of the canonical frame that is searched for the outline."""

SMALLEST = 0.3
"""Smallest diagonal entry of `L`; no nucleus is larger than the canonical one over this."""

UPSAMPLED = ("log", "logit")
"""What may be interpolated between points; see `to_upsample`."""

PATCH_PX = 128
"""Side of the paper's patches. Absolute translations are learned, and hold, for it alone."""


class ShapeMLP(nn.Module):
    """`log p(s | x', y', r')`, 88 parameters; its initial values make a soft disc of radius 0.5.

    Layers of 8, 4 and 1 outputs, each with the input `(x', y', r')` beside the output of the one
    before. With torch's own initial values the map stays flat for many steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(11, 4), nn.Linear(7, 1)
        with torch.no_grad():
            self.last.weight.mul_(0.3)
            self.last.weight[0, -1] = 8.0  # r'
            self.last.bias.fill_(-4.0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Log probability that points of the canonical frame are inside, any shape, below 0."""
        # One row a feature: the few rows are long, and matrix products of that form are fast.
        q = torch.stack([x, y, (x * x + y * y + 1e-12).sqrt()]).flatten(1)  # (3, points)
        h = torch.addmm(self.first.bias[:, None], self.first.weight, q).relu_()
        h = torch.addmm(self.second.bias[:, None], self.second.weight, torch.cat([h, q])).relu_()
        u = torch.addmm(self.last.bias[:, None], self.last.weight, torch.cat([h, q]))
        return F.logsigmoid(-u).view_as(x)

    @torch.no_grad()
    def radii(self, probability: float = 0.5, angles: int = 64) -> Tensor:
        """Radius at which the shape ends, in each direction from the origin.

        Args:
            probability: Level of the outline.
            angles: Directions, evenly spaced from 0.

        Returns:
            `(angles,)`, the outermost radius up to `REACH` at which the level is reached; NaN where
            it is reached nowhere or still at `REACH`.
        """
        device = self.first.bias.device
        r = torch.linspace(0, REACH, 385, device=device)
        angle = torch.arange(angles, device=device)[:, None] * (2 * math.pi / angles)
        value = self(angle.cos() * r, angle.sin() * r) - math.log(probability)  # (angles, 385)
        numbers = torch.arange(len(r), device=device)
        at = torch.where(value >= 0, numbers, -1).amax(1)
        found = (at >= 0) & (at < len(r) - 1)
        at = at.clamp(0, len(r) - 2)[:, None]
        inside, outside = value.gather(1, at)[:, 0], value.gather(1, at + 1)[:, 0]
        radius = r[at[:, 0]] + r[1] * inside / (inside - outside)
        return torch.where(found, radius, torch.nan)


class Slots(NamedTuple):
    """Possible nuclei of a batch, `float32`.

    Attributes:
        matrix: `(..., 3)` `l11, l21, l22` of `L` in `x' = L (x - c)`, one over units.
        center: `(..., 2)` x and y of `c` from the image's upper left corner, units.
        logit: `(...)` of presence.
    """

    matrix: Tensor
    center: Tensor
    logit: Tensor

    def at(self, index: Any) -> "Slots":
        """The slots at an index of their common dimensions."""
        return Slots(self.matrix[index], self.center[index], self.logit[index])


def decode(maps: Tensor, logits: Tensor, translation: str, cell_px: int) -> Slots:
    """Slots from the outputs of the encoder's heads.

    Args:
        maps: `(B, S * 5, h, w)`, for each of the S slots of a cell `a11, l21, a22, tx, ty`; the
            diagonal is `softplus(a) + SMALLEST`.
        logits: `(B, S, h, w)` of presence.
        translation: `"cell"`: tx and ty are the centre's offset from the middle of its cell, in
            cells. `"absolute"`: they are the `t` of `x' = L x + t`, x from the patch's middle.
        cell_px: Side of a cell, pixels.

    Returns:
        `(B, S * h * w)`.
    """
    count, (rows, cols) = logits.shape[1], logits.shape[2:]
    a11, l21, a22, tx, ty = maps.unflatten(1, (count, 5)).movedim(2, 0).flatten(2)
    l11, l22 = F.softplus(a11) + SMALLEST, F.softplus(a22) + SMALLEST
    if translation == "cell":
        x, y = lattice((rows * cell_px, cols * cell_px), cell_px, maps.device)
        off = torch.stack([tx, ty], -1) * (cell_px / UNIT_PX)
        center = torch.stack([x, y], -1).repeat(count, 1) + off
    else:  # c = -L^-1 t
        x = -tx / l11
        center = torch.stack([x, (-ty - l21 * x) / l22], -1) + PATCH_PX / UNIT_PX / 2
    return Slots(torch.stack([l11, l21, l22], -1), center, logits.flatten(1))


def log_likelihood(shape: ShapeMLP, slots: Slots, x: Tensor, y: Tensor) -> Tensor:
    """`log p(s) + log p(z)` of slots at points of the image.

    Args:
        shape: The canonical shape.
        slots: Dimensions that broadcast with the points'.
        x: Units from the left edge.
        y: Units from the upper edge.
    """
    dx, dy = x - slots.center[..., 0], y - slots.center[..., 1]
    l11, l21, l22 = slots.matrix.unbind(-1)
    return shape(l11 * dx, l21 * dx + l22 * dy) + F.logsigmoid(slots.logit)


def lattice(size: tuple[int, int], point_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the middles of `point_px` wide squares that tile an image are: x, y, units."""
    rows, cols = (
        (torch.arange(side // point_px, device=device) + 0.5) * (point_px / UNIT_PX)
        for side in size
    )
    return cols.repeat(len(rows)), rows.repeat_interleave(len(cols))


def combine(
    shape: ShapeMLP,
    slots: Slots,
    x: Tensor,
    y: Tensor,
    two_pass: bool = True,
    temperature: float = 0.0,
) -> Tensor:
    """Log probability of foreground: that of the most likely slot at each point (Eq. 2).

    The gradient of a maximum is that of the winning slot. So with `two_pass` the winners are found
    without gradients, slice by slice, and only they are computed again with gradients: values and
    gradients are the same, and the memory does not grow with the number of slots.

    Args:
        shape: The canonical shape.
        slots: `(B, N)`.
        x: `(P,)` points, units.
        y: `(P,)`.
        two_pass: False evaluates every slot at every point with gradient.
        temperature: Above 0 and without `two_pass`: all slots weighted by the softmax of their log
            likelihood over this, instead of the maximum.

    Returns:
        `(B, P)`.
    """
    if two_pass:
        winner = winners(shape, slots, x, y)
        return log_likelihood(shape, _gathered(slots, winner), x, y)
    every = log_likelihood(shape, slots.at((slice(None), slice(None), None)), x, y)  # (B, N, P)
    if temperature > 0:
        return ((every / temperature).softmax(1) * every).sum(1)
    return every.max(1).values


def _gathered(slots: Slots, index: Tensor) -> Slots:
    image = torch.arange(len(index), device=index.device)[:, None]
    return slots.at((image, index))


@torch.no_grad()
def winners(shape: ShapeMLP, slots: Slots, x: Tensor, y: Tensor) -> Tensor:
    """The most likely slot at each point, `(B, P)` `int64`; arguments as of `combine`."""
    at_once = POINTS_AT_ONCE.get(x.device.type, 1 << 16)
    images, count = slots.logit.shape
    step = max(at_once // max(len(x), 1), 1)
    found = []
    for i in range(images):
        best = x.new_full((len(x),), -torch.inf)
        index = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for start in range(0, count, step):
            part = slots.at((i, slice(start, start + step), None))
            value, place = log_likelihood(shape, part, x, y).max(0)
            better = value > best
            best = torch.where(better, value, best)
            index = torch.where(better, place + start, index)
        found.append(index)
    return torch.stack(found)


def to_upsample(log_p: Tensor, kind: str) -> Tensor:
    """What is interpolated linearly between the points at which the shape was evaluated.

    Both have a gradient where no slot covers the foreground; the probability itself has none. The
    log falls steeply outside a nucleus, so that between a point inside and one outside `p = 0.5`
    lies close to the inner one, and the learned shapes become larger by 0.5 to 1.1 px at 4 px a
    point. The logit falls as steeply on both sides, and the learned shapes keep their size.

    Args:
        log_p: Log probability, any shape.
        kind: `"log"` or `"logit"`.
    """
    if kind == "log":
        return log_p
    clamped = log_p.clamp(max=LOG_MAX)
    return clamped - log1mexp(clamped)


def from_upsampled(value: Tensor, kind: str) -> Tensor:
    """Log probability again, after interpolation."""
    return value if kind == "log" else F.logsigmoid(value)
