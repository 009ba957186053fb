"""The data module: partial labels in training, all of them in evaluation."""

import json
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sources import InMemory, drain, grid, make_data, synthetic

from nucleist.data.annotation import Annotation
from nucleist.data.choosing import crop_window, keep_exemplars, keep_fraction
from nucleist.data.formats.manifest import Entry, write_manifest
from nucleist.data.targets import to_target
from nucleist.data.transforms import light, strong
from nucleist.ops.normalize import FullRange, Percentile
from nucleist.types import UserError

LARGE_IDS = (300, 70_000, 2**24 - 1)
TEST = [grid(1)]
"""There is an image to validate on, so no nucleus is held out of the training for that."""


def test_targets_from_any_ids():
    target = to_target(grid(*LARGE_IDS))
    assert target["boxes"].tolist() == [[2, 2, 8, 8], [14, 2, 20, 8], [26, 2, 32, 8]]
    assert target["label_map"].dtype == torch.int32
    assert target["label_map"].unique().tolist() == [0, 1, 2, 3]
    empty = to_target(grid())
    assert empty["boxes"].shape == (0, 4)


def test_the_data_module_refuses_windows_by_nuclei_under_binary_supervision():
    with pytest.raises(UserError, match=r"augment\.focus=1\.0"):
        make_data(augment=light(crop=16), supervision="binary")
    data = make_data(augment=light(crop=16, focus=0.0), supervision="binary")
    assert set(data.train_set[0][1]) == {"mask", "count"}


def kept_ids(data, image_id):
    values = np.unique(data.train_set.partial(image_id)[1])
    return values[values > 0].tolist()


def test_a_larger_fraction_contains_the_smaller():
    kept = {}
    for fraction in (0.05, 0.25, 0.5, 1.0):
        data = make_data(annotation_fraction=fraction)
        kept[fraction] = {i: set(kept_ids(data, i)) for i in data.train_set.ids}
    for image_id, every in kept[1.0].items():
        assert len(kept[0.05][image_id]) == 1
        assert kept[0.05][image_id] <= kept[0.25][image_id] <= kept[0.5][image_id] < every
        assert len(kept[0.5][image_id]) == round(0.5 * len(every))


def test_training_shows_the_kept_labels_and_testing_all():
    source = InMemory([grid(*range(1, 9))], [grid(*range(1, 9))])
    data = make_data(source, annotation_fraction=0.25, batch_size=1, steps=1)
    wanted = keep_fraction(range(1, 9), 0.25, 0, "train-0")
    assert len(wanted) == 2 and kept_ids(data, "train-0") == wanted
    ((images, targets, names),) = data.train_dataloader()
    labels = source.records["train-0"].labels
    assert torch.equal(targets[0]["label_map"] > 0, torch.from_numpy(np.isin(labels, wanted)))
    assert len(targets[0]["boxes"]) == 2 and names == ["train-0"]
    assert (images[0][:, labels > 0] == 1).all()  # the image still shows all of them
    for loader in (data.val_dataloader(), data.test_dataloader()):
        ((_, (whole,), names),) = loader
        assert names == ["test-0"] and whole.complete is None
        assert torch.equal(whole.labels, torch.from_numpy(source.records["test-0"].labels))
    ((_, (kept,), _),) = data.kept_dataloader()
    assert kept.labels.unique().tolist() == [0, *wanted]
    assert (source.records["train-0"].labels == grid(*range(1, 9))).all()  # unchanged


