"""Masks between boxes and label maps, touching only the pixels inside the boxes.

There is no stack of full-size masks and no loop over nuclei. Pixel (row i, column j) is the square
[i, i + 1) x [j, j + 1), boxes are real numbers in the same frame, and there are two alignments:

- `"exact"`: a mask's cells divide its box evenly, whatever fraction of a pixel the box begins at.
  What is sampled from a label map and pasted into the same box is the nucleus again.
- `"torchvision"`: as its `project_masks_on_boxes` and `paste_masks_in_image`, bit for bit. There
  targets are sampled half a pixel too far to the lower right, and boxes are cut to whole pixels
  before pasting, so that nuclei come back up to half a pixel to the upper left.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from nucleist.ops.painting import Painted, paint
from nucleist.ops.rectangles import Cells, cells, counted, runs

ALIGNMENTS = ("exact", "torchvision")
DILATIONS = ("none", "cross3", "square3")
PIXELS_AT_ONCE = 1 << 21
"""Pixels of boxes that are resampled at a time, to bound the memory."""


def mask_targets(
    label_map: Tensor, boxes: Tensor, nucleus: Tensor, side: int, alignment: str = "exact"
) -> Tensor:
    """Resample the mask of one nucleus inside each box: the mask head's soft targets.

    Args:
        label_map: `(H, W)` integer; nucleus `i` has the value `i + 1`.
        boxes: `(K, 4)` xyxy in pixels.
        nucleus: `(K,)` index of the nucleus that each box was matched to.
        side: Cells of the square output.
        alignment: One of `ALIGNMENTS`.

    Returns:
        `(K, side, side)` in [0, 1], as RoIAlign of the full mask would give.
    """
    wanted = boxes.new_zeros((len(boxes), side, side))
    if len(boxes) == 0:
        return wanted
    extent = (boxes[:, 2:].ceil() - boxes[:, :2].floor()).amax(1).long() + 2
    aligned = alignment == "exact"
    # Crops of one size at a time: one large box must not make all crops large.
    power = torch.frexp(extent.float() - 0.5).exponent
    for exponent, largest in _largest(power, extent):
        rows = (power == exponent).nonzero()[:, 0]
        own = boxes[rows], nucleus[rows]
        wanted[rows] = _cropped_targets(label_map, *own, side, largest, aligned)
    return wanted


def _largest(group: Tensor, value: Tensor) -> list[tuple[int, int]]:
    """Each group with its largest value, in one transfer."""
    largest: dict[int, int] = {}
    for key, size in torch.stack([group.long(), value], 1).tolist():
        largest[key] = max(size, largest.get(key, 0))
    return list(largest.items())


def _cropped_targets(
    label_map: Tensor, boxes: Tensor, nucleus: Tensor, side: int, extent: int, aligned: bool
) -> Tensor:
    height, width = label_map.shape
    # Aligned samples lie half a pixel further to the upper left, and need the pixel before.
    origin = boxes[:, :2].floor().long() - int(aligned)
    steps = torch.arange(extent, device=boxes.device)
    rows = (origin[:, 1, None] + steps).clamp_(min=0, max=height - 1)
    cols = (origin[:, 0, None] + steps).clamp_(min=0, max=width - 1)
    crops = label_map[rows[:, :, None], cols[:, None, :]] == (nucleus + 1)[:, None, None]
    local = boxes - origin.repeat(1, 2).to(boxes.dtype)
    numbers = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    rois = torch.cat([numbers[:, None], local], 1)
    values = crops[:, None].to(boxes.dtype)
    return roi_align(values, rois, (side, side), 1.0, aligned=aligned)[:, 0]


def paste_label_map(
    masks: Tensor,
    boxes: Tensor,
    shape: tuple[int, int],
    threshold: float = 0.5,
    dilation: str = "none",
    overlap: str = "high",
    max_lost: float = 1.0,
    alignment: str = "exact",
) -> Painted:
    """Paint predicted masks into one label map.

    Where masks overlap each pixel goes to one nucleus, and a nucleus that loses more than
    `max_lost` of its area is dropped and frees its pixels (authors' code, section 7 of their
    evaluation; there the lowest score wins).

    Args:
        masks: `(K, 1, M, M)` probabilities, best score first.
        boxes: `(K, 4)` xyxy in pixels of the output.
        shape: `(H, W)` of the output.
        threshold: A pixel belongs to a mask if its probability is strictly above.
        dilation: `"none"`, `"cross3"` or `"square3"`, applied once to each mask.
        overlap: `"high"` or `"low"`: which score has the pixel.
        max_lost: Largest share of its area that a nucleus may lose, in [0, 1].
        alignment: One of `ALIGNMENTS`; that of the targets which the masks were learned from.

    Returns:
        `(H, W)` `int32` label map in which detection `i` has the value `i + 1`, and `(K,)` bool,
        which detections are in it; both on the masks' device.
    """
    frames = _frames(boxes.float(), masks.shape[-1], alignment)
    margin = 0 if dilation == "none" else 1
    low, size = _windows(frames, margin, shape)
    padded = F.pad(masks.detach().float(), (1, 1, 1, 1))
    nucleus, pixel = [], []
    for part in runs(size.prod(1), PIXELS_AT_ONCE):
        found = cells(size[part, 1], size[part, 0])
        inside = _above(padded[part], frames[part], low[part], size[part], found, threshold)
        if margin:
            inside = _dilated(inside, size[part], found, square=dilation == "square3")
        kept = inside.nonzero()[:, 0]
        line = found.line.index_select(0, kept)
        first = (low[part, 1][found.row_window] + found.row) * shape[1]
        first += low[part, 0][found.row_window]
        nucleus.append(found.row_window.index_select(0, line) + part.start)
        pixel.append(first.index_select(0, line) + found.col.index_select(0, kept))
    none = low.new_zeros(0)
    return paint(
        torch.cat([none, *nucleus]), torch.cat([none, *pixel]), len(boxes), shape, overlap, max_lost
    )


def _frames(boxes: Tensor, side: int, alignment: str) -> Tensor:
    """Where masks lie that have one more cell, a zero, on each side: `(K, 4)` xyxy in pixels.

    `int64` for torchvision's: its `expand_boxes`, truncated, to which pasting adds a pixel.
    """
    scale = (side + 2) / side
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5
    middle = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    half = half * scale
    frames = torch.cat([middle - half, middle + half], 1)
    if alignment == "exact":
        return frames
    frames = frames.to(torch.int64)
    frames[:, 2:] += 1
    return frames


def _windows(frames: Tensor, margin: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels whose middles are in the frames: first column and row, number of both; `int64`.

    Args:
        frames: `(K, 4)` xyxy in pixels.
        margin: Further pixels on each side.
        shape: `(H, W)`; what lies outside is cut off.
    """
    if frames.is_floating_point():
        frames = (frames - 0.5).ceil().long()
    limit = frames.new_tensor([shape[1], shape[0]])
    low = (frames[:, :2] - margin).clamp(min=0)
    high = torch.minimum(frames[:, 2:] + margin, limit)
    return low, (high - low).clamp(min=0)


