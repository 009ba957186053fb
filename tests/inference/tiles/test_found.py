"""What a tile answers for, and that it comes back from the disk as it was."""

import numpy as np
import pytest
import torch
from support.tiled import Bright, on_seams

from nucleist.data.targets import to_tensor
from nucleist.inference.result import to_result
from nucleist.inference.tiles.found import Store, empty, found_in, named, owned, too_large
from nucleist.inference.tiles.grid import Grid

GRID = Grid(300, 300, 192, 64)  # two rows and columns, seams at 160


def result_of(image, tile):
    part = image[GRID.window(tile).slices].astype(np.float32) / 255
    return to_result(Bright()([to_tensor(part)])[0], 0.5)


@pytest.fixture
def image():
    return on_seams(GRID)[0]


def test_nuclei_of_the_core_and_of_half_the_margin_around_it():
    """The window of tile 3 begins at 128, its core at 160, and the band is 16 px wide."""
    image = np.full((300, 300, 3), 30, np.uint8)
    for x in (138, 150, 170, 290):  # middles
        image[200:206, x - 3 : x + 3] = 200
    found = found_in(result_of(image, 3), GRID, 3)
    x = found.columns["centroid_x"]
    assert sorted(x) == [150, 170, 290]
    assert sorted(x[owned(found, GRID, 3)]) == [170, 290]
    assert not found.cut.any()


def test_what_is_stored_comes_back(image, tmp_path):
    result = result_of(image, 1)
    found = found_in(result, GRID, 1, ("rpn.cap=3",))
    store = Store(tmp_path, 2)
    assert 1 not in store
    store.add(1, found)
    assert 1 in store and 0 not in store
    again = Store(tmp_path, 2).load(1)
    assert len(again) == len(found) > 10 and again.limits == ("rpn.cap=3",)
    top, left = GRID.window(1)[:2]
    labels = result.labels
    for row in range(len(again)):
        window = again.window(row)
        own = labels[window.y0 - top : window.y1 - top, window.x0 - left : window.x1 - left]
        mask = again.mask(row)
        assert mask.dtype == bool and mask.any(0).all() and mask.any(1).all()
        number = own[mask][0]
        assert (mask == (own == number)).all()
        assert again.columns["area_px"][row] == (labels == number).sum()
        assert again.scores[row] == result.scores[number - 1]
        box = [again.columns[f"box_{s}"][row] for s in ("top", "left", "bottom", "right")]
        assert box == list(window)


def test_memory_is_bounded(image, tmp_path):
    store = Store(tmp_path, 2)
    for tile in range(4):
        store.add(tile, found_in(result_of(image, tile), GRID, tile))
    assert all(len(store.load(tile)) for tile in range(4))
    assert len(store._memory) == 2


def test_positions_among_shape_parameters_move_too():
    names = ("shape_x", "shape_y", "semi_major_px")
    prediction = {
        "boxes": torch.tensor([[50.0, 60, 52, 62]]),
        "scores": torch.tensor([0.9]),
        "label_map": torch.zeros(172, 172, dtype=torch.int32),
        "parameters": torch.tensor([[51.0, 61.0, 1.5]]),
    }
    prediction["label_map"][60:62, 50:52] = 1
    found = found_in(to_result(prediction, 0.5, names), GRID, 1)  # begins at x = 128
    assert [found.columns[name][0] for name in names] == [179, 61, 1.5]
    assert found.window(0) == (60, 178, 62, 180)


def test_nuclei_that_are_too_large_for_the_overlap_are_named():
    image = np.full((300, 300, 3), 30, np.uint8)
    image[20:60, 140:179] = 200  # crosses the seam at 160, larger than the margin of 32
    image[90:130, 100:140] = 200  # as large, but nowhere near a seam
    image[200:220, 100:190] = 200  # goes on beyond the window of tile 2, which ends at 192
    image[250:260, 150:195] = 200  # a window ends in it
    found = found_in(result_of(image, 0), GRID, 0)
    assert too_large(found, GRID, 0).tolist() == [
        left == 140 for left in found.windows[:, 1].tolist()
    ]
    found = found_in(result_of(image, 2), GRID, 2)
    large = found.windows[too_large(found, GRID, 2)]
    assert len(large) == 2
    words = named(large, GRID)
    assert words.startswith("2 nuclei, the largest of 20 x 90 px at x=100, y=200: too large for an")
    assert words.endswith("use overlap=192 tile=384")
    # what a window cuts may be much larger than what is seen of it
    cut = np.array([[250, 172, 260, 192]])
    assert named(cut, GRID).endswith("use overlap=128 tile=256")


def test_an_empty_tile(tmp_path):
    store = Store(tmp_path, 1)
    store.add(0, empty(("shape_x",)))
    found = store.load(0)
    assert len(found) == 0 and found.columns["shape_x"].shape == (0,)
    assert not owned(found, GRID, 0).any() and not too_large(found, GRID, 0).any()
    nothing = to_result(Bright()([torch.zeros(3, 192, 192)])[0], 0.5)
    assert len(found_in(nothing, GRID, 0)) == 0
