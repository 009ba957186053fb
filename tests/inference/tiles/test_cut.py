"""Which images are cut, and into what."""

import pytest
from support.tiled import Blank, grid_of

from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.tiles.cut import BY_SIZE, Cut
from nucleist.inference.tiles.grid import Grid
from nucleist.types import UserError


def test_large_images_are_cut_and_others_only_if_asked():
    assert grid_of(2048, 2048) is None
    assert grid_of(2049, 2048) == Grid(2049, 2048, 1024, 128)
    assert grid_of(9000, 9000, "none") is None
    assert grid_of(500, 300, 256) == Grid(500, 300, 256, 128)
    assert grid_of(500, 300, 512) is None, "one tile covers it"
    assert grid_of(3000, 3000, 2048) == Grid(3000, 3000, 2048, 256)
    # sides are multiples of the stride of the coarsest cells
    assert grid_of(3000, 3000, 1000, 100) == Grid(3000, 3000, 1024, 128)


@pytest.mark.parametrize(
    ("scale", "grid"),
    [
        # the net is shown 2.56 and 6.25 million pixels of 1.6 million
        (1.6, None),
        (2.5, Grid(1000, 1000, 448, 64)),  # 1024 and 128 pixels of the net, rounded up
        (8, Grid(1000, 1000, 128, 64)),
    ],
)
def test_of_a_rescaled_image_the_net_is_shown_as_much_at_a_time(scale, grid):
    assert BY_SIZE.grid(Rescaled(Blank(1000, 1000), scale)) == grid


def test_sides_that_are_asked_for_are_of_the_image():
    assert Cut(512, 64).grid(Rescaled(Blank(1000, 1000), 3)) == Grid(1000, 1000, 512, 64)


def test_a_net_that_sees_other_things_in_tiles_is_given_the_whole():
    why = "model.transform.min_size=800 resizes images by their own size"
    assert BY_SIZE.grid(Blank(9000, 9000), why) is None
    with pytest.raises(UserError, match=r"tile=1024: model\.transform\.min_size=800 .*tile=none"):
        Cut(1024).grid(Blank(9000, 9000), why)


@pytest.mark.parametrize(
    ("tile", "overlap", "words"),
    [
        (64, "auto", "tile=64: give pixels, a whole number from 128, or auto or none"),
        ("big", "auto", "tile=big: give pixels"),
        (512.0, "auto", "tile=512.0: give pixels"),
        (512, 0, "overlap=0: give pixels, a whole number from 2, or auto"),
        (512, "none", "overlap=none: give pixels"),
        (
            512,
            300,
            "overlap=300, 320 in steps of 64, is more than half of tile=512; use tile=640 or more",
        ),
        ("auto", 900, "more than half of tile=1024; use tile=1920 or more"),
    ],
)
def test_sides_that_do_not_go_together(tile, overlap, words):
    with pytest.raises(UserError, match=words):
        Cut(tile, overlap)
