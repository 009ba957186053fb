"""Match boxes to anchors or proposals through the pairs that overlap, and no others.

Torchvision compares every box with every anchor: a matrix of 1000 x 250,000 floats, several
times over, for a megapixel with 1000 nuclei. A nucleus overlaps some hundred anchors. What comes
out is what `torchvision.models.detection._utils.Matcher` gives for the whole matrix, number for
number, which a property test checks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_area

from nucleist.ops.rectangles import cells, counted, runs

PAIRS = 1 << 20
"""Pairs that `overlaps` looks at at a time, to bound its memory."""


class Overlaps(NamedTuple):
    """The pairs of boxes and candidates that overlap, `(K,)` each.

    Attributes:
        box: `int64` index of the box.
        candidate: `int64` index of the anchor or proposal.
        iou: `float32` in (0, 1].
        shape: Number of boxes and of candidates.
    """

    box: Tensor
    candidate: Tensor
    iou: Tensor
    shape: tuple[int, int]


def overlaps(boxes: Tensor, candidates: Tensor) -> Overlaps:
    """Pairs of any boxes: of candidates that begin not too far to the left, nor behind a box.

    Args:
        boxes: `(N, 4)` xyxy.
        candidates: `(P, 4)` xyxy.
    """
    left, order = candidates[:, 0].sort()
    widest = (
        (candidates[:, 2] - candidates[:, 0]).amax() if len(candidates) else boxes.new_zeros(())
    )
    # One float further: the difference of two floats may be rounded up.
    reach = torch.nextafter(boxes[:, 0] - widest, boxes.new_tensor(-torch.inf))
    first = torch.searchsorted(left, reach)
    count = torch.searchsorted(left, boxes[:, 2].contiguous()) - first
    found = [_pairs(boxes, candidates, order, first, count, part) for part in runs(count, PAIRS)]
    box, candidate, iou = (torch.cat(part) for part in zip(*found, strict=True))
    return Overlaps(box, candidate, iou, (len(boxes), len(candidates)))


def _pairs(
    boxes: Tensor, candidates: Tensor, order: Tensor, first: Tensor, count: Tensor, part: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of some boxes and `count` candidates from `first` on in an order, if they overlap."""
    box, number = counted(count[part].clamp(min=0))
    box = box + part.start
    candidate = order.index_select(0, first.index_select(0, box) + number)
    iou = _pair_iou(boxes, candidates, box, candidate)
    touch = (iou > 0).nonzero()[:, 0]
    return box.index_select(0, touch), candidate.index_select(0, touch), iou.index_select(0, touch)


def matching_overlaps(
    boxes: Tensor, anchors: Tensor, levels: Sequence[Sequence[int]], low: float
) -> Overlaps:
    """The pairs that decide a matching with the low threshold `low`, half of all or fewer.

    They are those with an IoU of `low` and more, all pairs of boxes that have none, and those of
    the anchors that are such a box's best. Some pairs may occur twice.

    Args:
        boxes: `(N, 4)` xyxy.
        anchors: See `grid_overlaps`.
        levels: See `grid_overlaps`.
        low: IoU in (0, 1] below which a pair makes no match, unless it is the box's best.
    """
    found = grid_overlaps(boxes, anchors, levels, low)
    reached = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    reached[found.box[found.iou >= low]] = True
    missing = (~reached).nonzero()[:, 0]
    if len(missing) == 0:
        return found
    rest = grid_overlaps(boxes[missing], anchors, levels)
    highest = rest.iou.new_zeros(len(missing)).scatter_reduce_(0, rest.box, rest.iou, "amax")
    if (highest == 0).any():  # ties with every anchor, so all pairs matter
        return grid_overlaps(boxes, anchors, levels)
    best = rest.candidate[rest.iou == highest.index_select(0, rest.box)].unique()
    rivals = overlaps(boxes, anchors[best])
    return Overlaps(
        torch.cat([found.box, missing[rest.box], rivals.box]),
        torch.cat([found.candidate, rest.candidate, best[rivals.candidate]]),
        torch.cat([found.iou, rest.iou, rivals.iou]),
        found.shape,
    )


def grid_overlaps(
    boxes: Tensor, anchors: Tensor, levels: Sequence[Sequence[int]], least: float = 0.0
) -> Overlaps:
    """Pairs of boxes and anchors on grids, found from each box's rows and columns.

    Args:
        boxes: `(N, 4)` xyxy.
        anchors: `(A, 4)` as torchvision's `AnchorGenerator` gives them: level by level, in a
            level row by row, in a cell one anchor after the other.
        levels: Rows, columns and anchors a cell of each level.
        least: Pairs with a smaller IoU may be left out. Boxes with an IoU of t share t of the
            longer one's side in each direction, so the others need not be looked at.
    """
    found, start = [], 0
    for rows, cols, kinds in levels:
        stop = start + rows * cols * kinds
        level = anchors[start:stop].view(rows, cols, kinds, 4)
        box, candidate = _overlapping_cells(boxes, level, least)
        found.append((box, candidate + start))
        start = stop
    box, candidate = (torch.cat(part) for part in zip(*found, strict=True))
    iou = _pair_iou(boxes, anchors, box, candidate)
    return Overlaps(box, candidate, iou, (len(boxes), len(anchors)))


