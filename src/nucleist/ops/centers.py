"""The centre map of partial-annotation Mask R-CNN: its targets, and boxes out of it.

Source: Feng et al., IEEE Access 2019, section II. A cell of the first FPN level (4 px) is 1
in the middle of an annotated nucleus (a box of 0.3 times its width and height), 0 elsewhere
inside annotated nuclei, and unknown (-1) outside them, because what was not annotated may hold
nuclei too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from nucleist.ops.rectangles import cells
from nucleist.types import IGNORE


class CenterTarget(NamedTuple):
    """Targets of the centre head for a batch.

    Attributes:
        labels: `(B, h, w)` `int64`, 1 centre, 0 inside an annotated nucleus, -1 unknown.
        nucleus: `(B, h, w)` `int64`, the nucleus whose centre a cell belongs to, as an index
            into the boxes of all images one after the other; 0 where none.
    """

    labels: Tensor
    nucleus: Tensor


def _spans(low: Tensor, high: Tensor, stride: float, share: float, limit: int) -> Tensor:
    """Half-open ranges of cells around the middles of intervals, at least one cell each."""
    middle, half = (low + high) / 2 / stride, share * (high - low) / 2 / stride
    first = (middle - half).floor()
    last = torch.maximum(first + 1, (middle + half).ceil())
    first = first.clamp(0, limit - 1)
    return torch.stack([first, torch.maximum(last.clamp(max=limit), first + 1)], 1).long()


def center_target(
    boxes: Sequence[Tensor],
    label_maps: Sequence[Tensor],
    size: tuple[int, int],
    stride: float = 4.0,
    share: float = 0.3,
    overlap: str = "nearest",
    alignment: str = "exact",
) -> CenterTarget:
    """Build the centre map's targets from boxes and label maps, at the net's scale.

    Args:
        boxes: `(N, 4)` xyxy in pixels, for each image.
        label_maps: `(H, W)` integer, positive inside annotated nuclei, for each image.
        size: Cells `(h, w)` of the feature map, padding included.
        stride: Pixels a cell.
        share: Part of a box's width and height that counts as its centre.
        overlap: Which nucleus owns a cell claimed by several centres: `"nearest"` middle, or
            the `"last"` box as in the authors' code.
        alignment: Where a cell is inside a nucleus: `"exact"`, at its middle, which of an even
            stride is the corner of four pixels, two of which suffice; `"torchvision"`, at the
            lower right one of them, which moves all nuclei by half a pixel to the upper left.
    """
    every = torch.cat(list(boxes))
    labels = torch.full((len(boxes), *size), IGNORE, dtype=torch.int64, device=every.device)
    for label, label_map in zip(labels, label_maps, strict=True):
        inside = _inside(label_map, int(stride), alignment == "exact")
        rows, cols = min(size[0], inside.shape[0]), min(size[1], inside.shape[1])
        label[:rows, :cols].masked_fill_(inside[:rows, :cols], 0)
    index = torch.zeros_like(labels)
    image = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)]).to(every.device)
    cell, owner, row, col = _center_cells(every, image, size, stride, share)
    if overlap == "last":
        rank = -owner.double()
    else:
        place = torch.stack([col, row], 1) + 0.5
        nucleus_middle = (every[:, :2] + every[:, 2:]) / 2 / stride
        rank = ((nucleus_middle[owner] - place) ** 2).sum(1).double()
    best = rank.new_full((labels.numel(),), torch.inf)
    best.scatter_reduce_(0, cell, rank, "amin")
    # Of equals the first: cells that lost vote for a number that none has.
    voted = torch.where(rank == best[cell], owner, len(every))
    first = torch.full_like(index.view(-1), len(every))
    first.scatter_reduce_(0, cell, voted, "amin")
    labels.view(-1)[cell] = 1
    index.view(-1)[cell] = first[cell]
    return CenterTarget(labels, index)


def _inside(label_map: Tensor, stride: int, exact: bool) -> Tensor:
    """Which cells of a label map `(H, W)` are in a nucleus at their middle, `(h, w)` bool."""
    middle = stride // 2
    if not exact or stride % 2:
        return label_map[middle::stride, middle::stride] > 0
    covered = (label_map[middle - 1 :, middle - 1 :] > 0).float()[None, None]
    if covered.numel() == 0:
        return label_map[:0, :0] > 0
    # Of the cells at the lower and right edge only the pixels that exist count.
    shares = F.avg_pool2d(covered, 2, stride, ceil_mode=True, count_include_pad=False)
    return shares[0, 0] >= 0.5


def _center_cells(
    boxes: Tensor, image: Tensor, size: tuple[int, int], stride: float, share: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Flat cell numbers in the centres of all boxes, the box each belongs to, row, column."""
    cols = _spans(boxes[:, 0], boxes[:, 2], stride, share, size[1])
    rows = _spans(boxes[:, 1], boxes[:, 3], stride, share, size[0])
    found = cells(rows[:, 1] - rows[:, 0], cols[:, 1] - cols[:, 0])
    owner = found.row_window[found.line]
    row = rows[owner, 0] + found.row[found.line]
    col = cols[owner, 0] + found.col
    return (image[owner] * size[0] + row) * size[1] + col, owner, row, col


class Peaks(NamedTuple):
    """The strongest cell of each connected component: `(K,)` `int64` positions and scores."""

    image: Tensor
    row: Tensor
    col: Tensor
    score: Tensor


def peaks(probability: Tensor, threshold: float, connectivity: int = 4) -> Peaks:
    """Find one peak in every connected component of cells above a threshold.

    One transfer a batch: the components of all images are labelled together, with a structure
    that does not connect neighbouring images.

    Args:
        probability: `(B, h, w)` in [0, 1]; set cells that must not count to 0.
        threshold: Cells count if strictly above.
        connectivity: 4 or 8 neighbours.

    Returns:
        Peaks in order of image and of the component's first cell; of equal scores in a
        component the first in row-major order wins.
    """
    above = probability > threshold
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    components, count = ndimage.label(above.cpu().numpy(), structure)
    flat = above.flatten().nonzero()[:, 0]
    component = torch.from_numpy(components).to(probability.device).flatten()[flat].long() - 1
    score = probability.flatten()[flat]
    top = score.new_zeros(count).scatter_reduce_(0, component, score, "amax")
    at_top = score == top[component]
    cell = flat.new_full((count,), probability.numel())
    cell.scatter_reduce_(0, component[at_top], flat[at_top], "amin")
    height, width = probability.shape[1:]
    return Peaks(cell // (height * width), cell // width % height, cell % width, top)


def cell_anchors(
    row: Tensor, col: Tensor, size: tuple[float, float], stride: float, offset: float
) -> Tensor:
    """The one anchor of each centre cell.

    Args:
        row: `(K,)` cell rows.
        col: `(K,)` cell columns.
        size: Width and height of the anchor in pixels: the median of the training boxes
            (the papers), or a fixed 32 x 32 (the authors' code).
        stride: Pixels a cell.
        offset: Position inside the cell, 0 its corner (authors' code), 0.5 its middle.

    Returns:
        `(K, 4)` `float32` xyxy in pixels.
    """
    middle = (torch.stack([col, row], 1).float() + offset) * stride
    half = torch.tensor(size, dtype=torch.float32, device=row.device) / 2
    return torch.cat([middle - half, middle + half], 1)
