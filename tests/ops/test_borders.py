"""Targets and weights of foreground nets, against definitions written out."""

import numpy as np
import pytest
from conftest import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleist.ops.borders import (
    border_weights,
    class_weights,
    event_weights,
    near,
    nearest_two,
    separated,
)


def stacked(labels):
    """Distances to the two nearest nuclei, one transform of the whole image a nucleus."""
    ids = np.unique(labels[labels > 0])
    maps = [ndimage.distance_transform_edt(labels != i) for i in ids]
    return np.sort([*maps, *[np.full(labels.shape, np.inf)] * 2], axis=0)[:2]


def test_two_squares_that_touch_get_a_gap():
    labels = np.zeros((4, 6), np.int32)
    labels[:2, :3], labels[:2, 3:], labels[2:, 3:] = 5, 2, 9
    wanted = labels.copy()
    wanted[:2, 2] = 0  # their right neighbour is 2
    wanted[1, 3:] = 0  # their lower neighbour is 9
    assert (separated(labels) == wanted).all()
    assert ndimage.label(wanted)[1] == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_gaps_separate_any_nuclei_and_unknown_stays(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, (7, 9)).repeat(3, 0).repeat(3, 1).astype(np.int32)
    cut = separated(labels)
    assert ((cut == labels) | ((cut == 0) & (labels > 0))).all()
    pieces = ndimage.label(cut > 0)[0]
    assert all(len(np.unique(cut[pieces == i])) == 1 for i in range(1, pieces.max() + 1))


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_those_of_whole_transforms(seed):
    _, labels = draw((60, 64), 12, seed)
    labels[labels > 0] += 3  # ids with a gap
    wanted, found = stacked(labels), nearest_two(labels, 9)
    for one, other in zip(wanted, found, strict=True):
        assert np.allclose(np.where(one > 9, np.inf, one), other, rtol=1e-6)


def test_weights_by_hand():
    labels = np.zeros((9, 11), np.int32)
    labels[3:6, 2:4], labels[3:6, 6:9] = 1, 2  # 15 px of 99, a gap of two columns
    weights = border_weights(labels)
    ratio = 15 / 84
    assert (weights[labels > 0] == 1).all()
    assert weights[4, 4] == pytest.approx(ratio + 10 * np.exp(-((1 + 2) ** 2) / 10))
    assert weights[4, 10] == pytest.approx(ratio + 10 * np.exp(-((2 + 7) ** 2) / 10))
    wide = border_weights(labels, height=2, variance=25)
    assert wide[4, 4] == pytest.approx(ratio + 2 * np.exp(-9 / 50))


def test_one_nucleus_has_no_border_term():
    labels = np.zeros((9, 9), np.int32)
    labels[3:6, 3:6] = 1
    assert border_weights(labels)[labels == 0] == pytest.approx(9 / 72)


def test_only_known_pixels_are_counted_and_weighted():
    inside = np.array([[True, True, True, False]])
    known = np.array([[True, True, False, True]])
    assert class_weights(inside, known).tolist() == [[0.5, 0.5, 0, 1]]
    assert class_weights(inside, inside).tolist() == [[1, 1, 1, 0]]  # one class alone
    weights = border_weights(np.array([[1, 0, 2, 0]]), np.array([[True, False, True, True]]))
    assert weights[0, 1] == 0 and (weights[0, [0, 2, 3]] > 0).all()


def test_weights_around_events_are_those_of_dilations():
    _, labels = draw((80, 90), 2, 3)
    wanted = np.ones(labels.shape)
    for steps, height in ((30, 20), (20, 50), (10, 100)):  # dilations by the four neighbours
        wanted[ndimage.binary_dilation(labels > 0, iterations=steps)] = height
    weights = event_weights(labels)
    assert (weights == wanted).all() and set(np.unique(weights)) == {1, 20, 50, 100}
    known = labels == 0
    assert (event_weights(labels, known) == wanted * known).all()
    assert (event_weights(np.zeros((4, 5), int)) == 1).all()


def test_a_band_around_nuclei():
    labels = np.zeros((5, 7), np.int32)
    labels[2, 2] = 4
    labels[2, 5] = -1  # unknown is not a nucleus
    assert np.argwhere(near(labels, 1)).tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]
    assert near(labels, 2).sum() == 12 and near(labels, 0).sum() == 0
    assert not near(np.zeros((3, 3), np.int32), 9).any()
    assert not near(np.ones((3, 3), np.int32), 9).any()
