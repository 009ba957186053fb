"""One answer for each nucleus on a seam, whatever the two tiles saw."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from nucleist.inference.result import COLUMNS
from nucleist.inference.tiles.found import Found, Store
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.outlines import Outlines
from nucleist.inference.tiles.seams import settle
from nucleist.types import Window

GRID = Grid(128, 320, 192, 64)  # two tiles: windows 0-192 and 128-320, the seam at 160
CORNER = Grid(320, 320, 192, 64)  # four


def seen(*nuclei: tuple[Window, float], cut: bool = False) -> Found:
    """What a tile shows: full rectangles with scores, in the order that they are given."""
    places = np.array([window for window, _ in nuclei], np.int64).reshape(-1, 4)
    areas = [(w.y1 - w.y0) * (w.x1 - w.x0) for w, _ in nuclei]
    bits = [np.packbits(np.ones(area, bool)) for area in areas]
    columns = {name: np.zeros(len(nuclei)) for name in COLUMNS[1:]}
    columns["score"] = np.array([score for _, score in nuclei])
    columns["area_px"] = np.array(areas, float)
    columns["centroid_y"] = (places[:, 0] + places[:, 2]) / 2
    columns["centroid_x"] = (places[:, 1] + places[:, 3]) / 2
    return Found(
        places,
        columns,
        np.full(len(nuclei), cut),
        np.cumsum([0, *map(len, bits)]),
        np.concatenate([np.zeros(0, np.uint8), *bits]),
    )


def outcome(folder: Path, *tiles: Found, grid: Grid = GRID) -> list[tuple[Window, float]]:
    """What is left, by window; checked: no pixel twice, table and label map agree."""
    store = Store(folder, 9)
    for number, found in enumerate(tiles):
        store.add(number, found)
    outlines = Outlines(grid, store, settle(grid, store))
    whole = outlines.paint(Window(0, 0, grid.height, grid.width))
    nuclei = list(outlines.nuclei())
    assert sum(int(n.mask.sum()) for n in nuclei) == (whole > 0).sum()
    for nucleus in nuclei:
        assert (whole[nucleus.window.slices][nucleus.mask] == nucleus.label).all()
        line = nucleus.label - 1
        assert outlines.table["area_px"][line] == nucleus.mask.sum()
        assert outlines.table["score"][line] == nucleus.score
        rows, cols = np.nonzero(whole == nucleus.label)
        assert outlines.table["centroid_x"][line] == pytest.approx(cols.mean() + 0.5)
        assert outlines.table["centroid_y"][line] == pytest.approx(rows.mean() + 0.5)
    assert sorted(n.label for n in nuclei) == list(range(1, len(outlines) + 1))
    assert (np.diff(outlines.table["score"]) <= 0).all()
    return sorted((n.window, n.score) for n in nuclei)


def box(x: int, width: int = 20, y: int = 50, height: int = 20) -> Window:
    """A rectangle by its left end."""
    return Window(y, x, y + height, x + width)


def test_the_core_with_the_centroid_has_the_nucleus(tmp_path):
    # middles 155 and 165; both tiles see both, the other one with a better score
    left, right = box(145), box(155, y=80)
    one, two = seen((left, 0.7), (right, 0.9)), seen((left, 0.9), (right, 0.7))
    assert outcome(tmp_path, one, two) == [(left, 0.7), (right, 0.7)]


def test_a_nucleus_that_both_own_is_one_with_the_best_score(tmp_path):
    one, two = box(148), box(151)  # middles 158 in the first core and 161 in the second
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert outcome(tmp_path / "a", seen((one, 0.7)), seen((two, 0.8))) == [(two, 0.8)]
    assert outcome(tmp_path / "b", seen((one, 0.8)), seen((two, 0.7))) == [(one, 0.8)]


def test_a_nucleus_that_neither_owns_is_one_too(tmp_path):
    one, two = box(151), box(148)  # each tile sees it in the other's core
    assert outcome(tmp_path, seen((one, 0.7)), seen((two, 0.8))) == [(two, 0.8)]


def test_what_the_owner_does_not_see_is_no_nucleus(tmp_path):
    """Near a seam two nets have a look; that must not find more than one."""
    assert outcome(tmp_path, seen((box(155), 0.9)), seen()) == []
    assert outcome(tmp_path, seen((box(155), 0.9)), seen((box(180), 0.9))) == [(box(180), 0.9)]


def test_neighbours_that_touch_stay_two_and_share_no_pixel(tmp_path):
    # the better one keeps the two columns that both claim
    one, two = box(140), box(158)
    assert outcome(tmp_path, seen((one, 0.9)), seen((two, 0.8))) == [
        (one, 0.9),
        (box(160, 18), 0.8),
    ]


def test_two_nuclei_that_the_other_tile_takes_for_one(tmp_path):
    one, two, both = box(136), box(157), box(136, 41)  # middles 146, 167, 156.5
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    # the better one is taken: the large one covers the other's half of it
    merged, apart = seen((both, 0.9)), seen((one, 0.8), (two, 0.8))
    assert outcome(tmp_path / "a", merged, apart) == [(both, 0.9)]
    # now the half is taken, and the rest of the large one is the other nucleus
    merged = seen((both, 0.7))
    assert outcome(tmp_path / "b", merged, apart) == [(box(136, 21), 0.7), (two, 0.8)]


def test_the_half_of_a_nucleus_that_was_dropped_is_not_lost(tmp_path):
    # two covers more than half of both, which is dropped; one is not in the core of its tile
    one, two, both = box(140, 16), box(156, 24), box(140, 39)  # middles 148, 168, 159.5
    found = outcome(tmp_path, seen((both, 0.7)), seen((one, 0.8), (two, 0.9)))
    assert found == [(one, 0.8), (two, 0.9)]


def test_a_whole_nucleus_comes_before_one_that_a_window_cuts(tmp_path):
    # owned by the first tile, whose window cuts it; the second sees all of it
    whole, part = box(130, 100), box(130, 59)  # middles 180 and 159.5
    assert outcome(tmp_path, seen((part, 0.99), cut=True), seen((whole, 0.6))) == [(whole, 0.6)]


def test_four_tiles_at_a_corner(tmp_path):
    places = [box(x, y=y) for y in (148, 151) for x in (148, 151)]
    for number, scores in enumerate(permutations((0.6, 0.7, 0.8, 0.9))):
        folder = tmp_path / str(number)
        folder.mkdir()
        tiles = [seen((place, score)) for place, score in zip(places, scores, strict=True)]
        best = scores.index(0.9)
        assert outcome(folder, *tiles, grid=CORNER) == [(places[best], 0.9)]
        # each shifted into the opposite core: owned by none
        folder = tmp_path / f"{number} opposite"
        folder.mkdir()
        assert len(outcome(folder, *reversed(tiles), grid=CORNER)) == 1


def test_any_rectangles_end_as_a_label_map_without_losses(tmp_path):
    """Random scenes that both tiles see with jitter: as many nuclei, each near its place."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = [(x, y) for y in range(5, 100, 26) for x in range(130, 180, 24)]
        tiles = []
        for _ in range(2):
            jitter = rng.integers(-2, 3, (len(true), 2))
            places = [
                box(x + dx, 20, y + dy) for (x, y), (dx, dy) in zip(true, jitter, strict=True)
            ]
            tiles.append(seen(*((place, float(rng.uniform(0.5, 1))) for place in places)))
        (tmp_path / str(seed)).mkdir()
        found = outcome(tmp_path / str(seed), *tiles)
        assert len(found) == len(true)
        for x, y in true:
            assert min(abs(w.x0 - x) + abs(w.y0 - y) for w, _ in found) <= 4
