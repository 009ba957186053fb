"""Pieces of nuclei, worked out by hand."""

import numpy as np
import pytest

from nucleist.ops.pieces import clean_pieces


def drawn():
    """Nucleus 1 of 20 px with pieces of 5 and 1 px, the last beside nucleus 2 of 12 px."""
    labels = np.zeros((12, 16), np.int32)
    labels[1:5, 1:6] = 1
    labels[8, 1:6] = 1
    labels[1:5, 10:13] = 2
    labels[2, 13] = 1
    return labels


def test_small_pieces_are_dropped():
    labels = drawn()
    np.testing.assert_array_equal(clean_pieces(labels, 0), labels)
    np.testing.assert_array_equal(clean_pieces(labels, 0.05), labels)  # 1 px is 0.05 of 20
    wanted = labels.copy()
    wanted[2, 13] = 0
    np.testing.assert_array_equal(clean_pieces(labels, 0.06), wanted)
    np.testing.assert_array_equal(clean_pieces(labels, 0.25), wanted)  # 5 px is not below
    wanted[8] = 0
    np.testing.assert_array_equal(clean_pieces(labels, 0.26), wanted)
    np.testing.assert_array_equal(clean_pieces(labels, 1), wanted)
    assert labels[2, 13] == 1, "the input stays"


def test_small_pieces_are_given_to_the_nucleus_that_they_touch():
    wanted = drawn()
    wanted[2, 13], wanted[8] = 2, 0  # nucleus 2 has it; the other piece touches none
    np.testing.assert_array_equal(clean_pieces(drawn(), 1, "give"), wanted)


def test_equal_pieces_and_pieces_joined_at_corners():
    labels = np.zeros((8, 8), np.int32)
    labels[0, 0:2] = labels[4, 4:6] = 7
    wanted = labels.copy()
    wanted[4] = 0
    np.testing.assert_array_equal(clean_pieces(labels, 1), wanted)  # the first from the top
    np.testing.assert_array_equal(clean_pieces(labels, 0.99), labels)
    np.testing.assert_array_equal(clean_pieces(np.eye(5, dtype=np.int32), 1), np.eye(5))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small", ["drop", "give"])
def test_no_nucleus_vanishes_and_one_piece_each_is_left(seed, small):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 6, (9, 8)), np.ones((2, 3), int)).astype(np.int32)
    cleaned = clean_pieces(labels, 1, small)
    assert np.array_equal(np.unique(cleaned), np.unique(np.append(labels, 0)))
    if small == "drop":
        np.testing.assert_array_equal(clean_pieces(cleaned, 1), cleaned)
        assert (cleaned[cleaned > 0] == labels[cleaned > 0]).all()


def test_nothing_and_bad_shares():
    empty = np.zeros((4, 4), np.int32)
    np.testing.assert_array_equal(clean_pieces(empty, 0.5), empty)
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="from 0 to 1"):
            clean_pieces(empty, share)
