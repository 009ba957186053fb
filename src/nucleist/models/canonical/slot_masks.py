"""From slots to nuclei: masks in boxes, one label map, parameters of the shapes.

Source: Costa et al., MIDL 2022, section 2.3. No mask is larger than the box of its slot.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nucleist.models.canonical.shape import (
    REACH,
    UNIT_PX,
    ShapeMLP,
    Slots,
    from_upsampled,
    log_likelihood,
    to_upsample,
)
from nucleist.ops.ellipses import ellipses, half_extent
from nucleist.ops.labels import boxes_of
from nucleist.ops.mask_groups import contained_groups, highest, without_repeats
from nucleist.ops.rectangles import cells, runs
from nucleist.types import Prediction

PIXELS_AT_ONCE = 1 << 19
"""Pixels of boxes that are evaluated at a time, to bound the memory."""


PARAMETERS = {
    "shape_x": "centre, pixels from the left edge of the image",
    "shape_y": "centre, pixels from the upper edge",
    "semi_major_px": "longer semi-axis, pixels",
    "semi_minor_px": "shorter semi-axis, pixels",
    "angle_rad": "of the longer axis against x, radians in (-pi/2, pi/2], from x towards y (down)",
    "shape_area_px": "area of the ellipse, square pixels",
}
"""Columns of `Prediction["parameters"]`, `(N, 6)` `float32`, and what they are."""


class Pixels(NamedTuple):
    """Masks as lists: `slot` `(P,)` has `pixel` `(P,)` with the log likelihood `value` `(P,)`."""

    slot: Tensor
    pixel: Tensor
    value: Tensor


def slot_masks(
    shape: ShapeMLP,
    slots: Slots,
    size: tuple[int, int],
    point_px: int,
    radii: Tensor,
    upsample: str = "log",
) -> Pixels:
    """The pixels in which `p(s) p(z) >= 0.5`, evaluated only where that is possible.

    Args:
        shape: The canonical shape.
        slots: `(N,)`.
        size: Height and width of the image.
        point_px: Distance of the points at which the shape is evaluated; between them it is
            interpolated, beyond the outer ones it is constant.
        radii: Of the shape at 0.5, as `ShapeMLP.radii` returns them.
        upsample: What is interpolated, see `nucleist.models.canonical.shape.to_upsample`.
    """
    outline = radii.nan_to_num(REACH).max() * 1.02 + 0.02  # and what lies between the angles
    half = half_extent(slots.matrix, float(outline)) * UNIT_PX + point_px
    middle = slots.center * UNIT_PX
    limit = middle.new_tensor([size[1], size[0]])
    low = (middle - half).floor().clamp(min=0).minimum(limit).long()
    span = ((middle + half).ceil().minimum(limit).long() - low).clamp(min=0)
    parts = [
        _evaluated(shape, slots.at(part), low[part], span[part], size, point_px, upsample, part)
        for part in runs(span.prod(1), PIXELS_AT_ONCE)
    ]
    return Pixels(*(torch.cat(lists) for lists in zip(*parts, strict=True)))


def _evaluated(
    shape: ShapeMLP,
    slots: Slots,
    low: Tensor,
    span: Tensor,
    size: tuple[int, int],
    point_px: int,
    upsample: str,
    part: slice,
) -> Pixels:
    """Masks in windows of pixels that begin at `low`; the slots are those of `part`."""
    found = cells(span[:, 1], span[:, 0])
    slot = found.row_window[found.line]
    col, row = low[slot, 0] + found.col, low[slot, 1] + found.row[found.line]
    if point_px == 1:
        value = _at_points(shape, slots, slot, col, row, 1)
    else:
        value = _interpolated(shape, slots, low, span, slot, (col, row), size, point_px, upsample)
    kept = (value >= math.log(0.5)).nonzero()[:, 0]
    pixel = row[kept] * size[1] + col[kept]
    return Pixels(slot[kept] + part.start, pixel, value[kept])


def _at_points(
    shape: ShapeMLP, slots: Slots, slot: Tensor, col: Tensor, row: Tensor, point_px: int
) -> Tensor:
    scale = point_px / UNIT_PX
    return log_likelihood(shape, slots.at(slot), (col + 0.5) * scale, (row + 0.5) * scale)


def _interpolated(
    shape: ShapeMLP,
    slots: Slots,
    low: Tensor,
    span: Tensor,
    slot: Tensor,
    place: tuple[Tensor, Tensor],
    size: tuple[int, int],
    point_px: int,
    upsample: str,
) -> Tensor:
    """Values at pixels from those at the coarser points around them, as `F.interpolate`."""
    limit = low.new_tensor([-(-size[1] // point_px) - 1, -(-size[0] // point_px) - 1])

    def source(pixel: Tensor) -> Tensor:
        return ((pixel + 0.5) / point_px - 0.5).clamp(min=0)

    begin = source(low).long()
    end = (source(low + span - 1).long() + 1).minimum(limit)
    wide, high = (end - begin + 1).clamp(min=0).unbind(1)
    coarse = cells(high, wide)
    owner = coarse.row_window[coarse.line]
    rows = begin[owner, 1] + coarse.row[coarse.line]
    value = _at_points(shape, slots, owner, begin[owner, 0] + coarse.col, rows, point_px)
    value = to_upsample(value, upsample)
    offset = (high * wide).cumsum(0) - high * wide

    def neighbours(axis: int) -> tuple[Tensor, Tensor, Tensor]:
        at = source(place[axis])
        left = at.long().minimum(limit[axis])
        right = (left + 1).minimum(limit[axis])
        return left - begin[slot, axis], right - begin[slot, axis], at - left

    left, right, x = neighbours(0)
    upper, lower, y = neighbours(1)
    upper, lower = (offset[slot] + line * wide[slot] for line in (upper, lower))
    above = value[upper + left].lerp(value[upper + right], x)
    below = value[lower + left].lerp(value[lower + right], x)
    return from_upsampled(above.lerp(below, y), upsample)


def to_prediction(
    shape: ShapeMLP,
    slots: Slots,
    size: tuple[int, int],
    point_px: int,
    group: bool,
    tile: Tensor | None = None,
    upsample: str = "log",
) -> Prediction:
    """Nuclei of one image from its present slots.

    Scores are presences, boxes are tight around what the label map shows. Where masks overlap the
    higher likelihood `p(s) p(z)` has the pixel, not the higher score.

    Args:
        shape: The canonical shape.
        slots: `(N,)`.
        size: Height and width of the image.
        point_px: See `slot_masks`.
        group: Join masks that lie in larger ones (post-processing P); the best presence in a
            group is its score, the largest mask gives the parameters.
        tile: `(N,)` tile that each slot was found in, if tiles overlap: repeats are dropped.
        upsample: See `slot_masks`.
    """
    scores, radii = slots.logit.sigmoid(), shape.radii()
    masks = slot_masks(shape, slots, size, point_px, radii, upsample)
    if tile is not None:
        kept = without_repeats(masks.slot, masks.pixel, scores, tile)[masks.slot]
        masks = Pixels(*(values[kept] for values in masks))
    winner = highest(masks.slot, masks.pixel, masks.value, size[0] * size[1])
    numbers = torch.arange(len(scores), device=scores.device)
    head = contained_groups(masks.slot, masks.pixel, len(scores)) if group else numbers
    best = scores.clone().scatter_reduce(0, head, scores, "amax")
    seen = winner >= 0
    owner = head[winner[seen]]
    shown = torch.zeros_like(numbers, dtype=torch.bool)
    shown[owner] = True
    order = best.argsort(descending=True, stable=True)
    order = order[shown[order]]
    table = torch.zeros_like(numbers, dtype=torch.int32)
    table[order] = torch.arange(1, len(order) + 1, device=order.device, dtype=torch.int32)
    label_map = torch.zeros_like(winner, dtype=torch.int32)
    label_map[seen] = table[owner]
    label_map = label_map.view(size)
    return {
        "boxes": boxes_of(label_map, len(order)),
        "scores": best[order],
        "label_map": label_map,
        "parameters": parameters(slots.at(order), radii),
    }


def parameters(slots: Slots, radii: Tensor) -> Tensor:
    """Centre, semi-axes, angle and area of slots, `(N, 6)`, in the order of `PARAMETERS`.

    The ellipse is the image of a circle with the mean radius of the outline at `p = 0.5`; all but
    the centre is NaN where the shape has no outline.
    """
    return ellipses(slots.matrix / UNIT_PX, slots.center * UNIT_PX, float(radii.mean()))
