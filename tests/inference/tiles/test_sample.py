"""What is measured on the whole image: all of a small one, the same sample of a large one."""

import numpy as np
import pytest
from support.tiled import Blank, Bright, grid_of, on_seams

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.data.targets import to_tensor
from nucleist.inference.tiles import sample as tested
from nucleist.inference.tiles.sample import fitted, sample, survey
from nucleist.models import otsu
from nucleist.ops.cleaning import mean_area
from nucleist.ops.normalize import Percentile


def picture(height, width):
    pixels = np.zeros((height, width, 3), np.uint16)
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)
    return ArrayPicture(pixels)


def test_a_small_image_is_measured_as_a_whole():
    (only,) = sample(picture(300, 200))
    np.testing.assert_array_equal(only, picture(300, 200).read((picture(300, 200)).whole))


@pytest.mark.parametrize("size", [(900, 1100), (40, 3000), (3000, 40), (130, 700)])
def test_of_a_large_one_windows_lie_everywhere(monkeypatch, size):
    monkeypatch.setattr(tested, "WHOLE", 80_000)
    monkeypatch.setattr(tested, "CROP", 32)
    parts = sample(picture(*size))
    pixels = sum(part.shape[0] * part.shape[1] for part in parts)
    assert pixels <= 64 * 32**2 and len(parts) >= 16
    for axis, side in enumerate(size):
        places = np.unique([part[0, 0, axis] for part in parts])
        if side > 8 * 32:
            # one in the middle of each eighth
            assert np.diff(places).max() <= side / 8 + 1 and len(places) == 8
            assert places[0] < side / 8 and places[-1] > side * 7 / 8 - 32
    again = sample(picture(*size))
    assert all((one == two).all() for one, two in zip(parts, again, strict=True))


def test_a_fitted_normalisation_of_a_whole_image_is_exactly_its_own():
    pixels = np.random.default_rng(0).gamma(2, 900, (200, 300, 3)).astype(np.uint16)
    normalize = Percentile(floor=3.0)
    fixed = fitted(normalize, ArrayPicture(pixels))
    np.testing.assert_array_equal(fixed(pixels), normalize(pixels))


def test_of_a_sample_it_is_close(monkeypatch):
    pixels = np.random.default_rng(0).gamma(2, 900, (600, 700, 3)).astype(np.uint16)
    monkeypatch.setattr(tested, "WHOLE", 80_000)
    monkeypatch.setattr(tested, "CROP", 32)
    normalize = Percentile()
    sampled, whole = fitted(normalize, ArrayPicture(pixels)), normalize.fit([pixels])
    assert sampled.scale == pytest.approx(whole.scale, rel=0.03)


def test_a_net_that_measures_nothing_reads_nothing():
    def read(window):
        raise AssertionError

    assert survey(Bright(), Blank(300, 300), 32, read) is None


@pytest.mark.parametrize("margin", [32, 65])
def test_a_small_image_is_surveyed_as_a_whole(monkeypatch, margin):
    monkeypatch.setattr(tested, "CROP", 128)  # 4 x 5 windows
    image = on_seams(grid_of(500, 620, 256, 64))[0].astype(np.float32) / 255
    image += np.random.default_rng(0).uniform(0, 0.05, image.shape).astype(np.float32)
    net = otsu(clean=0.5).eval()
    found = survey(net, ArrayPicture(image), margin, lambda window: image[window.slices])
    gray = net.maps([to_tensor(image)])[0].numpy()
    cut = net.cut(gray)
    assert {name: found[name] for name in cut._fields} == cut._asdict()
    assert found["mean"] == pytest.approx(mean_area(cut.scaled(gray) > 0))


def test_of_a_large_image_the_same_windows_are_surveyed_at_any_start(monkeypatch):
    monkeypatch.setattr(tested, "WHOLE", 80_000)
    monkeypatch.setattr(tested, "CROP", 64)
    asked = []

    def read(window):
        asked.append(window)
        return np.zeros((window.y1 - window.y0, window.x1 - window.x0, 3), np.float32)

    survey(otsu().eval(), Blank(3000, 300), 32, read)
    assert len(asked) == 2 * 8 * 3, "twice, for the threshold and for the areas"
    rows, cols = (sorted({w[axis] for w in asked}) for axis in (0, 1))
    assert np.diff(rows).max() <= 6 * 64 and rows[0] < 375 and rows[-1] > 3000 - 375 - 192
    assert cols == [0, 64, 128] and max(w.y1 - w.y0 for w in asked) == 3 * 64
