"""Tiles: levels, windows and edges."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleist.annotation.server.tiles import SIDE, Tiles
from nucleist.annotation.session import Session
from nucleist.data.formats.images import write_image
from nucleist.types import UserError


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    ramp = np.arange(700, dtype=np.uint16)[:, None] + np.arange(1100, dtype=np.uint16)
    write_image(folder / "a", np.repeat(ramp[..., None], 3, 2))
    colors = np.zeros((10, 10, 3), np.uint8)
    colors[..., 1] = 200
    write_image(folder / "b", colors)
    return Tiles(Session(folder))


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_windows_are_of_stored_intensities(tiles):
    shown = pixels(tiles.tile(0, 0, 0, 1, 512, 1024))
    assert shown.shape == (SIDE, SIDE)
    expected = np.clip((np.arange(512) + 512 - 512) * 255 / 512, 0, 255).astype(np.uint8)
    assert np.array_equal(shown[0], expected)


def test_edges_are_filled_up_and_levels_are_halved(tiles):
    assert tiles.about(0)["levels"] == 3
    edge = pixels(tiles.tile(0, 0, 1, 2, 0, 2000))
    assert edge.shape == (SIDE, SIDE) and not edge[188:].any() and not edge[:, 76:].any()
    half = pixels(tiles.tile(0, 1, 0, 0, 0, 255))
    # The mean of 0, 1, 1 and 2 is 1; two columns on, all are larger by 2.
    assert half[0, :3].tolist() == [1, 3, 5] and not half[350:].any()


def test_one_colour_in_gray(tiles):
    assert tiles.about(1)["gray"] is False
    assert pixels(tiles.tile(1, 0, 0, 0, 0, 255)).shape == (SIDE, SIDE, 3)
    assert pixels(tiles.tile(1, 0, 0, 0, 0, 255, channel=1))[0, 0] == 200


def test_what_is_not_there(tiles):
    for place in ((3, 0, 0), (0, 2, 0), (-1, 0, 0), (0, -1, 0)):
        with pytest.raises(UserError, match="there is no"):
            tiles.tile(0, *place, 0, 1)
