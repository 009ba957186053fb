"""The watershed from proposed boxes: touching discs of known number, and pieces none may lose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import disk

from nucleist.models.nuset.seeds import cleaned, cut_foreground, grown, place_seeds


def discs(*circles, shape=(64, 64)):
    """Foreground and boxes of discs (row, column, radius)."""
    mask = np.zeros(shape, bool)
    for row, col, radius in circles:
        mask[disk((row, col), radius, shape=shape)] = True
    boxes = [[c - r + 0.5, y - r + 0.5, c + r + 0.5, y + r + 0.5] for y, c, r in circles]
    return mask, np.array(boxes, float).reshape(-1, 4)


def count(labels):
    return len(np.unique(labels[labels > 0]))


def pairs(number, seed=0):
    """Touching discs of random sizes in random directions."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        first, second = rng.uniform(5, 11, 2)
        far = rng.uniform(0.75, 0.95) * (first + second)
        angle = rng.uniform(0, 2 * np.pi)
        row, col = 32 - np.array([np.sin(angle), np.cos(angle)]) * far / 2
        other = 32 + np.array([np.sin(angle), np.cos(angle)]) * far / 2
        yield (row, col, first), (*other, second)


@pytest.mark.slow
def test_200_touching_pairs_are_two_and_none_is_merged_again():
    for pair in pairs(200):
        mask, boxes = discs(*pair)
        assert ndimage.label(mask)[1] == 1
        labels = cut_foreground(mask, boxes, border=4)
        assert count(labels) == 2
        assert np.array_equal(labels > 0, mask)  # no pixel is lost
        first, second = (discs(circle)[0] for circle in pair)
        own = [labels[int(row), int(col)] for row, col, _ in pair]
        assert own[0] != own[1]
        for only, number in ((first & ~second, own[0]), (second & ~first, own[1])):
            assert (labels[only] == number).mean() > 0.9


def test_with_a_line_the_two_are_apart():
    for pair in pairs(20):
        mask, boxes = discs(*pair)
        cut = cut_foreground(mask, boxes, border=4, line=True)
        assert count(cut) == 2 and (cut > 0).sum() < mask.sum()
        assert ndimage.label(cut > 0)[1] == 2  # 4-connected; by 8 many would be one again


def test_without_boxes_every_piece_is_one_nucleus():
    mask, _ = discs((20, 20, 8), (20, 32, 8), (50, 50, 5))
    labels = cut_foreground(mask, np.zeros((0, 4)))
    assert np.array_equal(labels > 0, mask)
    assert count(labels) == 2 and labels[20, 20] == labels[20, 32]


def test_a_seed_in_the_bounding_box_of_another_piece_does_not_lose_that_piece():
    mask, boxes = discs((32, 32, 4))
    mask[10:54, 10:14] = mask[50:54, 10:54] = True  # an L around the disc, without a box
    labels = cut_foreground(mask, boxes)
    assert count(labels) == 2 and np.array_equal(labels > 0, mask)


def test_a_box_whose_middle_is_not_in_the_foreground_is_moved_or_dropped():
    mask = np.zeros((64, 64), bool)
    mask[30:40, 30:40] = True
    near, far = [25, 25, 31, 31], [10, 10, 16, 16]  # middles 28.3 and 13.4 pixels away
    assert place_seeds(mask, np.array([near, far], float), 0, 3).tolist() == [[30, 30]]
    assert cut_foreground(mask, np.array([near, far], float)).max() == 1


def test_middles_near_the_border_are_no_seeds():
    mask = np.ones((40, 60), bool)
    boxes = np.array(
        [[18, 18, 22, 22], [17, 18, 22, 22], [38, 18, 42, 22], [39, 18, 42, 22]], float
    )
    assert place_seeds(mask, boxes, 20, 3).tolist() == [[20, 20], [20, 40]]


