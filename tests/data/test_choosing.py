"""Which nuclei and windows are chosen: sizes, nesting, uniformity, the same everywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleist.data.choosing import crop_window, keep_exemplars, keep_fraction
from nucleist.types import UserError


@pytest.mark.parametrize(
    ("n", "fraction", "kept"), [(0, 0.5, 0), (1, 0.05, 1), (12, 0.25, 3), (30, 0.05, 2), (7, 1, 7)]
)
def test_number_kept(n, fraction, kept):
    ids = keep_fraction(range(1, n + 1), fraction, 0, "a")
    assert len(ids) == kept == len(set(ids))
    assert set(ids) <= set(range(1, n + 1))


@given(
    st.sets(st.integers(1, 500), max_size=40),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(0, 9),
)
def test_fractions_nest_and_agree_with_exemplars(ids, one, other, seed):
    small, large = sorted([one, other])
    kept = keep_fraction(list(ids), small, seed, "image")
    assert set(kept) <= set(keep_fraction(list(ids), large, seed, "image")) <= ids
    if ids:
        assert kept == keep_exemplars(list(ids)[::-1], len(kept), seed, "image")


def test_order_depends_on_seed_and_image_only():
    ids = list(range(1, 21))
    chosen = {keep(ids) for keep in (lambda i: tuple(keep_fraction(i, 0.25, 0, "a")),) * 3}
    assert len(chosen) == 1
    assert keep_fraction(ids[::-1], 0.25, 0, "a") == keep_fraction(ids, 0.25, 0, "a")
    others = {tuple(keep_fraction(ids, 0.25, s, i)) for s in range(5) for i in "abcde"}
    assert len(others) == 25


def test_same_choice_in_another_process():
    # PYTHONHASHSEED changes hash(), on which the choice must not depend.
    code = (
        "from nucleist.data.choosing import *;"
        "print(keep_fraction(range(1, 30), 0.3, 4, 'x'), list(crop_window((60, 80), 0.25, 4, 'x')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = keep_fraction(range(1, 30), 0.3, 4, "x"), list(crop_window((60, 80), 0.25, 4, "x"))
    assert told.strip() == f"{here[0]} {here[1]}"


def test_every_nucleus_is_as_likely():
    # 2000 images, 5 of 20 kept: each id 500 times, standard deviation sqrt(2000*.25*.75) = 19.4.
    counts = np.zeros(21)
    for image in range(2000):
        counts[keep_fraction(range(1, 21), 0.25, 0, str(image))] += 1
    assert np.all(np.abs(counts[1:] - 500) < 5 * 19.4)


@pytest.mark.parametrize(
    ("shape", "share", "side"),
    [((60, 80), 0.25, (30, 40)), ((360, 360), 0.25, (180, 180)), ((64, 64), 1.0, (64, 64))],
)
def test_window_sides(shape, share, side):
    window = crop_window(shape, share, 0, "a")
    assert (window.y1 - window.y0, window.x1 - window.x0) == side
    assert 0 <= window.y0 and 0 <= window.x0 and window.y1 <= shape[0] and window.x1 <= shape[1]


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
    st.text(max_size=4),
)
def test_windows_nest(shape, one, other, image_id):
    inner = crop_window(shape, min(one, other), 1, image_id)
    outer = crop_window(shape, max(one, other), 1, image_id)
    assert 0 <= outer.y0 <= inner.y0 < inner.y1 <= outer.y1 <= shape[0]
    assert 0 <= outer.x0 <= inner.x0 < inner.x1 <= outer.x1 <= shape[1]


def test_window_positions_are_uniform():
    # Side 4 in 8 px: offsets 0..4, each 400 of 2000 times, standard deviation 17.9.
    offsets = [crop_window((8, 8), 0.25, 0, str(image)) for image in range(2000)]
    for axis in (0, 1):
        counts = np.bincount([window[axis] for window in offsets], minlength=5)
        assert np.all(np.abs(counts - 400) < 5 * 17.9)


@pytest.mark.parametrize("bad", [0, -0.5, 1.01, float("nan"), float("inf"), "half", True, None])
def test_bad_fraction_is_told(bad):
    with pytest.raises(UserError, match=r"^data\.annotation_fraction=.*above 0 and at most 1$"):
        keep_fraction([1, 2], bad, 0, "a")