def _above(
    padded: Tensor, frames: Tensor, low: Tensor, size: Tensor, found: Cells, threshold: float
) -> Tensor:
    """Whether masks resized bilinearly to their frames are above the threshold, `(K,)` bool.

    A pixel of a window that lies outside its frame is not: it reads from a column of -1.
    """
    side = padded.shape[-1]
    shift = low - frames[:, :2]
    extent = (frames[:, 2:] - frames[:, :2]).float().clamp(min=1e-3)
    y, y_part, inside = _sources(found.row_window, found.row, shift[:, 1], extent[:, 1], side)
    upper = padded[:, 0][found.row_window, y]
    lower = padded[:, 0][found.row_window, (y + 1).clamp_(max=side - 1)]
    lines = upper * (1 - y_part)[:, None] + lower * y_part[:, None]
    lines[~inside] = -1.0
    lines = F.pad(torch.cat([lines, lines[:, -1:]], 1), (0, 2), value=-1.0)

    window, col = counted(size[:, 0])  # the columns of each window, once
    x, x_part, inside = _sources(window, col, shift[:, 0], extent[:, 0], side)
    x = torch.where(inside, x, side + 1)
    first_col = (size[:, 0].cumsum(0) - size[:, 0]).index_select(0, found.row_window)
    entry = first_col.index_select(0, found.line) + found.col
    part = x_part.index_select(0, entry)
    place = found.line * lines.shape[1] + x.index_select(0, entry)
    flat = lines.flatten()
    value = flat.index_select(0, place) * (1 - part)
    return value.addcmul_(flat.index_select(0, place + 1), part) > threshold


def _sources(
    window: Tensor, position: Tensor, shift: Tensor, extent: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """First source cell of rows or columns, the next one's weight, and if they are in the frame.

    The positions are those of `F.interpolate(mode="bilinear", align_corners=False)`.
    """
    middle, extent = (position + shift[window]).float() + 0.5, extent[window]
    source = (side / extent * middle - 0.5).clamp_(min=0)
    first = source.long().clamp_(max=side - 1)
    return first, source - first.float(), (middle >= 0) & (middle < extent)


def _dilated(inside: Tensor, size: Tensor, found: Cells, square: bool) -> Tensor:
    """Binary dilation in every window by a cross or a square of 3 x 3."""
    wide = size[:, 0].index_select(0, found.row_window)
    last = size[:, 1].index_select(0, found.row_window) - 1
    here = torch.arange(len(inside), device=inside.device)

    def neighbour(values: Tensor, step: Tensor, valid: Tensor) -> Tensor:
        return values.index_select(0, torch.where(valid, here + step, here)) & valid

    across = inside.clone()
    across[1:] |= inside[:-1] & (found.col[1:] > 0)
    across[:-1] |= inside[1:] & (found.col[1:] > 0)
    source, step = across if square else inside, wide.index_select(0, found.line)
    above = neighbour(source, -step, (found.row > 0).index_select(0, found.line))
    below = neighbour(source, step, (found.row < last).index_select(0, found.line))
    return across | above | below
