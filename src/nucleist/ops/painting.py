"""Which of several overlapping masks has a pixel, decided for a whole image at once.

The masks are lists of pixels. The rule (authors' code of Feng et al., section 7 of their
evaluation): in the order of the scores every mask takes the pixels that are still free; one that
would lose too much of its area is dropped and takes none.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Painted(NamedTuple):
    """A label map and what is in it.

    Attributes:
        label_map: `(H, W)` `int32`; mask `i` has the value `i + 1`.
        kept: `(K,)` bool, which masks are in it.
    """

    label_map: Tensor
    kept: Tensor


def paint(
    mask: Tensor,
    pixel: Tensor,
    count: int,
    shape: tuple[int, int],
    overlap: str = "high",
    max_lost: float = 1.0,
) -> Painted:
    """Resolve overlaps.

    How it works: a loop over the masks would be slow. Instead, in each round, masks that keep
    enough pixels although all undecided ones compete are kept, and masks that do not although only
    kept ones compete are dropped. The best undecided mask has only decided ones above it, so each
    round decides at least one.

    Args:
        mask: `(P,)` `int64`, the mask that a pixel belongs to; best score first.
        pixel: `(P,)` `int64`, row times width plus column. No pair occurs twice.
        count: Number of masks K.
        shape: `(H, W)`.
        overlap: `"high"` or `"low"`: which score has the pixel.
        max_lost: Largest share of its area that a mask may lose, in [0, 1].
    """
    rank = mask if overlap == "high" else count - 1 - mask
    area = torch.bincount(rank, minlength=count)
    canvas = rank.new_full((shape[0] * shape[1],), count)

    def best(competing: Tensor) -> Tensor:
        """The best rank of a competitor at each pixel, `count` where there is none."""
        numbers = torch.arange(count, device=mask.device).masked_fill(~competing, count)
        return canvas.scatter_reduce(0, pixel, numbers.index_select(0, rank), "amin")

    def fine(competing: Tensor) -> Tensor:
        """Which masks keep enough pixels against competitors of a better rank."""
        seen = rank <= best(competing).index_select(0, pixel)
        visible = torch.zeros_like(area).index_add_(0, rank, seen.to(area.dtype))
        return (visible > 0) & (area - visible <= max_lost * area.double())

    kept, rest = torch.zeros_like(area, dtype=torch.bool), area > 0
    while bool(rest.any()):
        kept |= rest & fine(kept | rest)
        rest &= ~kept
        if bool(rest.any()):
            rest &= fine(kept)
    numbers = torch.arange(1, count + 2, device=mask.device)
    numbers = (numbers if overlap == "high" else count + 1 - numbers) % (count + 1)
    label_map = numbers.to(torch.int32).index_select(0, best(kept)).view(shape)
    return Painted(label_map, kept if overlap == "high" else kept.flip(0))
