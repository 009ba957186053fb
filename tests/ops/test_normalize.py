"""Intensities to [0, 1], whatever the camera's type."""

import numpy as np
import pytest

from nucleist.ops.normalize import FullRange, Percentile


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
