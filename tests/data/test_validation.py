"""What a training is validated on: images apart, or labelled nuclei that it does not see."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sources import InMemory, drain, grid, make_data

from nucleist.data.choosing import nucleus_ids
from nucleist.data.formats.manifest import read_manifest
from nucleist.data.held_out import hold_out
from nucleist.data.transforms import light, strong
from nucleist.types import UserError, Window

TRAIN = [grid(*range(1, 9)), grid(*range(3, 9)), grid(70_000)]


def alone():
    """Three images to train on, with 8, 6 and 1 nuclei, and no other."""
    return InMemory(TRAIN)


def held(data):
    """The nuclei of each training image that training does not see."""
    return {name: list(ids) for name, ids in data.train_set.held_out.items()}


def test_images_are_taken_where_there_are_any():
    both = InMemory(TRAIN, [grid(1)])
    data = make_data(both)
    assert data.validation == "images" and not data.holds_out and held(data)["train-0"] == []
    assert not data.validates_apart  # the test images
    both.ids["val"] = ["test-0"]
    assert make_data(both, splits={"val": "val"}).validates_apart
    data = make_data(alone())
    assert data.validation == "nuclei" and data.holds_out and data.validates_apart
    assert sum(map(len, held(data).values())) == 3  # 0.2 of 15
    asked = make_data(both, validation="nuclei")
    assert held(asked) == held(data) and asked.validates_apart


def test_what_cannot_be_is_one_line():
    for options, words in (
        ({"validation": "images"}, "no validation images.*data.validation=nuclei"),
        ({"validation": "labels"}, "data.validation=labels.*nuclei"),
        ({"validation": "nuclei", "supervision": "binary"}, "background.*data.splits.val"),
    ):
        with pytest.raises(UserError, match=words) as error:
            make_data(alone(), **options)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"data\.held_out=1 is not a share"):
        make_data(alone(), held_out=1).labelled_nuclei()


def test_with_binary_supervision_nothing_is_held_out():
    data = make_data(alone(), supervision="binary")
    assert not data.holds_out and not data.validates_apart and list(data.val_dataloader()) == []


@pytest.mark.parametrize("train", [[grid(5)], [grid(5), grid()]])
def test_a_single_nucleus_is_trained_on(train):
    data = make_data(InMemory(train))
    assert data.validation == "nuclei" and not data.holds_out and not data.validates_apart
    assert data.labelled_nuclei() == 1 and list(data.val_dataloader()) == []
    ((_, (truth,), names),) = list(data.kept_dataloader())[:1]
    assert names == ["train-0"] and truth.labels.unique().tolist() == [0, 5]


def test_none_is_held_out_where_none_is_wanted():
    data = make_data(alone(), held_out=None)
    assert not data.holds_out and data.labelled_nuclei() == 15


WAYS = [{}, {"annotation_fraction": 0.6}, {"exemplars": 4}, {"crop_fraction": 0.6}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_held_out_and_seen_nuclei_are_the_kept_ones(way, share):
    data = make_data(alone(), held_out=share, **way)
    names = {name for _, _, (name,) in data.val_dataloader()}
    assert names == {name for name, ids in held(data).items() if ids}
    for name in data.train_set.ids:
        image, seen = data.train_set.partial(name)
        shown, hidden, complete, known = data.train_set.hidden(name)
        assert nucleus_ids(hidden) == held(data)[name] and shown is image and known is seen
        assert not complete.any() and complete.shape == hidden.shape == seen.shape
        assert not ((seen > 0) & (hidden > 0)).any()
        every = data.annotation.apply(data.record(name))[1]
        assert (np.maximum(seen, hidden) == every).all()
    for loader in (data.val_dataloader(), data.kept_dataloader()):
        for _, (truth,), (name,) in loader:
            assert nucleus_ids(truth.labels.numpy()) == held(data)[name]
            assert truth.complete.dtype == torch.bool and not truth.complete.any()


def everything_trained_on(data):
    """All that a training takes from its data module, as comparable values."""
    pasted = [(e.image.tobytes(), e.mask.tolist()) for e in data.train_set.exemplars]
    kept = [(t["boxes"].tolist(), t["label_map"].tolist()) for t in data.kept_targets()]
    numbers = data.median_box_size(), data.labelled_nuclei()
    return drain(data.train_dataloader()), kept, pasted, numbers


@given(st.integers(0, 9), st.sampled_from([light(crop=32), strong(crop=32)]))
@settings(max_examples=6, deadline=None)
def test_what_is_held_out_does_not_reach_the_training(seed, augment):
    """The same training as on labels without these nuclei, validated on images.

    Windows around nuclei, pasted nuclei and boxes of the usual size come from labels too.
    """
    options = {"pasted": 3, "batch_size": 2, "steps": 4, "seed": seed, "annotation_seed": seed}
    data = make_data(alone(), augment, held_out=0.4, **options)
    assert sum(map(len, held(data).values())) == 6
    without = InMemory(TRAIN, [grid(1)])
    for name, ids in held(data).items():
        record = without.records[name]
        labels = np.where(np.isin(record.labels, ids), 0, record.labels)
        without.records[name] = replace(record, labels=labels)
    other = make_data(without, augment, **options)
    assert not other.holds_out and everything_trained_on(data) == everything_trained_on(other)
    # With all labels it is another one.
    every = make_data(InMemory(TRAIN, [grid(1)]), augment, **options)
    assert everything_trained_on(data) != everything_trained_on(every)


def test_no_held_out_nucleus_is_pasted():
    data = make_data(alone(), pasted=2, held_out=0.4)
    seen = sum(len(nucleus_ids(data.train_set.partial(i)[1])) for i in data.train_set.ids)
    assert len(data.train_set.exemplars) == seen == data.labelled_nuclei() == 9


def test_a_manifest_says_what_is_held_out_and_repeats_it(tmp_path):
    path = tmp_path / "manifest.json"
    first = make_data(alone(), held_out=0.4, annotation_fraction=0.8, annotation_seed=3)
    assert first.write_manifest(path) == first.labelled_nuclei()
    entries = read_manifest(path)
    assert {name: list(entry.held_out) for name, entry in entries.items()} == held(first)
    assert sum(len(entry.choice) for entry in entries.values()) > first.labelled_nuclei()
    assert all(entry.complete is False for entry in entries.values() if entry.held_out)
    assert entries["train-2"].complete is True  # of one nucleus, which is labelled
    again = make_data(alone(), manifest=str(path), held_out=0.1, annotation_seed=9)
    assert held(again) == held(first)
    for name in first.train_set.ids:
        assert (again.train_set.partial(name)[1] == first.train_set.partial(name)[1]).all()
    again.write_manifest(tmp_path / "again.json")
    images = json.loads(path.read_text())["images"]
    assert json.loads((tmp_path / "again.json").read_text())["images"] == images


def test_a_manifest_without_held_out_nuclei_leaves_the_choice(tmp_path):
    """It is of a run that was validated on images, or of an earlier version."""
    path = tmp_path / "manifest.json"
    make_data(InMemory(TRAIN, [grid(1)]), annotation_fraction=0.8).write_manifest(path)
    kept = {name: entry.choice for name, entry in read_manifest(path).items()}
    data = make_data(alone(), manifest=str(path), held_out=0.4)
    assert held(data) == hold_out(kept, 0.4, 0) and data.holds_out


def test_the_pixels_of_an_image_are_known_by_a_hash_whatever_its_name(tmp_path):
    found = []
    for train in (TRAIN, TRAIN[::-1]):
        make_data(InMemory(train)).write_manifest(tmp_path / "manifest.json")
        entries = read_manifest(tmp_path / "manifest.json")
        found.append([entries[name].pixels for name in ("train-0", "train-1", "train-2")])
    assert found[0] == found[1][::-1] and len(set(found[0])) == 3


def test_another_normalisation_acts_on_pasted_nuclei_too():
    data = make_data(alone(), pasted=1)
    before = data.train_set.exemplars
    data.set_normalize(lambda image: np.zeros(image.shape, np.float32))
    assert len(data.train_set.exemplars) == len(before)
    assert all(not exemplar.image.any() for exemplar in data.train_set.exemplars)


def test_a_window_of_an_image_holds_nuclei_of_the_window_out():
    data = make_data(alone(), crop_fraction=0.5, held_out=0.5)
    for name, ids in held(data).items():
        window = data.annotation.choose(data.record(name))
        assert isinstance(window, Window)
        assert set(ids) <= set(nucleus_ids(data.record(name).labels[window.slices]))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_each_image_with_held_out_nuclei_is_validated_once(world):
    names, batches = [], []
    for rank in range(world):
        data = make_data(alone(), held_out=0.4)
        data.trainer = type("Share", (), {"global_rank": rank, "world_size": world})
        own = list(data.val_dataloader())
        batches.append(len(own))
        names += [name for _, _, some in own for name in some]
    assert sorted(names) == ["train-0", "train-1"] and min(batches) > 0
