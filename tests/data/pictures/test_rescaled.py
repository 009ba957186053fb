"""Rescaled pictures: any window is that of the whole, and labels come back where they were."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.types import Window

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (53, 71, 3)).astype(np.uint8)
SCALES = [0.3, 0.5, 0.77, 1.31, 2, 3.7]


def rescaled(scale: float, **options: object) -> Rescaled:
    return Rescaled(ArrayPicture(PIXELS, "a", **options), scale)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_window_is_that_of_the_whole(scale: float, dtype: type) -> None:
    picture = Rescaled(ArrayPicture(PIXELS.astype(dtype) * dtype(3)), scale)
    assert (picture.height, picture.width) == (round(53 * scale), round(71 * scale))
    whole = picture.read(picture.whole)
    assert whole.dtype == dtype == picture.dtype
    for _ in range(20):
        y, x = GENERATOR.integers(0, (picture.height, picture.width))
        end = GENERATOR.integers((y + 1, x + 1), (picture.height + 1, picture.width + 1))
        window = Window(int(y), int(x), int(end[0]), int(end[1]))
        np.testing.assert_array_equal(picture.read(window), whole[window.slices])
        np.testing.assert_array_equal(picture.read_channels(window), whole[window.slices])


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_the_interpolation_of_torch(scale: float) -> None:
    picture = rescaled(scale)
    image = torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float()
    options = {"mode": "bilinear", "antialias": True, "align_corners": False}
    expected = F.interpolate(image, (picture.height, picture.width), **options)[0]
    found = picture.read(picture.whole).transpose(2, 0, 1)
    assert np.abs(found - expected.numpy()).max() < 0.51  # of rounding


@pytest.mark.parametrize("scale", SCALES)
def test_labels_come_back_exactly(scale: float) -> None:
    picture = rescaled(scale)
    shape = picture.height, picture.width
    labels = GENERATOR.integers(0, 99, shape).astype(np.int32)
    numbers = torch.from_numpy(labels)[None, None].double()
    expected = F.interpolate(numbers, (53, 71), mode="nearest-exact")[0, 0].numpy()
    found = picture.own_labels(labels, Window(0, 0, 53, 71))
    # but where a middle lies on the border of two pixels, which torch decides one way
    rows, columns = (
        (2 * np.arange(own) + 1) * new % (2 * own) != 0
        for own, new in zip((53, 71), shape, strict=True)
    )
    assert scale == 2 or (rows.sum() >= 52 and columns.sum() >= 70)
    np.testing.assert_array_equal(found[rows][:, columns], expected[rows][:, columns])
    window = Window(5, 7, 50, 60)
    np.testing.assert_array_equal(picture.own_labels(labels, window), found[5:50, 7:60])
    assert picture.own_labels(labels, Window(5, 7, 5, 9)).shape == (0, 2)


def test_enlarged_twice_and_back_is_what_it_was() -> None:
    own = GENERATOR.integers(0, 99, (53, 71)).astype(np.int32)
    for factor in (2, 3):
        large = own.repeat(factor, 0).repeat(factor, 1)
        back = rescaled(factor).own_labels(large, Window(0, 0, 53, 71))
        np.testing.assert_array_equal(back, own)


def test_labels_of_a_picture_made_twice_as_large_do_not_move() -> None:
    rows, columns = np.mgrid[:106, :142] + 0.5
    shifts, areas = [], []
    for _ in range(100):
        y, x = GENERATOR.uniform((25, 25), (81, 117))
        disc = ((rows - y) ** 2 + (columns - x) ** 2 < 400).astype(np.int32)
        back = rescaled(2).own_labels(disc, Window(0, 0, 53, 71))
        shifts.append(np.argwhere(back).mean(0) + 0.5 - (y / 2, x / 2))
        areas.append(back.sum() * 4 / disc.sum())
    assert np.abs(shifts).max() < 0.3 and np.abs(np.mean(shifts, 0)).max() < 0.05
    assert np.mean(areas) == pytest.approx(1, abs=0.01)


def test_what_is_known_of_the_picture_stays_true() -> None:
    picture = rescaled(2, pixel_size=0.5, names=("a", "b", "c"))
    assert picture.pixel_size == 0.25 and picture.channels == ("a", "b", "c")
    assert picture.name == "a" and rescaled(0.001).height == 1
    assert picture.read_channels(Window(0, 0, 4, 6)).shape == (4, 6, 3)
    picture.close()
