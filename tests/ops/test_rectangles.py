"""Cells of rectangles and the painting rule against loops."""

import numpy as np
import pytest
import torch

from nucleist.ops.painting import paint
from nucleist.ops.rectangles import cells, counted, runs


@pytest.mark.parametrize("seed", range(3))
def test_cells_in_order_of_loops(seed):
    rng = np.random.default_rng(seed)
    high, wide = rng.integers(0, 5, 12), rng.integers(0, 5, 12)
    wanted = [
        (i, r, c) for i in range(12) for r in range(int(high[i])) for c in range(int(wide[i]))
    ]
    found = cells(torch.from_numpy(high), torch.from_numpy(wide))
    window, row = found.row_window[found.line], found.row[found.line]
    assert list(zip(window.tolist(), row.tolist(), found.col.tolist(), strict=True)) == wanted


def test_counted():
    index, number = counted(torch.tensor([2, 0, 3]))
    assert index.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [0, 1, 0, 1, 2]


def turn_by_turn(masks, shape, overlap, max_lost):
    """The rule as it is told: one mask after the other takes what is free."""
    canvas, kept = np.zeros(shape[0] * shape[1], np.int32), [False] * len(masks)
    order = range(len(masks)) if overlap == "high" else range(len(masks) - 1, -1, -1)
    for i in order:
        free = [p for p in masks[i] if canvas[p] == 0]
        if free and len(masks[i]) - len(free) <= max_lost * len(masks[i]):
            canvas[free] = i + 1
            kept[i] = True
    return canvas.reshape(shape), kept


@pytest.mark.parametrize("overlap", ["high", "low"])
@pytest.mark.parametrize("max_lost", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_painting_is_turn_by_turn(seed, max_lost, overlap):
    # Twenty masks of 1 to 30 of 60 pixels: chains of masks that free pixels for the next.
    rng = np.random.default_rng(seed)
    masks = [rng.choice(60, int(rng.integers(0, 31)), replace=False) for _ in range(20)]
    mask = torch.from_numpy(np.repeat(np.arange(20), [len(m) for m in masks]))
    pixel = torch.from_numpy(np.concatenate(masks).astype(np.int64))
    got = paint(mask, pixel, 20, (6, 10), overlap, max_lost)
    wanted, kept = turn_by_turn([list(m) for m in masks], (6, 10), overlap, max_lost)
    np.testing.assert_array_equal(got.label_map, wanted)
    assert got.kept.tolist() == kept


def test_nothing_to_paint():
    none = torch.zeros(0, dtype=torch.int64)
    painted = paint(none, none, 0, (3, 4))
    assert painted.label_map.shape == (3, 4) and not painted.label_map.any()
    assert painted.kept.tolist() == []


def test_runs_cover_everything_once():
    amount = torch.tensor([5, 0, 3, 50, 1, 1, 9])
    parts = runs(amount, 10)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(7))
    assert all(amount[part][:-1].sum() < 10 for part in parts)
    assert runs(amount[:0], 10) == [slice(0, 0)]
