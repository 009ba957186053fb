"""Holes by hand."""

import numpy as np

from nucleist.ops.cleaning import mean_area, without_holes


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
