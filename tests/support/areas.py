"""Areas of images in which all is labelled, drawn at random, and the rules they all obey."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nucleist.data.complete import complete_of


def areas(shape):
    """Areas of an image of a shape: everywhere, nowhere, rectangles, any pixels."""
    masks = arrays.arrays(bool, shape)
    ends = [st.tuples(*[st.integers(0, side)] * 2).map(sorted) for side in shape]
    boxes = st.tuples(*ends).map(lambda box: _box(shape, *box))
    return st.one_of(st.booleans(), boxes.map(complete_of), masks.map(complete_of))


def _box(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def check_area(complete, shape):
    """Rectangles lie inside the image, have pixels, and do not overlap; none is True or False."""
    assert isinstance(complete, bool | tuple)
    if isinstance(complete, bool):
        return
    seen = set()
    for y0, x0, y1, x1 in complete:
        assert 0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]
        assert all(type(value) is int for value in (y0, x0, y1, x1))
        pixels = {(y, x) for y in range(y0, y1) for x in range(x0, x1)}
        assert not pixels & seen
        seen |= pixels
    assert 0 < len(seen) < shape[0] * shape[1]
