"""Panels side by side, maps over an image, and the picture of a canonical shape."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from nucleist.plots.panels import Panel, heat_map, save_panels
from nucleist.plots.shape import shape_picture
from nucleist.types import UserError

INFERNO_AT_1 = (252, 255, 164)  # the last colour of matplotlib's inferno


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_map_is_opaque_at_1_and_a_quarter_visible_at_0(kind):
    gray = np.full((4, 8), 200, np.uint8)
    heat = np.array([[0.0, 1.0]], np.float32)  # enlarged to two halves
    picture = heat_map(gray, kind(heat))
    assert picture.shape == (4, 8, 3) and picture.dtype == np.uint8
    np.testing.assert_allclose(picture[:, 4:], np.broadcast_to(INFERNO_AT_1, (4, 4, 3)), atol=1)
    # 0.25 of almost black, 0.75 of the gray value 200
    np.testing.assert_allclose(picture[:, :4], 150, atol=2)


def test_panels_stand_side_by_side_with_boxes_in_yellow(tmp_path):
    dark = np.zeros((40, 40, 3), np.uint8)
    boxes = np.array([[10.0, 10.0, 30.0, 30.0]])
    panels = [Panel(dark, "left"), Panel(dark, "right", boxes)]
    save_panels(tmp_path / "new" / "a.png", panels, "a title")
    assert os.listdir(tmp_path / "new") == ["a.png"]
    with Image.open(tmp_path / "new" / "a.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    yellow = (np.abs(pixels.astype(int) - (255, 225, 0)).max(-1) < 10).nonzero()[1]
    assert len(yellow) > 100 and yellow.min() > pixels.shape[1] / 2
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        save_panels(tmp_path / "file" / "a.png", panels, "")


@pytest.mark.parametrize(("values", "radius"), [((0.0, 1.0), 0.5), ((0.1, 0.1), float("nan"))])
def test_a_shape_with_and_without_an_outline_is_drawn(values, radius):
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    outside, inside = values
    picture = shape_picture(np.where(x**2 + y**2 < 0.25, inside, outside), radius, 0.01)
    assert picture.shape == (660, 750, 3) and picture.dtype == np.uint8
    blue = (np.abs(picture.astype(int) - (86, 180, 233)).max(-1) < 10).sum()  # of the outline
    assert (blue > 100) == np.isfinite(radius)
