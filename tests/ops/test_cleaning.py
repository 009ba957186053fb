"""Holes by hand, and pieces of a foreground that is seen in windows."""

import numpy as np
from scipy import ndimage

from nucleist.ops.cleaning import mean_area, pieces_from, without_holes


def test_mean_area_of_pieces():
    mask = np.zeros((6, 8), bool)
    mask[:2, :2], mask[2:4, 2:5] = True, True  # they touch at a corner: two pieces
    assert mean_area(mask) == 5
    assert mean_area(mask & False) == 0


def test_small_holes_are_filled():
    mask = np.ones((9, 12), bool)
    mask[2:4, 2:4] = False  # 4 px
    mask[5, 5] = mask[6, 6] = False  # 2 px, joined at a corner
    mask[3, 11] = False  # open to the border
    mask[2:5, 7:9] = False  # 6 px
    found = without_holes(mask, 6)
    wanted = np.ones((9, 12), bool)
    wanted[3, 11] = False
    wanted[2:5, 7:9] = False
    assert (found == wanted).all()
    assert (without_holes(mask, 0) == mask).all()
    assert (without_holes(mask, 2)[5:7, 5:7] == mask[5:7, 5:7]).all()
    assert without_holes(np.ones((3, 3), bool), 9).all()
    assert not without_holes(np.zeros((3, 3), bool), 99).any()


def test_a_piece_counts_where_its_first_pixel_lies():
    pieces = np.zeros((8, 10), int)
    pieces[1:4, 4:7] = 1  # begins at (1, 4)
    pieces[5, 2:9] = 2
    pieces[6, 0:3] = 2  # further to the left, but lower: it begins at (5, 2)
    pieces[7, 9] = 3

    def found(rows, cols):
        ids, areas = pieces_from(pieces, (slice(*rows), slice(*cols)))
        return dict(zip(ids.tolist(), areas.tolist(), strict=True))

    assert found((0, 8), (0, 10)) == {1: 9, 2: 10, 3: 1}
    assert found((0, 5), (0, 10)) == {1: 9} == found((1, 2), (4, 5))
    assert found((5, 8), (0, 2)) == {}
    assert found((5, 8), (2, 10)) == {2: 10, 3: 1}
    assert pieces_from(np.zeros((3, 3), int), (slice(0, 3), slice(0, 3)))[0].shape == (0,)


def test_windows_that_overlap_count_each_piece_once():
    mask = np.random.default_rng(0).random((60, 90)) < 0.3
    mask = ndimage.binary_opening(mask, np.ones((2, 2)))
    areas = []
    for left, begin, end, right in ((0, 0, 30, 50), (10, 30, 60, 80), (40, 60, 90, 90)):
        own = ndimage.label(mask[:, left:right])[0]
        areas.append(pieces_from(own, (slice(0, 60), slice(begin - left, end - left)))[1])
    assert np.concatenate(areas).mean() == mean_area(mask)
