"""Overlapping masks of one nucleus joined into one: post-processing P of Costa et al., MIDL 2022.

Masks are lists of pixels: `pixel[k]` belongs to the mask `mask[k]`. The memory grows with the area
of the masks, not with their number times the image.
"""

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor


def overlaps(mask: Tensor, pixel: Tensor, count: int) -> csr_array:
    """Shared pixels of every two masks that share any, `(N, N)` sparse, areas on the diagonal.

    Args:
        mask: `(P,)` `int64`, the mask that a pixel belongs to.
        pixel: `(P,)` `int64`, row times width plus column. No pair occurs twice.
        count: Number of masks N.
    """
    place = np.unique(pixel.cpu().numpy(), return_inverse=True)[1]
    ones = np.ones(len(place), np.int64)
    shape = (count, int(place.max(initial=-1)) + 1)
    members = csr_array((ones, (mask.cpu().numpy(), place)), shape=shape)
    return csr_array(members @ members.T)


def contained_groups(mask: Tensor, pixel: Tensor, count: int, ratio: float = 0.5) -> Tensor:
    """Group masks that lie in larger ones (section 2.3 of the paper).

    How it works: from the largest mask to the smallest, a mask `m` joins the group `b` in which
    the largest part of it lies, if that part is at least `ratio`: `|b & m| / |m|`. What counts as
    `b` is the union of the group so far. Otherwise it begins a group. Of equal masks the first
    is the larger.

    Args:
        mask: `(P,)` `int64`, the mask that a pixel belongs to.
        pixel: `(P,)` `int64`, row times width plus column. No pair occurs twice.
        count: Number of masks N; a mask without pixels is a group of its own.
        ratio: Share in (0, 1].

    Returns:
        `(N,)` `int64` on the masks' device: the largest mask of each mask's group.
    """
    shared = overlaps(mask, pixel, count)
    area = shared.diagonal()
    order = np.argsort(-area, kind="stable")
    rank = np.argsort(order)
    numbers = mask.cpu().numpy()
    by_mask = np.split(pixel.cpu().numpy()[np.argsort(numbers, kind="stable")], area.cumsum()[:-1])
    group = np.arange(count)
    for m in order[: np.count_nonzero(area)]:
        row = slice(shared.indptr[m], shared.indptr[m + 1])
        near, common = shared.indices[row], shared.data[row]
        larger = rank[near] < rank[m]
        near, common = near[larger], common[larger]
        best, joined = ratio * area[m], m
        for b in sorted(set(group[near].tolist()), key=rank.__getitem__):
            inside = group[near] == b
            part = common[inside].max()
            if inside.sum() > 1:  # members may overlap, their union has no pixel twice
                union = np.concatenate([by_mask[i] for i in near[inside]])
                part = np.isin(by_mask[m], union).sum()
            if part > best or (part == best and joined == m):
                best, joined = part, b
        group[m] = joined
    return torch.from_numpy(group).to(mask.device)


def without_repeats(
    mask: Tensor, pixel: Tensor, scores: Tensor, tile: Tensor, ratio: float = 0.5
) -> Tensor:
    """Which masks stay where overlapping tiles found the same nucleus more than once.

    From the best score to the worst, a mask is dropped if it shares `ratio` of its area or of
    the other's with a kept mask of another tile.

    Args:
        mask: `(P,)` `int64`, the mask that a pixel belongs to.
        pixel: `(P,)` `int64`, row times width plus column. No pair occurs twice.
        scores: `(N,)`.
        tile: `(N,)` `int64`, the tile that each mask was found in.
        ratio: Share in (0, 1].

    Returns:
        `(N,)` bool on the masks' device.
    """
    shared = overlaps(mask, pixel, len(scores))
    area, tiles = shared.diagonal(), tile.cpu().numpy()
    kept = np.zeros(len(scores), bool)
    for m in np.argsort(-scores.cpu().numpy(), kind="stable"):
        row = slice(shared.indptr[m], shared.indptr[m + 1])
        near, common = shared.indices[row], shared.data[row]
        same = common >= ratio * np.minimum(area[near], area[m])
        kept[m] = not (same & kept[near] & (tiles[near] != tiles[m])).any()
    return torch.from_numpy(kept).to(mask.device)


def highest(mask: Tensor, pixel: Tensor, value: Tensor, cells: int) -> Tensor:
    """The mask with the highest value at each pixel, `(cells,)` `int64`, -1 where there is none.

    Args:
        mask: `(P,)` `int64`, the mask that a pixel belongs to.
        pixel: `(P,)` `int64`, below `cells`.
        value: `(P,)` float, of that mask at that pixel; of equal ones the first mask has it.
        cells: Pixels of the image.
    """
    best = value.new_full((cells,), -torch.inf).scatter_reduce(0, pixel, value, "amax")
    wins = value == best.index_select(0, pixel)
    none = int(mask.max()) + 1 if len(mask) else 0
    winner = mask.new_full((cells,), none)
    winner = winner.scatter_reduce(0, pixel[wins], mask[wins], "amin")
    return torch.where(winner == none, -1, winner)