@given(seed=st.integers(0, 20), way=st.sampled_from(["annotation_fraction", "exemplars"]))
@settings(max_examples=10, deadline=None)
def test_hidden_labels_change_nothing_that_training_sees(seed, way):
    # The same images and manifest with the hidden nuclei erased, renumbered or moved: if one
    # label leaked, some batch, calibration image or number would differ.
    value = {"annotation_fraction": 0.4, "exemplars": 2}[way]
    choose = Annotation(**{way.removeprefix("annotation_"): value}, seed=seed).choose
    full = InMemory([grid(*range(1, 9)), grid(*range(3, 9))])
    kept = {name: choose(record) for name, record in full.records.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(f"{folder}/m.json", {name: Entry(ids) for name, ids in kept.items()})
        seen = [everything_seen(full, f"{folder}/m.json")]
        for change in (np.zeros_like, lambda ids: ids + 100, lambda ids: np.roll(ids, 1, 1)):
            other = InMemory([])
            other.ids["train"] = full.ids["train"]
            for name, record in full.records.items():
                visible = np.where(np.isin(record.labels, kept[name]), record.labels, 0)
                hidden = np.where(visible > 0, 0, record.labels)
                labels = np.where(visible > 0, visible, change(hidden) * (hidden > 0))
                other.records[name] = replace(record, labels=labels.astype(np.int32))
            seen.append(everything_seen(other, f"{folder}/m.json"))
    assert all(one == seen[0] for one in seen[1:])


def everything_seen(source, manifest):
    """What a training takes from its data module, as comparable values."""
    data = make_data(
        source, light(crop=32), manifest=manifest, pasted=2, batch_size=2, steps=3, seed=1
    )
    looked_at = [
        (images[0].numpy().tobytes(), truth[0].labels.numpy().tobytes(), names)
        for loader in (data.kept_dataloader(), data.val_dataloader())
        for images, truth, names in loader
    ]
    numbers = data.median_box_size(), data.labelled_nuclei()
    return drain(data.train_dataloader()), looked_at, numbers


def test_exemplars():
    source = InMemory([grid(*range(1, 9))], TEST)
    data = make_data(source, exemplars=3)
    assert kept_ids(data, "train-0") == keep_exemplars(range(1, 9), 3, 0, "train-0")


def test_a_crop_is_cut_out_with_all_its_nuclei_and_normalised_as_the_whole():
    labels = grid(*range(1, 13), shape=(40, 64))
    source = InMemory([labels], TEST)
    source.records["train-0"].image[0, 0] = 255  # outside the window, and the brightest
    data = make_data(source, crop_fraction=0.25, normalize=Percentile(0, 100))
    window = crop_window((40, 64), 0.25, 0, "train-0")
    rows, cols = slice(window.y0, window.y1), slice(window.x0, window.x1)
    image, kept = data.train_set.partial("train-0")
    assert image.shape == (20, 32, 3) and window.y0 + window.x0 > 0
    assert (kept == labels[rows, cols]).all() and kept.any()
    whole = Percentile(0, 100)(source.records["train-0"].image)
    assert (image == whole[rows, cols]).all() and image.max() < 1


def test_a_manifest_repeats_an_earlier_choice(tmp_path):
    path = tmp_path / "manifest.json"
    source = synthetic()
    first = make_data(source, annotation_fraction=0.3, annotation_seed=7)
    count = first.write_manifest(path)
    assert count == sum(len(target["boxes"]) for target in first.kept_targets())
    assert json.loads(path.read_text())
    again = make_data(source, manifest=str(path))
    for image_id in first.train_set.ids:
        assert kept_ids(again, image_id) == kept_ids(first, image_id)
    with pytest.raises(UserError, match="not in the training split"):
        make_data(synthetic(n_train=4), manifest=str(path))


@pytest.mark.parametrize("augment", [light(crop=40), strong(), strong(crop=40)])
def test_large_ids_survive_augmentation(augment):
    source = InMemory([grid(*LARGE_IDS)], TEST)
    labels = augment(*make_data(source).train_set.partial("train-0"), seed=1)[1]
    assert set(np.unique(labels)) <= {0, *LARGE_IDS} and labels.any()
    data = make_data(source, augment, batch_size=1, steps=8)
    for _, (target,), _ in data.train_dataloader():
        count = len(target["boxes"])
        assert target["label_map"].unique().tolist() in (
            list(range(count + 1)),
            list(range(1, count + 1)),
        )
    ((_, (kept,), _),) = data.kept_dataloader()
    assert kept.labels.unique().tolist() == [0, *LARGE_IDS]


def test_median_box_size():
    labels = np.zeros((48, 60), np.int32)
    for i, (width, height) in enumerate([(4, 6), (8, 3), (20, 9)]):
        labels[12 * i : 12 * i + height, 5 : 5 + width] = i + 1
    data = make_data(InMemory([labels], TEST))
    assert data.median_box_size() == [8, 6]
    # the net resizes the short side, 48 px, to 96
    assert data.median_box_size(96) == [16, 12]


def test_median_box_size_is_of_the_kept_labels():
    data = make_data(synthetic(), annotation_fraction=0.05)
    boxes = torch.cat([target["boxes"] for target in data.kept_targets()])
    assert len(boxes) == 5
    sides = np.sort((boxes[:, 2:] - boxes[:, :2]).numpy(), axis=0)
    assert data.median_box_size() == sides[2].tolist()


def test_without_any_label_there_is_no_median():
    with pytest.raises(UserError, match="no nucleus is labelled"):
        make_data(InMemory([grid()])).median_box_size()


def test_images_without_nuclei_are_shown():
    data = make_data(InMemory([grid(), grid(1)]), light(crop=32), batch_size=2, steps=1)
    ((_, targets, _),) = data.train_dataloader()
    assert sorted(len(target["boxes"]) for target in targets) == [0, 1]


def test_a_missing_split_is_named():
    source = InMemory([grid(1)])
    with pytest.raises(UserError, match=r"split 'val', it has train \(1\), test \(0\)"):
        make_data(source, splits={"train": "val"})
    for use in ("val", "test"):
        with pytest.raises(UserError, match=rf"split 'hold'.*set data\.splits\.{use}"):
            make_data(source, splits={use: "hold"}).ids(use)


def test_a_data_set_may_have_no_test_images():
    data = make_data(InMemory([grid(1)]))
    assert data.ids("test") == list(data.test_dataloader()) == []


def test_normalisation_is_the_callers():
    source = InMemory([grid(1)])
    assert make_data(source, normalize=FullRange()).train_set.partial("train-0")[0].max() == (
        np.float32(120) / np.float32(255)
    )
