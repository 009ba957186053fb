"""Windows, cores and seams, by brute force on small images."""

import math

import numpy as np
import pytest

from nucleist.inference.tiles.grid import Grid, cut_evenly
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
        assert grid.window(0).y1 - (window.y1 - window.y0) < 64, "no narrow tile at the border"
        assert grid.window(0).x1 - (window.x1 - window.x0) < 64
        # at least half of the overlap around the core, except at the image's border
        for side, end, limit in zip(core, window, (0, 0, grid.height, grid.width), strict=True):
            assert abs(side - end) >= grid.margin or side == end == limit
    assert (times == 1).all()


def test_windows_of_a_side_have_one_length():
    # 16 cells of 64 px in three windows of 6: 2 x 1 are shared, and 0, 5, 10 begin them
    assert [grid_window(1000, 512, 64, tile) for tile in range(3)] == [
        (0, 384),
        (320, 704),
        (640, 1000),
    ]
    assert Grid(64, 1000, 512, 64).across.seams == (352, 672)
    # 17 cells: the three windows of 7 share two more than they need to
    assert [grid_window(1088, 512, 64, tile) for tile in range(3)] == [
        (0, 448),
        (320, 768),
        (640, 1088),
    ]


@pytest.mark.parametrize("side", [129, 1000, 2049, 5000, 20_000])
@pytest.mark.parametrize(("tile", "overlap"), [(128, 64), (512, 256), (1024, 128)])
def test_as_few_windows_as_will_do(side, tile, overlap):
    line = cut_evenly(side, tile, overlap)
    assert len(line) == max(math.ceil((side - overlap) / (tile - overlap)), 1)
    shared = [end - begin for end, begin in zip(line.ends[:-1], line.begins[1:], strict=True)]
    assert min(shared, default=overlap) >= overlap and max(shared, default=0) < overlap + 128
    cores = np.diff((0, *line.seams, side))
    assert len(line) < 3 or np.ptp(cores[1:-1]) <= 64


def grid_window(side: int, tile: int, overlap: int, number: int) -> tuple[int, int]:
    window = Grid(64, side, tile, overlap).window(number)
    return window.x0, window.x1


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
