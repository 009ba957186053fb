import numpy as np
import pytest

from nucleist.data.formats.axes import axes_of, largest
from nucleist.types import UserError, Window

ARRAY = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)


@pytest.mark.parametrize("letters", ["TCZYX", "ZTCYX", "CTZYX", "TZYXS", "YXTZC"])
def test_a_window_of_any_order(letters: str) -> None:
    own = letters.replace("S", "C")
    array = ARRAY.transpose(["TZCYX".index(letter) for letter in own])  # T 2, Z 3, C 4, Y 5, X 6
    axes = axes_of(letters, array.shape, "x", "")
    assert axes.counts == (2, 3) and axes.channels == 4 and (axes.height, axes.width) == (5, 6)
    found = axes.take(array, 1, 2, Window(1, 2, 4, 6))
    np.testing.assert_array_equal(found, ARRAY[1, 2, :, 1:4, 2:6].transpose(1, 2, 0))
    np.testing.assert_array_equal(axes.take(array, 0, 1, None, 3), ARRAY[0, 1, 3])


def test_axes_of_length_one_have_no_place() -> None:
    axes = axes_of("TCZYX", (1, 1, 1, 5, 1), "x", "")
    assert axes.counts == (1, 1) and axes.channels == 1 and axes.width == 1
    np.testing.assert_array_equal(axes.take(ARRAY[:1, :1, :1, :, :1], 0, 0), ARRAY[0, 0, 0, :, :1])


def test_one_stack_is_planes_unless_a_time_is_chosen() -> None:
    assert axes_of("TYX", (3, 5, 6), "x", "").counts == (1, 3)
    assert axes_of("TYX", (3, 5, 6), "x", "", True).counts == (3, 1)
    assert axes_of("IYX", (3, 5, 6), "x", "", True).counts == (1, 3)


@pytest.mark.parametrize("letters", ["TQYX", "QQYX", "CYXS", "QRTYX", "TZQYX", "CX", "YYX"])
def test_planes_without_an_order_are_refused(letters: str) -> None:
    sizes = tuple(range(2, 2 + len(letters)))
    with pytest.raises(UserError, match=r"x: several planes \(words\); save"):
        axes_of(letters, sizes, "x", "words")


def test_the_largest_value_over_planes() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    found = largest(lambda z: stack[z], (1, 2, 3))
    np.testing.assert_array_equal(found, stack[1:].max(0))
