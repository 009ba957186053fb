"""Intensities to [0, 1], whatever the camera's type."""

import numpy as np
import pytest

from nucleist.ops.normalize import HIGHEST_FLOOR, FullRange, Percentile, floor_of, noise


def ramp(dtype, top):
    """0, 1, .. `top` hundredths of it in three equal channels, `(1, 101, 3)`."""
    row = (np.arange(101) / 100 * top).astype(dtype)
    return np.repeat(row[None, :, None], 3, axis=2)


def test_percentiles_become_0_and_1():
    # Of 101 evenly spaced values the p-th percentile is the p-th value.
    out = Percentile(10, 90)(ramp(np.float64, 100))
    assert out.dtype == np.float32
    # (v - 10) / 80: 0 up to the value 10, 1/2 at 50, 1 from 90 on
    np.testing.assert_allclose(out[0, [0, 10, 30, 50, 90, 100], 0], [0, 0, 0.25, 0.5, 1, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_type_and_scale_of_the_camera_do_not_matter(dtype):
    eight = ramp(np.uint8, 200)
    same = eight.astype(dtype) * dtype(1 if dtype is np.uint8 else 100)
    np.testing.assert_allclose(Percentile()(same), Percentile()(eight), atol=1e-6)


def test_percentiles_are_common_to_the_channels():
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 0], image[..., 1] = 200, 100  # a hue of its own: 2 : 1 : 0
    assert Percentile(0, 100)(image)[0, 0].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_becomes_0(value):
    out = Percentile()(np.full((4, 4, 3), value, np.uint8))
    assert not out.any() and np.isfinite(out).all()


def test_full_range_divides_by_the_largest_value_of_the_type():
    assert FullRange()(np.full((1, 1, 3), 51, np.uint8))[0, 0, 0] == np.float32(0.2)
    assert FullRange()(np.full((1, 1, 3), 65535, np.uint16))[0, 0, 0] == 1
    floats = np.array([[[-1.0, 0.25, 7.0]]])
    assert FullRange()(floats).tolist() == [[[0.0, 0.25, 1.0]]]
    assert FullRange()(floats).dtype == np.float32


@pytest.mark.parametrize("normalize", [Percentile(), FullRange()])
def test_the_image_of_the_caller_is_left_alone(normalize):
    image = ramp(np.float32, 2)
    before = image.copy()
    normalize(image)
    assert (image == before).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("normalize", [Percentile(), Percentile(5, 95, floor=8.0), FullRange()])
def test_fitted_to_an_image_it_does_the_same_to_its_windows(normalize, dtype):
    image = (np.random.default_rng(0).gamma(2, 30, (90, 70, 3)).clip(0, 255)).astype(dtype)
    fixed = normalize.fit([image])
    np.testing.assert_array_equal(fixed(image), normalize(image))
    np.testing.assert_array_equal(fixed(image[20:50, 10:60]), normalize(image)[20:50, 10:60])


def test_fitted_to_the_parts_of_an_image_it_is_fitted_to_the_image():
    image = np.random.default_rng(0).integers(0, 4000, (64, 64, 3)).astype(np.uint16)
    parts = [image[:, :10], image[:, 10:]]
    assert Percentile().fit(parts) == Percentile().fit([image])
    # a difference between neighbours is missing at the cut
    some, all_ = Percentile(floor=500.0).fit(parts), Percentile(floor=500.0).fit([image])
    assert some.low == all_.low and some.scale == pytest.approx(all_.scale, rel=0.02)
    assert all_.scale < Percentile().fit([image]).scale


def drawn(share, seed=0, sigma=4.0, size=256):
    """Noise of a known spread around 25, a square of 160 over a share of the image."""
    rng = np.random.default_rng(seed)
    image = rng.normal(25, sigma, (size, size))
    side = round(size * share**0.5)
    image[8 : 8 + side, 8 : 8 + side] = rng.normal(
        160, sigma, image[8 : 8 + side, 8 : 8 + side].shape
    )
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_the_noise_is_measured_whatever_the_foreground(share, sigma):
    assert noise(drawn(share, sigma=sigma)) == pytest.approx(sigma, rel=0.2)
    assert noise(np.zeros((5, 5, 3), np.uint8)) == 0
    assert noise(np.zeros((5, 1, 3), np.uint8)) == 0


@pytest.mark.parametrize("share", [0.0, 0.0002, 0.001, 0.002, 0.01, 0.1, 0.3, 0.5])
def test_noise_stays_noise_over_all_shares_of_foreground(share):
    floor = floor_of([Percentile().range_in_noise(drawn(0.2, seed)) for seed in range(3)])
    image = drawn(share)
    out = Percentile(floor=floor)(image)
    background = out[128:, 128:, 0] if share < 0.2 else out[-30:, -30:, 0]
    assert background.std() < 0.1 and background.max() < 0.5
    if share:
        assert out[9:11, 9:11].min() > 0.85, "nuclei keep their brightness"
    if share >= 0.01:  # where training images are, nothing changes
        assert (out == Percentile()(image)).all()


def test_without_a_floor_an_empty_image_is_all_contrast():
    assert Percentile()(drawn(0.0))[..., 0].std() > 0.15


def test_the_floor_changes_no_training_image():
    images = [drawn(share, seed) for seed, share in enumerate((0.01, 0.05, 0.4))]
    floor = floor_of([Percentile().range_in_noise(image) for image in images])
    assert 0 < floor <= HIGHEST_FLOOR
    for image in images:
        assert (Percentile(floor=floor)(image) == Percentile()(image)).all()
    assert floor_of([]) == 0 and floor_of([float("inf")]) == HIGHEST_FLOOR
    assert Percentile().range_in_noise(np.zeros((4, 4, 3))) == float("inf")