def test_two_boxes_in_one_pixel_are_one_seed_and_neighbours_are_two():
    mask, _ = discs((32, 32, 10))
    boxes = np.array([[22, 22, 42, 42], [23, 23, 41, 41], [24, 22, 44, 42]], float)
    assert place_seeds(mask, boxes, 0, 3).tolist() == [[32, 32], [32, 34]]
    labels = cut_foreground(mask, boxes, border=0)
    assert count(labels) == 2 and np.array_equal(labels > 0, mask)


def test_seeds_grow_inside_their_pieces_only():
    mask = np.ones((9, 12), bool)
    mask[:, 5] = False
    seeds = np.zeros((9, 12), np.int32)
    seeds[4, 4], seeds[4, 8] = 1, 2
    found = grown(seeds, mask, 3)
    assert set(np.unique(found[:, :5])) == {0, 1}
    assert set(np.unique(found[:, 6:])) == {0, 2}
    assert found[4, 6] == 2 and found[1, 4] == 1 and found[0, 4] == 0


@pytest.mark.parametrize(
    "mask", [np.zeros((5, 7), bool), np.ones((1, 1), bool), np.ones((9, 9), bool)]
)
def test_images_that_are_all_background_or_all_foreground(mask):
    labels = cut_foreground(mask, np.array([[0, 0, 5, 5]], float), min_area=1)
    assert labels.dtype == np.int32 and np.array_equal(labels > 0, mask)
    assert count(labels) <= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.floats(0.1, 0.9), number=st.integers(0, 12))
def test_no_piece_is_lost_and_no_nucleus_lies_in_two(seed, fill, number):
    rng = np.random.default_rng(seed)
    mask = ndimage.uniform_filter(rng.random((40, 48)), 3) > np.quantile(
        ndimage.uniform_filter(rng.random((40, 48)), 3), fill
    )
    corner = rng.uniform(-5, 45, (number, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 20, (number, 2))], 1)
    labels = cut_foreground(mask, boxes, border=2, min_area=10)
    pieces = ndimage.label(mask)[0]
    large = (np.bincount(pieces.ravel()) >= 10)[pieces] & mask
    assert np.array_equal(labels > 0, large)
    for value in range(1, labels.max() + 1):
        assert len(np.unique(pieces[labels == value])) == 1
        assert ndimage.label(labels == value)[1] == 1


class TestCleaned:
    """Small nuclei and holes."""

    def test_nuclei_below_a_fifth_of_the_mean_area_go(self):
        labels = np.zeros((20, 20), np.int32)
        labels[:10, :10], labels[15, 10:20], labels[12:14, :10] = 1, 2, 3
        # Areas 100, 10, 20: the mean is 43.3 and a fifth 8.7, half of it 21.7.
        assert np.bincount(cleaned(labels).ravel())[1:].tolist() == [100, 10, 20]
        assert np.bincount(cleaned(labels, 0.5).ravel())[1:].tolist() == [100]
        labels[15, 10:18] = 0  # 2 pixels of mean 40.7
        assert np.bincount(cleaned(labels).ravel())[1:].tolist() == [100, 20]

    def test_small_holes_of_one_nucleus_are_filled(self):
        labels = np.zeros((20, 20), np.int32)
        labels[2:14, 2:8], labels[2:14, 8:14] = 1, 2
        labels[5, 5] = labels[7:9, 7:9] = labels[13, 5] = 0  # inside 1; between both; a notch
        labels[2:14, 17:], labels[6, 19], labels[9, 18] = 3, 0, 0  # at the edge; inside 3
        found = cleaned(labels)
        assert found[5, 5] == 1 and found[9, 18] == 3
        assert not found[7:9, 7:9].any() and found[13, 5] == 0 and found[6, 19] == 0

    def test_large_holes_stay(self):
        labels = np.zeros((20, 20), np.int32)
        labels[2:18, 2:18], labels[6:14, 6:14] = 1, 0  # 192 pixels around 64
        assert np.array_equal(cleaned(labels), labels)

    def test_nothing(self):
        assert not cleaned(np.zeros((3, 4), np.int32)).any()
