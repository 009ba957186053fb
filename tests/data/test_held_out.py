"""Nuclei held out of a training: how many, which, and that always the same are."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleist.data.held_out import hold_out
from nucleist.types import UserError

IMAGES = st.dictionaries(st.text(max_size=3), st.sets(st.integers(1, 99), max_size=8), max_size=6)
SHARES = st.floats(0.01, 0.99)


@given(IMAGES, SHARES, st.integers(0, 3))
@settings(max_examples=60)
def test_as_many_as_asked_for_and_never_the_last_of_an_image(kept, share, seed):
    held = hold_out({name: list(ids) for name, ids in kept.items()}, share, seed)
    assert held.keys() == kept.keys()
    assert all(ids == sorted(set(ids)) and set(ids) <= kept[i] for i, ids in held.items())
    sizes = [len(ids) for ids in kept.values()]
    # What may be taken: all but one of each image, or of images with one each all but one.
    spare = sum(max(size - 1, 0) for size in sizes) or max(sum(sizes) - 1, 0)
    assert sum(map(len, held.values())) == min(max(1, round(share * sum(sizes))), spare)
    if max(sizes, default=0) > 1:
        assert all(len(held[name]) < len(ids) for name, ids in kept.items() if ids)


@given(IMAGES, SHARES, SHARES, st.integers(0, 3))
@settings(max_examples=60)
def test_a_larger_share_contains_the_smaller_and_no_order_matters(kept, one, other, seed):
    small, large = sorted([one, other])
    few = hold_out({name: sorted(ids) for name, ids in kept.items()}, small, seed)
    turned = {name: sorted(kept[name])[::-1] for name in reversed(kept)}
    assert hold_out(turned, small, seed) == few
    many = hold_out(turned, large, seed)
    assert all(set(few[name]) <= set(many[name]) for name in kept)


def test_nothing_is_held_out_of_a_single_nucleus():
    assert hold_out({"a": [5], "b": []}, 0.9, 0) == {"a": [], "b": []}
    assert hold_out({}, 0.5, 0) == {}
    assert sum(map(len, hold_out({"a": [5], "b": [5]}, 0.99, 0).values())) == 1


def test_the_seed_chooses_and_every_nucleus_is_as_likely():
    # 2000 seeds, 4 of 20 nuclei: each 400 times, standard deviation sqrt(2000 * .2 * .8) = 17.9.
    kept = {"a": list(range(1, 11)), "b": list(range(1, 11))}
    counts = np.zeros((2, 11))
    for seed in range(2000):
        for row, ids in enumerate(hold_out(kept, 0.2, seed).values()):
            counts[row, ids] += 1
    assert (np.abs(counts[:, 1:] - 400) < 5 * 17.9).all()


def test_the_same_are_held_out_in_another_process():
    # PYTHONHASHSEED changes hash(), on which the choice must not depend.
    call = "hold_out({'a': range(1, 30), 'b': [1, 2]}, 0.3, 4)"
    told = subprocess.run(
        [sys.executable, "-c", f"from nucleist.data.held_out import *; print({call})"],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == str(hold_out({"a": range(1, 30), "b": [1, 2]}, 0.3, 4))


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5, float("nan"), True, "half"])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(UserError, match=r"^data\.held_out=.*above 0 and below 1$"):
        hold_out({"a": [1, 2]}, share, 0)
