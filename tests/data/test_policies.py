"""Whom the labels come from: orders worked out by hand, nesting, equal counts, manifests."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drawn import many_discs

from nucleist.data import Synthetic
from nucleist.data.annotation import Annotation
from nucleist.data.choosing import nucleus_ids, number_of
from nucleist.data.module import NucleiData
from nucleist.data.policies import POLICIES, ease, in_order, quotas
from nucleist.ops.normalize import FullRange
from nucleist.types import Record, UserError


def drawn(count: int = 20, seed: int = 0, size: int = 64) -> Record:
    source = Synthetic(1, 0, (size, size), seed, (3.0, 5.0), count=(count, count))
    return source.read(source.splits()["train"][0])


def squares(places: dict[int, tuple[int, int]], side: int = 6) -> np.ndarray:
    labels = np.zeros((60, 60), np.int32)
    for nucleus, (y, x) in places.items():
        labels[y : y + side, x : x + side] = nucleus
    return labels


def gray(labels: np.ndarray, brightness: dict[int, int], background: int = 10) -> np.ndarray:
    image = np.full((*labels.shape, 3), background, np.uint8)
    for nucleus, value in brightness.items():
        image[labels == nucleus] = value
    return image


@pytest.mark.parametrize("policy", POLICIES)
@given(st.integers(0, 5), st.floats(0.02, 1), st.floats(0.02, 1))
@settings(max_examples=15, deadline=None)
def test_policies_nest_and_keep_equally_many(policy, seed, one, other):
    record = drawn(seed=seed % 3)
    ids = nucleus_ids(record.labels)
    small, large = sorted((one, other))
    kept = [Annotation(share, seed=seed, policy=policy).choose(record) for share in (small, large)]
    assert set(kept[0]) <= set(kept[1]) <= set(ids)
    assert [len(some) for some in kept] == [number_of(len(ids), s) for s in (small, large)]
    assert len(Annotation(exemplars=3, seed=seed, policy=policy).choose(record)) == 3
    assert sorted(in_order(record, policy, seed)) == ids


def test_random_is_as_it_was():
    record = drawn()
    assert Annotation(0.3, seed=4).choose(record) == Annotation(
        0.3, seed=4, policy="per_image"
    ).choose(record)
    assert Annotation(0.3).settings() == {
        "fraction": 0.3, "exemplars": None, "crop_fraction": None, "seed": 0, "policy": "random",
    }  # fmt: skip


@pytest.mark.slow
def test_the_same_order_in_another_process():
    code = (
        "import numpy as np; from nucleist.data.policies import *;"
        "from nucleist.types import Record; g = np.random.default_rng(0);"
        "labels = np.kron(np.arange(16).reshape(4, 4), np.ones((9, 9)));"
        "r = Record('x', g.integers(0, 99, (36, 36, 3)), labels.astype(np.int32));"
        "print([in_order(r, p, 3) for p in POLICIES])"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1] and told[0].count("[") == 1 + len(POLICIES)


def test_clustered_begins_in_a_corner_and_goes_outwards():
    labels = squares({1: (2, 2), 2: (2, 50), 3: (50, 2), 4: (50, 50), 5: (12, 2), 6: (40, 50)})
    seen = {}
    for seed in range(40):
        order = in_order(Record("a", gray(labels, {}), labels), "clustered", seed)
        seen.setdefault(order[0], order)
    assert set(seen) == {1, 2, 3, 4}
    # from the upper left corner: squared distances of the centres 4.5, 14.5 | 4.5 and so on
    assert seen[1][:2] == [1, 5] and seen[1][-1] == 4
    assert seen[4][:2] == [4, 6] and seen[4][-1] == 1


def test_ease_is_contrast_times_isolation_times_wholeness():
    labels = squares({1: (10, 10), 2: (10, 28), 3: (0, 50), 4: (40, 10), 5: (40, 16)})
    found = ease(gray(labels, {1: 110, 2: 60, 3: 200, 4: 90, 5: 90}), labels)
    # 12 px of background between 1 and 2, whose disc of 36 px has a diameter of 6.77
    apart = 12 / (12 + np.sqrt(4 * 36 / np.pi))
    assert found[1] == pytest.approx(100 * apart)
    assert found[2] == pytest.approx(50 * apart)
    assert found[3] == 0  # cut by the border
    assert found[4] == found[5] == 0  # they touch


def test_dark_nuclei_are_as_easy_as_bright_ones():
    labels = squares({1: (10, 10), 2: (10, 40)})
    bright = ease(gray(labels, {1: 60, 2: 200}, background=10), labels)
    dark = ease(gray(labels, {1: 195, 2: 55}, background=245), labels)
    assert dark == pytest.approx(bright)
    order = in_order(Record("a", gray(labels, {1: 60, 2: 200}), labels), "easy_first", 0)
    assert order == [2, 1]


def test_ease_of_one_of_none_and_of_a_full_image():
    one = squares({7: (20, 20)})
    assert ease(gray(one, {7: 60}), one) == {7: pytest.approx(50.0)}  # alone: isolation 1
    assert ease(gray(one, {}), np.zeros_like(one)) == {}
    full = np.full((8, 8), 3, np.int32)
    assert ease(gray(full, {}), full) == {3: 0.0}


def test_gaps_are_those_of_brute_force():
    labels = many_discs((64, 64), 21, (3, 8))[0]
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[labels > 0] = 100
    for nucleus, value in ease(flat, labels).items():
        own = np.argwhere(labels == nucleus)
        others = np.argwhere((labels > 0) & (labels != nucleus))
        gap = np.sqrt(((own[:, None] - others[None]) ** 2).sum(-1).min()) - 1
        diameter = np.sqrt(4 * len(own) / np.pi)
        assert value / 100 == pytest.approx(gap / (gap + diameter), abs=0.02)


def test_easy_first_sees_the_stored_image_not_the_normalised_one():
    source = Synthetic(1, 1, (64, 64), radius=(3.0, 5.0), count=(20, 20))
    image_id = source.splits()["train"][0]
    data = NucleiData(source, lambda image: np.zeros(image.shape, np.float32), None,
                      0.3, policy="easy_first")  # fmt: skip
    _, seen = data.train_set.partial(image_id)
    assert nucleus_ids(seen) == data.annotation.choose(source.read(image_id))


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 12), max_size=8),
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 3),
)  # fmt: skip
def test_quotas_share_out_evenly_and_nest(nuclei, one, other, seed):
    small, large = (quotas(nuclei, total, seed) for total in sorted((one, other)))
    assert all(small[name] <= large[name] <= nuclei[name] for name in nuclei)
    assert sum(small.values()) == min(min(one, other), sum(nuclei.values()))
    unfilled = [large[name] for name in nuclei if large[name] < nuclei[name]]
    if unfilled:
        assert max(large.values()) <= min(unfilled) + 1


def test_per_image_gives_a_sparse_image_as_many_as_a_crowded_one(tmp_path):
    source = Synthetic(6, 1, (64, 64), 1, (2.5, 3.5), count=(4, 40))
    random, same = (
        NucleiData(source, FullRange(), None, 0.25, policy=policy)
        for policy in ("random", "per_image")
    )
    assert random.labelled_nuclei() == same.labelled_nuclei()
    kept = [len(nucleus_ids(same.train_set.partial(i)[1])) for i in source.splits()["train"]]
    assert max(kept) - min(kept) <= 1
    same.write_manifest(tmp_path / "kept.json")
    stored = json.loads((tmp_path / "kept.json").read_text())
    assert stored["settings"]["policy"] == "per_image"
    again = NucleiData(source, FullRange(), None, manifest=str(tmp_path / "kept.json"))
    assert [len(nucleus_ids(again.train_set.partial(i)[1])) for i in again.ids("train")] == kept


def test_a_policy_is_of_nuclei_and_known():
    with pytest.raises(UserError, match=r"data.policy=easy"):
        Annotation(0.2, policy="easy")
    with pytest.raises(UserError, match=r"data.policy=clustered .*crop_fraction=0.5 keeps others"):
        Annotation(crop_fraction=0.5, policy="clustered")
