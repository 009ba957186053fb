"""Nuclei outlined one by one: which pixels they hold, and who has a shared one."""

import numpy as np
import pytest

from nucleist.data.outlines import Shape, compose, crop, fill


def test_the_smallest_nucleus_has_a_shared_pixel() -> None:
    # Nucleus 1 is 4 x 4, nucleus 2 is 2 x 4 and covers its lower right quarter: 2 x 2 shared.
    big, small = np.ones((4, 4), bool), np.ones((2, 4), bool)
    for order in ([0, 1], [1, 0]):
        nuclei = [Shape(1, 0, 0, big), Shape(2, 2, 2, small)]
        labels, notes = compose((6, 6), [nuclei[i] for i in order])
        assert (labels == 1).sum() == 12 and (labels == 2).sum() == 8
        assert notes[0].startswith("4 pixels lie in more than one nucleus") and len(notes) == 1


def test_a_nucleus_wholly_covered_is_named() -> None:
    square = np.ones((3, 3), bool)
    labels, notes = compose((5, 5), [Shape(7, 1, 1, square), Shape(9, 1, 1, square)])
    assert set(np.unique(labels)) == {0, 9}
    assert notes[1] == "nucleus 7 is wholly covered by smaller ones and has no pixel left"


def test_no_nuclei_no_notes() -> None:
    labels, notes = compose((3, 4), [])
    assert labels.shape == (3, 4) and labels.dtype == np.int32 and not labels.any()
    assert notes == () and crop(np.zeros((3, 4), bool), 1) is None


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    # x from 1 to 3, y from 2 to 5: columns 1, 2 and rows 2, 3, 4.
    inside = fill(np.array([(1, 2), (3, 2), (3, 5), (1, 5)], float), (8, 8), 1)
    assert inside is not None
    assert (inside.top, inside.left, inside.mask.shape) == (2, 1, (3, 2)) and inside.mask.all()
    # Moved by (0.4, 0.4) the same centres are inside; by (0.6, 0.6) the next ones.
    for shift, corner in ((0.4, (2, 1)), (0.6, (3, 2))):
        moved = np.array([(1, 2), (3, 2), (3, 5), (1, 5)], float) + shift
        inside = fill(moved, (8, 8), 1)
        assert inside is not None
        assert (inside.top, inside.left) == corner and inside.mask.sum() == 6
    # A corner that sticks out of the image is cut, a polygon outside has no pixel.
    inside = fill(np.array([(-3, -3), (2, -3), (2, 2), (-3, 2)], float), (8, 8), 1)
    assert inside is not None and inside.mask.shape == (2, 2) and inside.top == inside.left == 0
    assert fill(np.array([(9, 9), (12, 9), (12, 12)], float), (8, 8), 1) is None


@pytest.mark.parametrize("center", [(30.0, 31.0), (30.3, 31.2), (2.0, 60.5)])
def test_circles_hold_the_pixels_a_loop_over_centres_finds(center: tuple[float, float]) -> None:
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    circle = np.stack([center[0] + 12.3 * np.cos(angle), center[1] + 12.3 * np.sin(angle)], 1)
    inside = fill(circle, (64, 64), 1)
    assert inside is not None
    labels, _ = compose((64, 64), [inside])
    y, x = np.mgrid[:64, :64] + 0.5
    np.testing.assert_array_equal(labels > 0, np.hypot(x - center[0], y - center[1]) < 12.3)
