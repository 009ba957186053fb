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


def on_grid(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, float)


@pytest.mark.parametrize(
    ("one", "other", "area"),
    [
        # Two 10 x 10 squares side by side, all edges through pixel centres.
        (
            on_grid((5.5, 5.5), (15.5, 5.5), (15.5, 15.5), (5.5, 15.5)),
            on_grid((15.5, 5.5), (25.5, 5.5), (25.5, 15.5), (15.5, 15.5)),
            200,
        ),
        # One above the other.
        (
            on_grid((5.5, 5.5), (15.5, 5.5), (15.5, 15.5), (5.5, 15.5)),
            on_grid((5.5, 15.5), (15.5, 15.5), (15.5, 25.5), (5.5, 25.5)),
            200,
        ),
        # A 20 x 20 square cut along its diagonal, which runs through 20 centres.
        (on_grid((10, 10), (30, 10), (10, 30)), on_grid((30, 10), (30, 30), (10, 30)), 400),
    ],
)
def test_an_edge_through_pixel_centres_belongs_to_one_neighbour(one, other, area) -> None:
    for first, second in ((one, other), (one[::-1], other), (other, one[::-1])):
        shapes = [fill(first, (40, 40), 1), fill(second, (40, 40), 2)]
        labels, notes = compose((40, 40), [shape for shape in shapes if shape])
        assert notes == () and np.count_nonzero(labels) == area


@pytest.mark.parametrize("seed", range(20))
def test_triangles_of_a_square_share_no_pixel_and_leave_none(seed: int) -> None:
    # A square of 24 x 24 px cut into a fan around an inner point; on half the seeds all corners
    # are on pixel centres, where ties are frequent, else anywhere.
    rng = np.random.default_rng(seed)
    step = 0.5 if seed % 2 else 1e-3
    inner = 4 + np.round(rng.uniform(4, 20, 2) / step) * step
    sides = [np.array([4.0, 4.0]), np.array([28.0, 4.0]), np.array([28.0, 28.0]), np.array([4, 28])]
    held = np.zeros((32, 32), int)
    for i in range(4):
        triangle = np.stack([sides[i], sides[(i + 1) % 4], inner])
        if part := fill(np.roll(triangle, seed, 0)[:: 1 if i % 2 else -1], (32, 32), 1):
            height, width = part.mask.shape
            held[part.top : part.top + height, part.left : part.left + width] += part.mask
    assert (held[4:28, 4:28] == 1).all() and held.sum() == 24 * 24
    assert seed != 3 or fill(inner[None], (32, 32), 1) is None  # a point holds nothing
