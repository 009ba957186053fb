"""What a target says about pixels that nobody labelled."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.sources import InMemory, grid, make_data

from nucleist.data.paste import Exemplar, paste
from nucleist.data.targets import UNKNOWN, to_binary, to_target
from nucleist.data.transforms import Augment, light, strong
from nucleist.types import Window

EIGHT = grid(*range(1, 9))


def first(source=None, **options):
    """The target of the first draw, not augmented, beside the whole label map."""
    source = source or InMemory([EIGHT], [EIGHT])
    data = make_data(source, augment=options.pop("augment", Augment()), **options)
    return data.train_set[0][1], data


def test_complete_labels_have_no_unknown_pixel():
    target, _ = first()
    assert target.keys() == {"boxes", "label_map"}


@pytest.mark.parametrize("options", [{"annotation_fraction": 0.25}, {"exemplars": 3}])
def test_where_nuclei_were_left_out_only_the_kept_are_known(options):
    target, _ = first(**options)
    assert target["known"].dtype == torch.bool
    assert target["known"].equal(target["label_map"] > 0)
    assert len(target["boxes"]) == options.get("exemplars", 2)


def test_a_labelled_window_is_known():
    target, _ = first(crop_fraction=0.25)
    assert "known" not in target and target["label_map"].shape == (24, 32)


def test_what_the_source_has_not_completed_is_unknown():
    source = InMemory([EIGHT], [EIGHT])
    source.records["train-0"] = replace(
        source.records["train-0"], complete=(Window(0, 0, 12, 64), Window(12, 30, 20, 40))
    )
    target, _ = first(source)
    wanted = EIGHT > 0
    wanted[:12] = wanted[12:20, 30:40] = True
    assert (target["known"].numpy() == wanted).all()
    cut, data = first(source, crop_fraction=0.5)
    window = data.annotation.choose(source.records["train-0"])
    assert (cut["known"].numpy() == wanted[window.slices]).all()


def test_held_out_nuclei_are_unknown_in_a_complete_image():
    source = InMemory([EIGHT])
    target, data = first(source, validation="nuclei", held_out=0.25)
    assert data.held_out_nuclei() == 2 and len(target["boxes"]) == 6
    held = np.isin(EIGHT, data.train_set.held_out["train-0"])
    assert held.any() and (target["known"].numpy() == ~held).all()


def test_held_out_nuclei_are_unknown_in_an_area_and_so_is_all_outside():
    source = InMemory([EIGHT])
    area = np.zeros(EIGHT.shape, bool)
    area[:16] = True
    half = replace(source.records["train-0"], complete=(Window(0, 0, 16, EIGHT.shape[1]),))
    source.records["train-0"] = half
    target, data = first(source, validation="nuclei", held_out=0.25)
    held = np.isin(EIGHT, data.train_set.held_out["train-0"])
    assert (target["known"].numpy() == ((area | (EIGHT > 0)) & ~held)).all()


def test_held_out_nuclei_leave_all_around_unknown_where_labels_are_partial():
    target, _ = first(annotation_fraction=0.5, validation="nuclei", held_out=0.25)
    assert target["known"].equal(target["label_map"] > 0) and len(target["boxes"]) == 3


@pytest.mark.parametrize("augment", [light(crop=32), strong()])
def test_augmentation_keeps_unknown_apart(augment):
    source = InMemory([EIGHT], [EIGHT])
    half = replace(source.records["train-0"], complete=(Window(0, 0, 24, 64),))
    source.records["train-0"] = half
    data = make_data(source, augment=augment)
    partly = 0
    for draw in range(12):
        image, target, _ = data.train_set[draw]
        known = target.get("known", torch.ones(image.shape[1:], dtype=torch.bool))
        assert known[target["label_map"] > 0].all()
        partly += bool(known[target["label_map"] == 0].any()) and not bool(known.all())
    assert partly


def test_large_ids_are_numbered_anew_beside_unknown():
    labels = np.array([[UNKNOWN, 2**24 + 9], [0, 7]], np.int32)
    _, found = Augment()(np.zeros((2, 2, 3), np.float32), labels, 0)
    assert found.tolist() == [[-1, 2], [0, 1]]


def test_pasted_nuclei_are_known_and_numbered():
    pool = [Exemplar(np.ones((4, 4, 3), np.float32), np.ones((4, 4), bool))]
    image = np.zeros((20, 20, 3), np.float32)
    labels = np.full((20, 20), UNKNOWN, np.int32)
    found = max(
        (paste(image, labels, pool, 2, np.random.default_rng(seed))[1] for seed in range(9)),
        key=lambda map: map.max(),
    )
    assert set(np.unique(found)) == {-1, 1, 2}


def test_unknown_pixels_are_no_nucleus():
    labels = np.array([[-1, -1, 0], [4, 4, 2]], np.int32)
    target = to_target(labels)
    assert target["label_map"].tolist() == [[0, 0, 0], [2, 2, 1]]
    assert target["known"].tolist() == [[False, False, True], [True, True, True]]
    binary = to_binary(labels)
    assert binary["mask"].tolist() == [[0, 0, 0], [1, 1, 1]] and binary["count"] == 2
    assert binary["known"].equal(target["known"]) and "known" not in to_binary(labels[1:])
