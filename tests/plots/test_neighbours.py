"""Pairs of images as they lie."""

import numpy as np
import pytest
from PIL import Image
from support.sources import InMemory, grid

from nucleist.data.fields import Pair
from nucleist.plots.neighbours import CUT, check_place, draw_pairs, joined
from nucleist.types import Record, UserError


def record(value, shape, nucleus):
    labels = np.zeros(shape, np.int32)
    labels[0, 0] = nucleus
    return Record(str(value), np.full((*shape, 3), value, np.uint8), labels)


@pytest.mark.parametrize("kind", ["below", "right", "alike"])
def test_images_are_joined_as_they_lie(kind):
    one, other = record(200, (6, 8), 3), record(250, (6, 8), 2)
    image, labels = joined(one, other, kind)
    if kind != "below":  # the same with rows and columns exchanged
        image, labels = image.transpose(1, 0, 2), labels.T
    first = 6 if kind == "below" else 8
    assert image.shape[:2] == labels.shape == (2 * first + CUT, 14 - first)
    assert (image[:first] == 200).all() and (image[-first:] == 250).all()
    assert (image[first : first + CUT] == 255).all() and not labels[first : first + CUT].any()
    assert labels[0, 0] == 3 and labels[first + CUT, 0] == 5
    assert np.count_nonzero(labels) == 2


def test_images_of_two_sizes_and_types():
    large = Record("b", np.full((9, 5, 3), 60_000, np.uint16), np.ones((9, 5), np.int32))
    image, labels = joined(record(250, (6, 8), 1), large, "alike")
    assert image.shape == (9, 8 + CUT + 5, 3) and labels.max() == 2


def test_a_page_of_pairs(tmp_path):
    source = InMemory([grid(1, 2)], [grid(1)])
    pair = Pair("right", "train-0", "test-0", 0.99, 9.0)
    path = draw_pairs(source, [pair] * 5, tmp_path / "pairs.png", 2)
    assert np.ptp(np.asarray(Image.open(path)).astype(int)) > 100
    with pytest.raises(UserError, match="nothing to draw"):
        draw_pairs(source, [], tmp_path / "none.png")
    with pytest.raises(UserError, match="is there already"):
        check_place(path)
    assert check_place(path, overwrite=True) == path
    with pytest.raises(UserError, match="PNG"):
        check_place(tmp_path / "pairs.jpg")
