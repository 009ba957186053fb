"""Nuclei out of distance maps and probabilities, on drawn maps worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import disk
from skimage.measure import label as components
from skimage.morphology import h_minima

from nucleist.ops.distances import distance_map
from nucleist.ops.watershed import (
    fill_basins,
    markers_of,
    split_distances,
    split_foreground,
    touching,
    without_small,
)
from nucleist.types import UserError


def ridge(heights, width=3):
    """A bar with the given heights along it, in a background of zeros."""
    depth = np.zeros((width + 2, len(heights) + 2))
    depth[1:-1, 1:-1] = heights
    return depth


def two_discs():
    """Discs of radius 10 whose middles are 17 px apart, the second on top."""
    labels = np.zeros((32, 48), np.int32)
    labels[disk((15, 14), 10)] = 1
    labels[disk((15, 31), 10)] = 2
    return labels


def peaks_by_merging(depth, h):
    """Number of peaks that stand more than h above the saddle to a higher one, or above 0.

    Pixels are added from the highest down; where two pieces meet, the lower peak ends.
    """
    shape, owner, top, found = depth.shape, {}, {}, 0

    def root(p):
        while owner[p] != p:
            p = owner[p]
        return p

    for p in sorted(np.ndindex(shape), key=lambda p: -depth[p]):
        owner[p], top[p] = p, depth[p]
        for q in np.ndindex(3, 3):
            q = (p[0] + q[0] - 1, p[1] + q[1] - 1)
            if q in owner and root(q) != root(p):
                low, high = sorted((root(p), root(q)), key=lambda r: top[r])
                found += top[low] - depth[p] > h
                owner[low] = high
    return found + (depth.max() > h)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("h", [0, 1, 2, 3.5])
def test_markers_are_the_peaks_that_stand_out_by_more_than_h(seed, h):
    rng = np.random.default_rng(seed)
    depth = np.round(ndimage.gaussian_filter(rng.uniform(0, 40, (17, 21)), 1.0) - 14).clip(0)
    markers = markers_of(fill_basins(depth, h), depth > 0)
    assert markers.max() == peaks_by_merging(depth, h)


def test_a_valley_splits_if_it_is_deeper_than_h():
    # Peaks of 6 and 5, a valley of 3 between them: 2 below the lower peak.
    depth = ridge([1, 3, 6, 4, 3, 4, 5, 2, 1])
    assert split_distances(depth, h=1.9).max() == 2
    assert split_distances(depth, h=2).max() == 1
    labels = split_distances(depth, h=1)
    # Each side flows to its peak; only the pixel of the valley may go either way.
    assert set(labels[2, 1:5]) == {1} and set(labels[2, 6:10]) == {2}
    assert ((labels > 0) == (depth > 0.5)).all()


def test_a_peak_needs_more_than_h():
    assert split_distances(ridge([1, 2, 1]), h=2).max() == 0
    assert split_distances(ridge([1, 2, 1]), h=1.9).max() == 1


def test_a_filled_basin_is_one_marker_unlike_h_minima():
    # Two pixels of 5 with 4 between: a valley of 1, not deeper than h = 1.
    depth = ridge([1, 3, 5, 4, 5, 3, 1], width=1)
    mask = depth > 0.5
    assert markers_of(fill_basins(depth, 1), mask).max() == 1
    basins = (255 - depth).astype(np.uint8)
    assert components(h_minima(basins, 1)).max() == 2
    assert components(h_minima(basins, 2)).max() == 2


def test_touching_discs_come_back_from_their_distances():
    labels = two_discs()
    found = split_distances(distance_map(labels))
    assert found.max() == 2 and found.dtype == np.int32
    assert ((found > 0) == (labels > 0)).all()
    for number in (1, 2):  # numbered by the first pixel of the marker: left, right
        both = ((found == number) & (labels == number)).sum()
        assert both / ((found == number) | (labels == number)).sum() > 0.95


def test_noise_below_h_changes_no_count():
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (32, 48))
    assert split_distances(distance_map(two_discs()) + noise, h=1, min_size=5).max() == 2


def test_parity_pulls_touching_nuclei_apart_by_two_pixels():
    truth = np.zeros((9, 16), np.int32)
    truth[1:8, 1:8] = 1
    truth[1:8, 8:15] = 2
    distances = distance_map(truth)  # rings of 1, 2, 3, 4; the valley is columns 7 and 8
    np.testing.assert_array_equal(split_distances(distances), truth)
    gap = truth.copy()
    gap[:, 7:9] = 0
    np.testing.assert_array_equal(split_distances(distances, parity=True), gap)


def test_parity_cuts_distances_to_whole_numbers():
    depth = ridge([0.9, 1.9, 3.9, 1.9, 0.9])
    assert (split_distances(depth)[2] > 0).tolist() == [False, *[True] * 5, False]
    parity = split_distances(depth, parity=True)  # 0, 1, 3, 1, 0
    assert (parity[2] > 0).tolist() == [False, False, True, True, True, False, False]
    # Threshold 1 keeps 2 and more.
    assert split_distances(depth, threshold=1.0, parity=True).sum() == 3
    # 400 and 300 with 260 between them are all 255: one nucleus.
    high = ridge([400, 260, 300])
    assert split_distances(high).max() == 2
    assert split_distances(high, parity=True).max() == 1


def test_negative_distances_are_background():
    assert not split_distances(-ridge([1, 5, 1]), threshold=0.5).any()
    assert not split_distances(np.zeros((1, 1))).any()
    assert not split_distances(np.zeros((8, 9)), parity=True).any()


def test_foreground_by_components_and_by_watershed():
    probability = 0.2 + 0.6 * (two_discs() > 0)
    assert split_foreground(probability).max() == 1
    found = split_foreground(probability, "watershed")
    assert found.max() == 2 and found.dtype == np.int32
    assert ((found > 0) == (probability > 0.5)).all()
    assert (np.bincount(found.ravel())[1:] > 250).all()  # 10 px radius: 314 px, less the overlap
    assert split_foreground(probability, threshold=0.9).max() == 0


def test_a_round_nucleus_is_not_cut():
    probability = np.zeros((40, 40))
    probability[disk((19.5, 19.5), 15)] = 0.9
    assert split_foreground(probability, "watershed").max() == 1


def test_pieces_meeting_at_a_corner_are_two():
    probability = np.zeros((6, 6))
    probability[:3, :3] = probability[3:, 3:] = 1
    assert split_foreground(probability).max() == 2


@pytest.mark.parametrize("method", ["components", "watershed"])
def test_a_thin_piece_stays_a_nucleus(method):
    probability = np.zeros((9, 30))
    probability[4, 2:9] = 1  # one pixel wide: nowhere more than h = 1 from the background
    probability[1:8, 15:25] = 1
    labels = split_foreground(probability, method)
    assert sorted(np.bincount(labels.ravel())[1:]) == [7, 70]
    assert split_foreground(probability, method, min_size=8).max() == 1


@pytest.mark.parametrize("method", ["components", "watershed"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (6, 6)])
def test_nothing_and_everything(shape, method):
    assert not split_foreground(np.zeros(shape), method).any()
    assert (split_foreground(np.ones(shape), method) == 1).all()


def test_an_unknown_method_is_told():
    with pytest.raises(UserError, match=r"model\.instances=voronoi is unknown"):
        split_foreground(np.zeros((2, 2)), "voronoi")


def test_touching_equals_a_look_at_all_neighbours():
    labels = np.random.default_rng(1).integers(0, 4, (9, 11)).astype(np.int32)
    labels[np.random.default_rng(2).random((9, 11)) < 0.6] = 0
    for y, x in np.ndindex(labels.shape):
        around = labels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        others = set(around.ravel()) - {0, labels[y, x]}
        assert touching(labels)[y, x] == bool(labels[y, x] and others)


def test_small_nuclei_go_and_the_others_keep_their_order():
    labels = np.array([[7, 7, 7, 0, 2], [0, 0, 0, 0, 0], [5, 5, 0, 9, 9]], np.int32)
    wanted = [[2, 2, 2, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 3, 3]]
    np.testing.assert_array_equal(without_small(labels, 2), wanted)
    assert without_small(labels, 0).max() == 4
    assert without_small(labels, 4).max() == 0
