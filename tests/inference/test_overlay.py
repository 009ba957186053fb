"""Contours over images: small ones at their size, large ones smaller, window by window."""

import numpy as np

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference import overlay as tested
from nucleist.inference.overlay import overlay, reduced, windows
from nucleist.plots.contours import draw_contours, to_display

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (500, 620, 3)).astype(np.uint8)
LABELS = np.kron(RNG.integers(0, 9, (25, 31)), np.ones((20, 20))).astype(np.int32)


def test_a_small_image_keeps_its_size(monkeypatch):
    expected = draw_contours(to_display(PIXELS), LABELS)
    for block in (1024, 100):
        monkeypatch.setattr(tested, "BLOCK", block)
        found = overlay(ArrayPicture(PIXELS), lambda window: LABELS[window.slices])
        np.testing.assert_array_equal(found, expected)


def test_a_large_one_is_smaller_by_a_whole_factor(monkeypatch):
    monkeypatch.setattr(tested, "BLOCK", 100)
    small = overlay(ArrayPicture(PIXELS), lambda window: LABELS[window.slices], 210)
    assert small.shape == (167, 207, 3), "a third, rounded up"
    labels = np.pad(LABELS, ((0, 1), (0, 1)), mode="edge")[1::3, 1::3]
    expected = draw_contours(to_display(reduced(PIXELS, 3)), labels)
    np.testing.assert_array_equal(small, expected)


def test_means_of_squares():
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5, 1)
    # 0 1 5 6; 2 3 7 8; 4 4 9 9, the last column twice; and ten more
    assert reduced(pixels, 2)[..., 0].tolist() == [[3, 5, 6], [13, 15, 16]]  # 6.5 to even
    assert reduced(pixels.astype(np.float32), 2)[0, 2, 0] == 6.5
    np.testing.assert_array_equal(reduced(pixels, 1), pixels)


def test_windows_cover_an_image_once():
    times = np.zeros((50, 70), int)
    for window in windows(50, 70, 32):
        times[window.slices] += 1
    assert (times == 1).all()
