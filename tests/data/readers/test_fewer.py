"""Fewer training images: nested, chosen by a seed, and nothing else changes."""

import pytest
from support.sources import InMemory, grid

from nucleist.config.compose import compose
from nucleist.data.catalog import open_source
from nucleist.data.module import NucleiData
from nucleist.data.readers.fewer import Fewer
from nucleist.ops.normalize import FullRange
from nucleist.types import UserError


def source():
    return InMemory([grid(1)] * 12, [grid(1, 2)] * 3)


def test_a_larger_number_contains_the_smaller_and_the_test_stays():
    some = [Fewer(source(), count).splits() for count in (3, 7, 12)]
    assert [len(splits["train"]) for splits in some] == [3, 7, 12]
    assert set(some[0]["train"]) < set(some[1]["train"]) < set(some[2]["train"])
    assert all(splits["test"] == source().splits()["test"] for splits in some)
    assert some[0]["train"] == sorted(some[0]["train"])


def test_seeds_choose_other_images():
    assert len({tuple(Fewer(source(), 4, seed=s).splits()["train"]) for s in range(6)}) > 3


@pytest.mark.parametrize("bad", [0, 2.5, True, -1])
def test_what_is_no_number_of_images_is_told(bad):
    with pytest.raises(UserError, match=r"data.train_images=.*whole number of 1 or more"):
        Fewer(source(), bad)


def test_more_images_than_there_are_is_told():
    with pytest.raises(UserError, match=r"data.train_images=13: split 'train' has 12 images"):
        Fewer(source(), 13).splits()


def test_the_module_and_the_catalog_take_the_same_images():
    data = NucleiData(source(), FullRange(), None, train_images=5, annotation_seed=2)
    assert len(data.ids("train")) == len(data.train_set.ids) == 5
    words = ["data.source.n_train=9", "data.train_images=4", "data.annotation_seed=1"]
    chosen = open_source("synthetic", words).splits()["train"]
    assert len(chosen) == 4
    assert compose("train", words).data.train_images == 4
