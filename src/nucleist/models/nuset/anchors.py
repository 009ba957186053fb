"""Anchors of an image by the size of its own nuclei.

Source: Yang et al., PLoS Comput Biol 2020 (NuSeT), S2 Fig, and the authors' code, which alone has
the scales and ratios. Boxes are xyxy in pixels, right and bottom exclusive.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

STRIDE = 16
"""Pixels of a cell of the map that the RPN reads."""

SCALES = (0.5, 1.0, 2.0)
"""Sides of the anchors in sizes of the median nucleus."""

RATIOS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Heights over widths of the anchors."""


def median_size(boxes: Tensor, fallback: float) -> float:
    """The median over nuclei of the longer side of their boxes, pixels.

    Args:
        boxes: `(N, 4)`.
        fallback: Result without any box, pixels.
    """
    if len(boxes) == 0:
        return fallback
    longer = (boxes[:, 2:] - boxes[:, :2]).amax(1).float()
    return float(longer.quantile(0.5))  # of an even number the mean of the middle two


def anchor_sides(
    size: float, scales: Sequence[float] = SCALES, ratios: Sequence[float] = RATIOS
) -> Tensor:
    """Widths and heights of the anchors of a cell, `(A, 2)` `float32`, scale by scale.

    All anchors of a scale have the same area: height `s sqrt(r) b`, width `s / sqrt(r) b`.

    Args:
        size: Side b of the square anchor of scale 1, pixels.
        scales: Factors s of both sides.
        ratios: Heights over widths r.
    """
    root = torch.tensor(list(ratios), dtype=torch.float32).sqrt()
    side = torch.tensor(list(scales), dtype=torch.float32)[:, None] * size
    return torch.stack([side / root, side * root], -1).view(-1, 2)


def anchors_on(
    grid: tuple[int, int], sides: Tensor, offset: float = STRIDE / 2, stride: int = STRIDE
) -> Tensor:
    """Anchors around a point of every cell, `(rows * cols * A, 4)`.

    Args:
        grid: Rows and columns of cells.
        sides: `(A, 2)` widths and heights, pixels.
        offset: From the top left corner of a cell to the centre of its anchors, pixels: 8 is the
            middle of the cell; the authors' code takes its first pixel, whose middle is 0.5.
        stride: Pixels of a cell.
    """
    rows, cols = (torch.arange(n, device=sides.device) * stride + offset for n in grid)
    y, x = torch.meshgrid(rows, cols, indexing="ij")
    centers = torch.stack([x, y], -1)[:, :, None].float()
    return torch.cat([centers - sides / 2, centers + sides / 2], -1).view(-1, 4)


def inside(anchors: Tensor, size: tuple[int, int]) -> Tensor:
    """Which anchors lie wholly in an image, `(P,)` bool.

    Args:
        anchors: `(P, 4)`.
        size: Height and width of the image.
    """
    height, width = size
    low = (anchors[:, :2] >= 0).all(1)
    return low & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)


def padded_boxes(boxes: Tensor, pad: float, size: tuple[int, int]) -> Tensor:
    """Boxes moved outwards on each side, and cut at the border of the image.

    Args:
        boxes: `(N, 4)`.
        pad: Pixels; 0 for tight boxes.
        size: Height and width of the image.
    """
    height, width = size
    limit = boxes.new_tensor([width, height, width, height])
    moved = boxes + boxes.new_tensor([-pad, -pad, pad, pad])
    return torch.minimum(moved.clamp(min=0), limit)
