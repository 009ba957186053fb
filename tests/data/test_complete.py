"""Areas in which all is labelled: rectangles and masks say the same, whatever happens to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.areas import areas, check_area

from nucleist.data.complete import both, complete_of, either, inside, mask_of, share_of
from nucleist.types import Window

SHAPE = (6, 8)
few = settings(max_examples=60, deadline=None)


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
@few
def test_a_mask_comes_back(mask):
    area = complete_of(mask)
    check_area(area, mask.shape)
    back = mask_of(area, mask.shape)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)
    assert complete_of(back) == area
    assert share_of(area, mask.shape) == pytest.approx(mask.mean())


@given(areas(SHAPE), st.data())
@few
def test_a_window_has_the_area_of_its_pixels(area, data):
    height, width = SHAPE
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width))
    window = Window(y0, x0, y1, x1)
    cut = inside(area, window, SHAPE)
    check_area(cut, (y1 - y0, x1 - x0))
    np.testing.assert_array_equal(
        mask_of(cut, (y1 - y0, x1 - x0)), mask_of(area, SHAPE)[window.slices]
    )


@given(areas(SHAPE), areas(SHAPE))
@few
def test_two_areas(one, other):
    masks = mask_of(one, SHAPE), mask_of(other, SHAPE)
    for function, wanted in ((both, masks[0] & masks[1]), (either, masks[0] | masks[1])):
        found = function(one, other, SHAPE)
        check_area(found, SHAPE)
        assert found == function(other, one, SHAPE) == complete_of(wanted)


@pytest.mark.parametrize(
    ("rows", "area"),
    [
        (["....", "...."], False),
        (["####", "####"], True),
        ([".##.", ".##."], (Window(0, 1, 2, 3),)),
        (["#..#", "#..#"], (Window(0, 0, 2, 1), Window(0, 3, 2, 4))),
        (["##..", "###."], (Window(0, 0, 1, 2), Window(1, 0, 2, 3))),
        (["#...", "....", "#..."], (Window(0, 0, 1, 1), Window(2, 0, 3, 1))),
    ],
)
def test_rectangles_worked_out_by_hand(rows, area):
    assert complete_of(np.array([[sign == "#" for sign in row] for row in rows])) == area