def _overlapping_cells(boxes: Tensor, level: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Boxes and flat anchor numbers of one level's pairs; `level` is `(rows, cols, kinds, 4)`."""
    cols, kinds = level.shape[1:3]
    left, wide = _ranges(level[0, :, :, 0], level[0, :, :, 2], boxes[:, 0], boxes[:, 2], least)
    top, high = _ranges(level[:, 0, :, 1], level[:, 0, :, 3], boxes[:, 1], boxes[:, 3], least)
    number = torch.arange(len(high), device=boxes.device)
    found = cells(high, wide)
    first = (top * cols + left) * kinds + number % kinds
    row_first = first.index_select(0, found.row_window) + found.row * (cols * kinds)
    candidate = row_first.index_select(0, found.line) + found.col * kinds
    return (found.row_window // kinds).index_select(0, found.line), candidate


def _ranges(
    low: Tensor, high: Tensor, start: Tensor, end: Tensor, least: float
) -> tuple[Tensor, Tensor]:
    """First cell and number of cells that intervals touch, `(N * kinds,)` each.

    Args:
        low: `(cells, kinds)` where the anchors begin, rising along the cells.
        high: `(cells, kinds)` where they end.
        start: `(N,)` where the boxes begin.
        end: `(N,)` where they end.
        least: Share of the longer interval that has to be common.
    """
    # A little less than that share, since sides and IoU are rounded.
    longer = torch.maximum((high - low).amin(0)[:, None], end - start)  # (kinds, N)
    shared = longer * (least * (1 - 1e-3))
    first = torch.searchsorted(high.T.contiguous(), start + shared, right=True)
    stop = torch.searchsorted(low.T.contiguous(), end - shared)
    count = (stop - first).clamp(min=0) * (end > start)  # an empty box overlaps nothing
    return first.T.flatten(), count.T.flatten()


def _pair_iou(boxes: Tensor, anchors: Tensor, box: Tensor, candidate: Tensor) -> Tensor:
    """IoU of pairs, in the order of operations of `torchvision.ops.box_iou`."""
    a, b = boxes.index_select(0, box), anchors.index_select(0, candidate)
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inside = (high - low).clamp_(min=0)
    intersection = inside[:, 0] * inside[:, 1]
    return intersection / (box_area(a) + box_area(b) - intersection)


class OverlapMatcher(Matcher):
    """Torchvision's matcher for `Overlaps` instead of a matrix; takes the same arguments."""

    def __call__(self, quality: Overlaps) -> Tensor:
        """Index of the box that each candidate belongs to, `(P,)` `int64`.

        Below the low threshold it is `BELOW_LOW_THRESHOLD`, between the two
        `BETWEEN_THRESHOLDS`.

        Raises:
            ValueError: If there is no box or no candidate, as torchvision's.
        """
        box, candidate, iou, (number, size) = quality
        if number == 0 or size == 0:
            raise ValueError("there are no boxes or no candidates to match")
        value = iou.new_zeros(size).scatter_reduce_(0, candidate, iou, "amax")
        top = iou == value.index_select(0, candidate)
        best = box.new_full((size,), number)
        best.scatter_reduce_(0, candidate[top], box[top], "amin")
        best[best == number] = 0  # all IoUs are 0, and the first of equals wins
        result = best.masked_fill(value < self.high_threshold, self.BETWEEN_THRESHOLDS)
        result = result.masked_fill(value < self.low_threshold, self.BELOW_LOW_THRESHOLD)
        if not self.allow_low_quality_matches:
            return result
        highest = iou.new_zeros(number).scatter_reduce_(0, box, iou, "amax")
        own = candidate[iou == highest.index_select(0, box)]
        result[own] = best[own]
        # A box that touches nothing ties with every candidate at 0, in torchvision too.
        return torch.where((highest == 0).any(), best, result)

    def near(self, quality: Overlaps) -> Tensor:
        """Which candidates are not background of these boxes, `(P,)` bool.

        Boxes that touch no candidate do not count, and there may be none at all.
        """
        box, candidate, iou, (number, size) = quality
        value = iou.new_zeros(size).scatter_reduce_(0, candidate, iou, "amax")
        near = value >= self.low_threshold
        if self.allow_low_quality_matches:
            highest = iou.new_zeros(number).scatter_reduce_(0, box, iou, "amax")
            near[candidate[iou == highest.index_select(0, box)]] = True
        return near
