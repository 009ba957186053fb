"""All cells of many rectangles of different sizes, without a loop and without padding."""

from typing import NamedTuple

import torch
from torch import Tensor


class Cells(NamedTuple):
    """Cells of rectangles: rectangle by rectangle, row by row, all `int64`.

    Attributes:
        row_window: `(R,)` which rectangle each row belongs to.
        row: `(R,)` its number, counted from the rectangle's first.
        line: `(K,)` index into the two above for each cell.
        col: `(K,)` column of each cell, counted from the rectangle's first.
    """

    row_window: Tensor
    row: Tensor
    line: Tensor
    col: Tensor


def cells(high: Tensor, wide: Tensor) -> Cells:
    """Enumerate the cells of rectangles.

    Rows are listed by themselves, so that what depends on them alone is computed once a row.

    Args:
        high: `(N,)` `int64` rows, none below 0.
        wide: `(N,)` `int64` columns, none below 0.
    """
    row_window, row = counted(high)
    return Cells(row_window, row, *counted(wide.index_select(0, row_window)))


def counted(count: Tensor) -> tuple[Tensor, Tensor]:
    """Each index `i` repeated `count[i]` times, and its number 0, 1, 2, ... among its equals."""
    index = torch.arange(len(count), device=count.device).repeat_interleave(count)
    start = (count.cumsum(0) - count).index_select(0, index)
    return index, torch.arange(len(index), device=count.device) - start


def runs(amount: Tensor, limit: int) -> list[slice]:
    """Cut a list into runs that hold about `limit` together, at least one item each.

    Args:
        amount: `(N,)` `int64`, what each item holds.
        limit: What a run should hold.

    Returns:
        At least one run, which is empty if there is no item.
    """
    total = amount.cumsum(0)
    group = torch.div(total - amount, limit, rounding_mode="floor")
    parts, start = [], 0
    for count in group.unique_consecutive(return_counts=True)[1].tolist():
        parts.append(slice(start, start + count))
        start += count
    return parts or [slice(0, 0)]
