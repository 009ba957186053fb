"""Masks to polygons and back: the same pixels, right axes, holes and parts."""

import numpy as np
import pytest
from support.outlined import KINDS, blobs, odd

from nucleist.ops.polygons import inside, middle, outlines, signed_area


def test_outline_of_one_pixel_is_worked_out_by_hand():
    # The pixel in row 0, column 0 has its centre at (0.5, 0.5): a diamond of area 1/2 around it.
    (polygon,) = outlines(np.ones((1, 1), bool))
    (ring,) = polygon
    corners = {tuple(point) for point in ring.tolist()}
    assert corners == {(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)}
    assert signed_area(ring) == 0.5
    np.testing.assert_allclose(middle(ring), [0.5, 0.5])


def test_x_is_the_column_and_y_the_row():
    mask = np.zeros((3, 9), bool)
    mask[1, 2:8] = True  # six columns, one row
    ((ring,),) = outlines(mask)
    assert ring[:, 0].min() == 2 and ring[:, 0].max() == 8
    assert ring[:, 1].min() == 1 and ring[:, 1].max() == 2
    np.testing.assert_allclose(middle(ring), [5, 1.5])


@pytest.mark.parametrize("label", KINDS.values(), ids=KINDS)
def test_filling_gives_the_mask_again(label):
    mask = odd() == label
    again = np.zeros_like(mask)
    for rings in outlines(mask):
        for ring in rings:
            again ^= inside(ring, (0, 0, *mask.shape))
    np.testing.assert_array_equal(again, mask)


def test_parts_holes_and_their_order():
    labels = odd()
    assert [len(rings) for rings in outlines(labels == KINDS["hole"])] == [2]
    assert [len(rings) for rings in outlines(labels == KINDS["two parts"])] == [1, 1]
    # Pixels that meet at a corner alone are two parts, so that no ring touches itself.
    parts = outlines(labels == KINDS["diagonal"])
    assert [signed_area(rings[0]) for rings in parts] == [15.5, 8.5]  # half a pixel less than 16, 9
    outer, hole = outlines(labels == KINDS["hole"])[0]
    assert signed_area(outer) > 0 > signed_area(hole)


def test_an_outline_is_half_a_pixel_smaller_than_its_mask():
    labels = blobs(24)
    for label in range(1, 25):
        ((ring,),) = outlines(labels == label)
        assert signed_area(ring) == np.count_nonzero(labels == label) - 0.5


def test_no_vertex_lies_on_a_straight_line():
    ((ring,),) = outlines(np.ones((5, 7), bool))
    assert len(ring) == 8  # a rectangle with cut corners


def test_a_hole_in_a_part_in_a_hole():
    mask = np.zeros((15, 15), bool)
    for low in range(0, 7, 2):
        mask[low : 15 - low, low : 15 - low] = low % 4 == 0
    found = outlines(mask)
    assert [len(rings) for rings in found] == [2, 2]
    assert signed_area(found[0][0]) == 224.5 and signed_area(found[1][1]) < 0
