"""Distance maps by hand and against a search over all pixels."""

import numpy as np
import pytest
from scipy import ndimage

from nucleist.ops.distances import METRICS, distance_map, edge_distance
from nucleist.types import UserError


def by_search(labels, metric):
    """Nearest pixel with another value, pixel by pixel."""
    rows, cols = np.indices(labels.shape)
    wanted = np.zeros(labels.shape)
    for y, x in np.argwhere(labels > 0):
        outside = labels != labels[y, x]
        dy, dx = np.abs(rows - y)[outside], np.abs(cols - x)[outside]
        far = np.maximum(dy, dx) if metric == "chessboard" else np.hypot(dy, dx)
        wanted[y, x] = far.min(initial=sum(labels.shape))
    return wanted


def test_two_touching_squares_have_a_valley_of_ones():
    labels = np.zeros((7, 12), np.int32)
    labels[1:6, 1:6] = 1
    labels[1:6, 6:11] = 2
    one = [  # a square of 5 px: three rings
        [1, 1, 1, 1, 1],
        [1, 2, 2, 2, 1],
        [1, 2, 3, 2, 1],
        [1, 2, 2, 2, 1],
        [1, 1, 1, 1, 1],
    ]
    distances = distance_map(labels)
    assert distances.dtype == np.float32
    np.testing.assert_array_equal(distances[1:6, 1:6], one)
    np.testing.assert_array_equal(distances[1:6, 6:11], one)
    assert distances.sum() == 2 * np.sum(one)
    # Measured together they would be one hill of 10 x 5 px.
    assert ndimage.distance_transform_cdt(labels > 0, "chessboard")[3, 5:7].tolist() == [3, 3]


def test_the_images_border_is_no_border_of_a_nucleus():
    labels = np.zeros((4, 5), np.int32)
    labels[:, :3] = 7
    np.testing.assert_array_equal(distance_map(labels), [[3, 2, 1, 0, 0]] * 4)


def test_nuclei_that_meet_at_a_corner_see_each_other():
    labels = np.ones((4, 4), np.int32)
    labels[2:, 2:] = 2
    # From (y, x) of nucleus 1 the nearest pixel of nucleus 2 is 2 - min(y, x) away, at least 1;
    # from nucleus 2, row or column 1 is min(y, x) - 1 away.
    wanted = [[2, 2, 2, 2], [2, 1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 2]]
    np.testing.assert_array_equal(distance_map(labels), wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_distances_equal_a_search(seed, metric):
    rng = np.random.default_rng(seed)
    labels = np.zeros((19, 26), np.int32)
    for _ in range(9):  # cut by the image, overlapping, in pieces, with gaps in the numbers
        y, x = rng.integers(-3, 17), rng.integers(-3, 24)
        labels[max(y, 0) : y + 8, max(x, 0) : x + 9] = rng.integers(1, 30)
    np.testing.assert_allclose(distance_map(labels, metric), by_search(labels, metric), rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_and_everything(metric):
    assert not distance_map(np.zeros((3, 4), np.int32), metric).any()
    # One nucleus fills the image: no border is seen, the distance is above any in the image.
    assert (distance_map(np.ones((3, 4), np.int32), metric) == 7).all()


def test_the_edge_of_the_image():
    wanted = [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 2, 3, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
    np.testing.assert_array_equal(edge_distance((5, 5)), wanted)
    np.testing.assert_array_equal(edge_distance((2, 4)), np.ones((2, 4)))


def test_certain_distances_do_not_change_when_more_of_the_nucleus_is_seen():
    rng = np.random.default_rng(3)
    whole = np.kron(rng.integers(0, 3, (8, 8)), np.ones((7, 7), int)).astype(np.int32)
    cut = whole[10:40, 12:45]
    seen, true = distance_map(cut), distance_map(whole)[10:40, 12:45]
    certain = seen <= edge_distance(cut.shape)
    assert (seen[certain] == true[certain]).all()
    assert (seen[~certain] > true[~certain]).any()


def test_an_unknown_metric_is_told():
    with pytest.raises(UserError, match=r"model\.metric=city is unknown; use one of chessboard"):
        distance_map(np.zeros((2, 2), np.int32), "city")
