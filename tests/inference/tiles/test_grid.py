"""Windows, cores and seams, by brute force on small images."""

import numpy as np
import pytest

from nucleist.inference.tiles.grid import Grid
from nucleist.types import Window

GRIDS = [
    Grid(height, width, tile, overlap)
    for height, width in ((64, 64), (300, 1000), (512, 513), (1000, 129))
    for tile, overlap in ((128, 64), (256, 64), (256, 128))
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_cores_cover_the_image_once_and_windows_hold_them(grid):
    times = np.zeros((grid.height, grid.width), int)
    for tile in range(len(grid)):
        core, window = grid.core(tile), grid.window(tile)
        times[core.slices] += 1
        assert window.y0 <= core.y0 < core.y1 <= window.y1 <= grid.height
        assert window.x0 <= core.x0 < core.x1 <= window.x1 <= grid.width
        assert window.y0 % 64 == window.x0 % 64 == 0
        assert max(window.y1 - window.y0, window.x1 - window.x0) <= grid.tile
        # at least half of the overlap around the core, except at the image's border
        for side, end, limit in zip(core, window, (0, 0, grid.height, grid.width), strict=True):
            assert abs(side - end) >= grid.margin or side == end == limit
    assert (times == 1).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_who_owns_a_point_and_who_sees_a_window(grid):
    points = np.random.default_rng(0).uniform(0, (grid.height, grid.width), (200, 2))
    for y, x in points:
        core = grid.core(grid.tile_at(y, x))
        assert core.y0 <= y < core.y1 and core.x0 <= x < core.x1
    for y, x in points[:40].astype(int):
        asked = Window(y, x, min(y + 70, grid.height), min(x + 9, grid.width))
        every = range(len(grid))
        assert grid.touching(asked) == [t for t in every if meet(grid.window(t), asked)]
    for tile in range(len(grid)):
        others = [t for t in range(len(grid)) if t != tile]
        expected = [t for t in others if meet(grid.window(t), grid.window(tile))]
        assert grid.neighbours(tile) == expected


def meet(one: Window, two: Window) -> bool:
    down = max(one.y0, two.y0) < min(one.y1, two.y1)
    return down and max(one.x0, two.x0) < min(one.x1, two.x1)
