"""Splits by group: nothing is cut, each image tests once, sizes are about what was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sources import InMemory, grid

from nucleist.config.compose import compose
from nucleist.data.catalog import open_source
from nucleist.data.module import NucleiData
from nucleist.data.readers.folds import ByGroup, divide
from nucleist.data.transforms import flips
from nucleist.ops.normalize import Percentile
from nucleist.types import Source, UserError

many = st.dictionaries(st.text(min_size=1, max_size=3), st.sampled_from("abcdefgh"), max_size=30)


class Grouped(InMemory):
    """Images of which each three belong together."""

    grouped = True

    def groups(self):
        return {name: f"g{number // 3}" for number, name in enumerate(sorted(self.records))}


def test_images_can_be_split_without_regard_to_groups():
    splits = ByGroup(source(), folds=3, by="image").splits()
    groups = source().groups()
    assert sorted(i for some in splits.values() for i in some) == sorted(groups)
    assert [len(splits[s]) for s in ("train", "val", "test")] == [5, 5, 5]
    assert {groups[i] for i in splits["test"]} & {groups[i] for i in splits["train"]}
    with pytest.raises(UserError, match=r"data\.split_by=fields"):
        ByGroup(source(), folds=3, by="fields")


def source(train=10, test=5):
    return Grouped([grid(1)] * train, [grid(1, 2)] * test)


@given(groups=many, folds=st.integers(2, 5), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_parts_cut_no_group_and_lose_nothing(groups, folds, seed):
    shares = {str(number): 1 / folds for number in range(folds)}
    parts = divide(groups, shares, seed)
    assert sorted(name for some in parts.values() for name in some) == sorted(groups)
    of = {name: part for part, some in parts.items() for name in some}
    assert len({(groups[name], of[name]) for name in groups}) == len(set(groups.values()))
    # Greedy by size: no two parts differ by more than the largest group.
    sizes = [len(some) for some in parts.values()]
    largest = max((list(groups.values()).count(one) for one in groups.values()), default=0)
    assert max(sizes) - min(sizes) <= largest
    assert divide(dict(reversed(groups.items())), shares, seed) == parts


def test_shares_are_those_asked_for():
    groups = {str(number): str(number) for number in range(100)}
    parts = divide(groups, {"train": 0.6, "val": 0.15, "test": 0.25}, 0)
    assert {part: len(some) for part, some in parts.items()} == {"train": 60, "val": 15, "test": 25}
    assert divide(groups, {"train": 0.6, "val": 0.15, "test": 0.25}, 1) != parts


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_image_tests_once(folds):
    every = source()
    splits = [ByGroup(every, folds, fold).splits() for fold in range(folds)]
    tested = [name for one in splits for name in one["test"]]
    assert sorted(tested) == sorted(every.records)
    for number, one in enumerate(splits):
        assert sum(map(len, one.values())) == 15
        assert ("val" in one) == (folds > 2)
        if folds > 2:
            assert one["val"] == splits[(number + 1) % folds]["test"]
        groups = {split: {every.groups()[name] for name in some} for split, some in one.items()}
        assert sum(map(len, groups.values())) == 5


def test_images_without_labels_stay_apart():
    every = source(9, 0)
    every.ids = {"train": every.ids["train"][:6], "unlabelled": every.ids["train"][6:]}
    splits = ByGroup(every, 2).splits()
    assert splits["unlabelled"] == every.ids["unlabelled"]
    assert len(splits["train"]) == len(splits["test"]) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folds": 1}, "data.folds=1"),
        ({"folds": 3, "fold": 3}, "data.fold=3"),
        ({"folds": 6}, "5 groups are too few"),
        ({"folds": 2, "fractions": {"train": 1}}, "one of the two"),
        ({}, "one of the two"),
        ({"fractions": {"train": 0.5, "test": 0.4}}, "sum 1"),
        ({"fractions": {"train": 0.5, "exam": 0.5}}, "exam"),
        ({"fractions": {"train": 0.9, "test": 0.05, "val": 0.05}}, "5 groups are too few for 3"),
    ],
)
def test_what_cannot_be_split_is_told(settings, words):
    with pytest.raises(UserError, match=words) as told:
        ByGroup(source(), **settings).splits()
    assert "\n" not in str(told.value)


def test_a_data_module_splits_by_group():
    data = NucleiData(source(), Percentile(), flips, folds=3, fold=1, splits={"val": "val"})
    uses = {use: data.ids(use) for use in ("train", "val", "test")}
    assert sorted(name for some in uses.values() for name in some) == sorted(source().records)
    groups = [{source().groups()[name] for name in some} for some in uses.values()]
    assert not groups[0] & groups[1] and not groups[1] & groups[2] and not groups[0] & groups[2]
    assert data.validation == "images" and data.validates_apart


def test_settings_split_by_group():
    assert compose("train", ["data=bbbc360"]).data.splits.val == "test"
    for word in ("data.folds=5", "data.fractions={train: 0.5, val: 0.25, test: 0.25}"):
        assert compose("train", ["data=bbbc360", word]).data.splits.val == "val"
        kept = compose("train", ["data=bbbc360", word, "data.splits.val=test"])
        assert kept.data.splits.val == "test"
    opened = open_source("synthetic", ["data.folds=3", "data.source.n_train=6"])
    assert isinstance(opened, Source)
    assert {split: len(some) for split, some in opened.splits().items()} == {
        "train": 12, "val": 12, "test": 12,
    }  # fmt: skip
    record = opened.read(opened.splits()["test"][0])
    assert record.image.dtype == np.uint8 and opened.groups()[record.id] == record.id
