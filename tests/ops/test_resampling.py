import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nucleist.ops.resampling import nearest, reach, resampled, weights

SIDES = st.integers(1, 60)


@given(SIDES, SIDES, st.data())
def test_a_window_has_the_weights_of_the_whole(old: int, new: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, new - 1))
    stop = data.draw(st.integers(start + 1, new))
    whole, part = weights(old, new, 0, new), weights(old, new, start, stop)
    first, last = reach(old, new, start, stop)
    dense = whole.toarray()[start:stop]
    np.testing.assert_array_equal(part.toarray(), dense[:, first:last])
    assert not dense[:, :first].any() and not dense[:, last:].any()
    np.testing.assert_allclose(dense.sum(1), 1, rtol=1e-6)


@given(SIDES, SIDES)
def test_weights_are_those_of_torch(old: int, new: int) -> None:
    impulses = torch.eye(old)[:, None, None]  # (old, 1, 1, old): each pixel by itself
    options = {"mode": "bilinear", "antialias": True, "align_corners": False}
    expected = F.interpolate(impulses, (1, new), **options)[:, 0, 0].T.numpy()
    np.testing.assert_allclose(weights(old, new, 0, new).toarray(), expected, atol=1e-5)


@given(SIDES, SIDES, st.data())
def test_the_nearest_pixel_lies_under_the_middle(old: int, new: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, new - 1))
    found = nearest(old, new, start, new)
    middles = [(2 * i + 1) * old / (2 * new) for i in range(start, new)]
    for number, index, middle in zip(range(start, new), found.tolist(), middles, strict=True):
        assert index <= middle <= index + 1
        assert index == int(middle) - (middle.is_integer() and number % 2 == 0)
    assert found.min() >= 0 and found.max() < old


def test_a_disc_keeps_its_middle_and_its_brightness() -> None:
    rows, columns = np.mgrid[:90, :120] + 0.5
    disc = np.where((rows - 40) ** 2 + (columns - 70) ** 2 < 400, 200, 0).astype(np.uint8)
    for scale in (0.4, 0.75, 1.6, 3):
        height, width = round(90 * scale), round(120 * scale)
        grid = weights(90, height, 0, height), weights(120, width, 0, width)
        found = resampled(disc[..., None], *grid)
        assert found.shape == (height, width, 1) and found.dtype == np.uint8
        share = found[..., 0] / found.sum()
        ys, xs = np.mgrid[:height, :width] + 0.5
        assert (share * ys).sum() * 90 / height == pytest.approx(40, abs=0.05)
        assert (share * xs).sum() * 120 / width == pytest.approx(70, abs=0.05)
        assert found.sum() / disc.sum() == pytest.approx(height * width / (90 * 120), rel=0.01)
