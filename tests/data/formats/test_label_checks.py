"""Label maps that cannot be right: each kind is refused, and honest ones are not."""

import numpy as np
import pytest

from nucleist.data.formats.label_checks import (
    check_label_map,
    far_ids,
    oddities,
    pieces_of,
    pieces_of_mask,
)
from nucleist.data.readers.synthetic import Synthetic
from nucleist.types import UserError


def grid(count, height=90, width=120, step=6, side=4):
    """Squares of `side` px in rows, with the ids 1 to `count`."""
    labels = np.zeros((height, width), np.int32)
    across = width // step
    for number in range(count):
        row, column = divmod(number, across)
        y, x = row * step + 1, column * step + 1
        labels[y : y + side, x : x + side] = number + 1
    return labels


def rims(labels):
    """Pixels with a neighbour of another value, 4-connected."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            found |= np.roll(labels, shift, axis) != labels
    return found


NUCLEI = grid(48, 84, 110, step=13, side=8)
INSIDE = (NUCLEI > 0) & ~rims(NUCLEI)
RIM = (NUCLEI > 0) & rims(NUCLEI)
NOISE = np.random.default_rng(0)

FALSE = {
    "ilastik": (np.where(NUCLEI > 0, 2, 1), "label 1 covers .* set the background to 0"),
    "inverted": (np.where(NUCLEI > 0, 0, 255), "label 255 covers .* set the background to 0"),
    "background 1, nuclei from 2": (NUCLEI + 1, "label 1 covers .* around 48 other regions"),
    "inside and rim": (np.where(INSIDE, 1, 0) + np.where(RIM, 2, 0), "2 values in 96 .* classes"),
    "classes of cells": (
        np.where(NUCLEI > 0, NUCLEI % 4 + 1, 0),
        "4 values in 48 .*data.source.masks=components",
    ),
    "soft edge": (np.where(INSIDE, 255, 0) + np.where(RIM, 128, 0), "2 values in 96 .* soft edge"),
    "wrapped": (grid(300) % 256, "all ids of 8 bits, 44 of them .* save the label map with 16"),
    "wrapped thrice": (grid(1200, 240, 180) % 256, "all ids of 8 bits, .* 16 bits"),
    "void rims": (np.where(RIM, 255, NUCLEI), "label 255 in 48 regions, the next is 48; .* 'ign"),
    "camera, 16 bits": (NOISE.integers(100, 9000, (64, 64)), "as in a camera image"),
    "camera, 8 bits": (
        np.kron(NOISE.integers(1, 256, (40, 40)), np.ones((3, 3), int)),
        "as in a camera image",
    ),
    "resized": (
        np.where(RIM, NOISE.integers(1, 49, NUCLEI.shape), NUCLEI),
        "48 values in .* blurred or resized",
    ),
}


@pytest.mark.parametrize("kind", FALSE)
def test_what_cannot_be_a_label_map_is_refused_in_one_line(kind):
    labels, words = FALSE[kind]
    with pytest.raises(UserError, match=rf"^dir/x\.png: .*{words}") as said:
        check_label_map(labels, "dir/x.png")
    assert "\n" not in str(said.value)


def test_one_ignored_frame_is_told_and_its_rims_around_two_are_refused():
    labels = grid(6, 40, 60, step=18, side=8)
    labels[:, -6:] = 255
    (note,) = check_label_map(labels, "x")
    assert note.startswith("label 255 is far above the next, 6; if it means 'ignore'")
    net = np.where(rims(np.kron(np.eye(1, dtype=int), np.ones((40, 60)))), 0, 0) + labels
    net[labels == 255] = 0
    net[0:24, 0:1] = net[0:24, 18:19] = net[0:24, 36:37] = net[0, 0:37] = net[23, 0:37] = 255
    with pytest.raises(UserError, match=r"label 255 in 1 regions, .* set it to 0"):
        check_label_map(net, "x")


@pytest.mark.parametrize("seed", range(12))
def test_drawn_nuclei_are_neither_refused_nor_odd(seed):
    labels = Synthetic(size=(96, 80)).read(f"synthetic-train-{seed:04d}").labels
    assert check_label_map(labels, "x") == ()
    shuffled = np.random.default_rng(seed).permutation(np.arange(1, 60_001))
    shuffled = np.concatenate([[0], shuffled])[labels]
    assert check_label_map(shuffled, "x") == ()


def test_honest_maps_that_resemble_false_ones():
    assert check_label_map(np.zeros((8, 8), np.int32), "x") == ()
    assert check_label_map(grid(255), "x") == ()  # all ids of 8 bits, each once
    assert check_label_map(grid(255, 90, 120) % 255, "x") == ()
    stray = grid(9, 40, 60)
    stray[1, 6] = stray[4, 6] = 1  # joins nothing: a pixel beside nucleus 1
    assert check_label_map(stray, "x") == ()
    ring = np.zeros((40, 40), np.int32)
    ring[4:20, 4:20], ring[10:12, 10:12] = 1, 0  # a nucleus with a hole
    ring[28:36, 28:36] = 2
    assert check_label_map(ring, "x") == ()


def test_odd_maps_get_a_note():
    far = grid(20)
    far[far == 20] = 3
    assert far_ids(pieces_of(far)).tolist() == [3]
    (note,) = check_label_map(far, "x")
    assert note.startswith("1 labels have pieces far from each other, first label 3")
    large = np.zeros((20, 20), np.int32)
    large[2:, 1:] = 7
    assert "label 7 covers 86% of the image" in check_label_map(large, "x")[0]
    packed = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((9, 9), int))
    assert "100% of the labels' borders" in check_label_map(packed, "x")[0]
    assert oddities(pieces_of(np.zeros((4, 4), int))) == ()


def test_pieces_of_a_mask():
    labels, notes = pieces_of_mask(np.where(INSIDE, 255, 0) + np.where(RIM, 100, 0), "x")
    np.testing.assert_array_equal(labels > 0, INSIDE)  # a soft edge is split at half
    assert notes == ("binary mask: its 48 pieces are the nuclei",)
    noise = NOISE.integers(0, 9, NUCLEI.shape)
    labels, _ = pieces_of_mask(np.where(NUCLEI > 0, 255 - noise, noise), "x")  # was a JPEG
    np.testing.assert_array_equal(labels > 0, NUCLEI > 0)
    for ids in (NUCLEI, NUCLEI * 5, np.where(NUCLEI == 48, 255, NUCLEI)):
        labels, _ = pieces_of_mask(ids, "x")  # a label map: all of it
        np.testing.assert_array_equal(labels > 0, NUCLEI > 0)
    labels, _ = pieces_of_mask(NUCLEI, "x")
    np.testing.assert_array_equal(labels > 0, NUCLEI > 0)
    with pytest.raises(UserError, match="set the background to 0"):
        pieces_of_mask(NUCLEI == 0, "x")
