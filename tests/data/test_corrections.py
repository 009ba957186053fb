"""What became of nuclei that a person corrected: by identity, by overlap, how far."""

import numpy as np
import pytest
from support.outlined import odd

from nucleist.data.corrections import (
    ADDED,
    KEPT,
    MOVED,
    REJECTED,
    boundary_shift,
    compare,
    shapes_of,
)
from nucleist.data.formats.traced import Corrected
from nucleist.data.outlines import Shape


def square(top, left, side=10, label=1):
    return Shape(label, top, left, np.ones((side, side), bool))


def states(changes):
    return [(change.state, change.label) for change in changes]


def test_shapes_are_those_of_the_label_map():
    again = np.zeros_like(odd())
    for one in shapes_of(odd()):
        height, width = one.mask.shape
        again[one.top : one.top + height, one.left : one.left + width][one.mask] = one.id
    np.testing.assert_array_equal(again, odd())


def test_what_has_an_id_is_known_wherever_it_lies():
    exported = [square(0, 0, label=1), square(0, 20, label=2)]
    corrected = [Corrected(square(40, 40), "two"), Corrected(square(0, 0), "one")]
    changes = compare(exported, {"one": 1, "two": 2}, corrected)
    assert states(changes) == [(MOVED, 2), (KEPT, 1)]
    assert changes[0].iou == 0 and changes[0].shift > 20


def test_a_copy_is_a_new_nucleus():
    corrected = [Corrected(square(0, 0), "one"), Corrected(square(0, 30), "one")]
    assert states(compare([square(0, 0)], {"one": 1}, corrected)) == [(KEPT, 1), (ADDED, None)]


def test_without_ids_the_largest_overlap_counts():
    exported = [square(0, 0, label=1), square(0, 10, label=2), square(30, 30, label=3)]
    corrected = [
        Corrected(square(0, 2)),  # 80 px with 1, 20 px with 2
        Corrected(square(0, 9)),  # 90 px with 2, 10 px with 1
        Corrected(square(36, 36)),  # 16 px with 3: an IoU of 16 / 184
    ]
    changes = compare(exported, {}, corrected)
    assert states(changes) == [(MOVED, 1), (MOVED, 2), (ADDED, None), (REJECTED, 3)]
    assert changes[0].iou == pytest.approx(80 / 120)


def test_one_exported_nucleus_has_one_partner():
    """Of a nucleus that was cut in two, the larger part is the moved one."""
    upper = Shape(1, 0, 0, np.ones((6, 10), bool))
    lower = Shape(2, 6, 0, np.ones((4, 10), bool))
    changes = compare([square(0, 0)], {}, [Corrected(lower), Corrected(upper)])
    assert states(changes) == [(ADDED, None), (MOVED, 1)]


def test_an_intact_outline_has_the_pixels_of_the_export():
    before = square(5, 5)
    nearly = Shape(1, 5, 5, np.pad(np.ones((10, 9), bool), ((0, 0), (0, 1))))
    (change,) = compare([before], {"one": 1}, [Corrected(nearly, "one", intact=True)])
    assert change.state == KEPT and change.shape is before and change.iou == 1
    (change,) = compare([before], {"one": 1}, [Corrected(nearly, "one")])
    assert change.state == MOVED and change.shape is nearly


def test_shift_of_outlines_is_worked_out_by_hand():
    # A square of 9 x 9 grows by one pixel on every side: each of the 32 pixels of its rim has the
    # new rim 1 px away, and so have 36 of the 40 new ones; the 4 corners are sqrt(2) away.
    inner, outer = square(5, 5, 9), square(4, 4, 11)
    back = (36 + 4 * np.sqrt(2)) / 40
    assert boundary_shift(inner, outer) == pytest.approx((1 + back) / 2)
    assert boundary_shift(inner, inner) == 0
    assert boundary_shift(inner, outer) == boundary_shift(outer, inner)


def test_nothing_and_everything():
    assert compare([], {}, []) == []
    assert states(compare([square(0, 0)], {}, [])) == [(REJECTED, 1)]
    assert states(compare([], {}, [Corrected(square(0, 0))])) == [(ADDED, None)]
