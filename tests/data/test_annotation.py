"""Partial annotation: what is seen of an image, and manifests that repeat a choice."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nucleist.data.annotation import Annotation
from nucleist.data.choosing import nucleus_ids
from nucleist.data.formats.manifest import Entry, read_manifest, write_manifest
from nucleist.types import Record, UserError, Window


def grid_record(image_id="img", side=40):
    """16 squares of 6 px, 10 px apart; ids 3, 6, ... 48."""
    labels = np.zeros((side, side), np.int32)
    for index in range(16):
        y, x = divmod(index, 4)
        labels[10 * y + 2 : 10 * y + 8, 10 * x + 2 : 10 * x + 8] = 3 * (index + 1)
    image = np.repeat(labels[..., None].astype(np.uint8), 3, axis=2)
    return Record(image_id, image, labels)


@pytest.mark.parametrize("bad", [0, -0.5, 1.01, float("nan"), float("inf"), "half", True, None])
def test_bad_fraction_is_told(bad):
    with pytest.raises(UserError, match=r"^data\.annotation_fraction="):
        Annotation(fraction=bad)
    if bad is not None:
        with pytest.raises(UserError, match=r"^data\.crop_fraction="):
            Annotation(crop_fraction=bad)


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_bad_exemplars_are_told(bad):
    with pytest.raises(UserError, match=r"^data\.exemplars=.*whole number"):
        Annotation(exemplars=bad)


def test_two_ways_exclude_each_other():
    with pytest.raises(UserError, match=r"fraction=0.25 and crop_fraction=0.25 exclude"):
        Annotation(fraction=0.25, crop_fraction=0.25)
    assert Annotation(fraction=1, exemplars=2).exemplars == 2


WAYS = [{"fraction": 0.25}, {"exemplars": 3}, {"crop_fraction": 0.3}, {}]


@given(
    arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 9)),
    st.sampled_from(WAYS),
    st.integers(0, 3),
)
def test_no_hidden_label_is_seen(labels, way, seed):
    image = np.arange(labels.size * 3, dtype=np.uint16).reshape(*labels.shape, 3)
    record, before = Record("a", image, labels), labels.copy()
    annotation = Annotation(seed=seed, **way)
    choice = annotation.choose(record)
    expected = np.zeros_like(labels)  # oracle: pixel by pixel
    for y, x in np.ndindex(*labels.shape):
        if isinstance(choice, Window):
            kept = choice.y0 <= y < choice.y1 and choice.x0 <= x < choice.x1
        else:
            kept = labels[y, x] in choice
        expected[y, x] = labels[y, x] if kept else 0
    cut = choice.slices if isinstance(choice, Window) else (slice(None), slice(None))
    seen_image, seen = annotation.apply(record)
    np.testing.assert_array_equal(annotation.visible(record), expected)
    np.testing.assert_array_equal(seen, expected[cut])
    np.testing.assert_array_equal(seen_image, image[cut])
    assert seen.dtype == np.int32 and seen_image.dtype == np.uint16
    np.testing.assert_array_equal(labels, before)


def test_apply_keeps_as_many_as_asked_for():
    record = grid_record()
    count = {name: len(nucleus_ids(Annotation(**way).apply(record)[1])) for name, way in {
        "quarter": {"fraction": 0.25}, "two": {"exemplars": 2}, "all": {},
    }.items()}  # fmt: skip
    assert count == {"quarter": 4, "two": 2, "all": 16}


def test_apply_crop_keeps_cut_nuclei():
    record = grid_record()
    image, labels = Annotation(crop_fraction=0.25, seed=1).apply(record)
    assert labels.shape == image.shape[:2] == (20, 20)
    # The window of this seed begins at row 9, column 4: inside squares.
    cut = [i for i in nucleus_ids(labels) if (labels == i).sum() < (record.labels == i).sum()]
    assert cut


def test_image_without_nuclei():
    empty = Record("empty", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int32))
    for way in WAYS:
        assert not Annotation(**way).apply(empty)[1].any()
    assert Annotation(crop_fraction=0.25).apply(empty)[1].shape == (4, 4)


@pytest.mark.parametrize("way", [{"fraction": 0.25}, {"exemplars": 3}, {"crop_fraction": 0.3}])
def test_manifest_repeats_a_run(tmp_path, way):
    records = [grid_record(name) for name in ("b", "a", "c é\n")]
    annotation = Annotation(seed=5, **way)
    path = tmp_path / "new" / "kept.json"
    entries = {r.id: Entry(annotation.choose(r), (), annotation.complete(r)) for r in records}
    held_out = () if "crop_fraction" in way else tuple(entries["a"].choice[1:])
    entries["a"] = Entry(entries["a"].choice, held_out, pixels="0123456789abcdef")
    write_manifest(path, entries, annotation.settings())
    assert read_manifest(path) == entries
    assert Annotation(manifest=path).held_out() == {"a": list(held_out), "b": [], "c é\n": []}
    assert annotation.held_out() is None
    assert [p.name for p in path.parent.iterdir()] == ["kept.json"]
    again = pickle.loads(pickle.dumps(Annotation(manifest=path)))
    again.check_images(entries)
    for record in records:
        for left, right in zip(annotation.apply(record), again.apply(record), strict=True):
            np.testing.assert_array_equal(left, right)
    before = path.read_text()
    write_manifest(path, dict(reversed(entries.items())), annotation.settings())
    assert path.read_text() == before  # sorted


def test_manifest_of_other_data_is_told(tmp_path):
    path = tmp_path / "kept.json"
    write_manifest(path, {"img": Entry([3, 5]), "wide": Entry(Window(0, 0, 41, 40))})
    annotation = Annotation(manifest=path)
    with pytest.raises(UserError, match=r"kept.json: nucleus 5 is not among.*'img'"):
        annotation.apply(grid_record("img"))
    with pytest.raises(UserError, match=r"window \[0, 0, 41, 40\].*outside its 40 x 40 pixels"):
        annotation.apply(grid_record("wide"))
    with pytest.raises(UserError, match=r"no entry for image 'other'"):
        annotation.apply(grid_record("other"))
    with pytest.raises(UserError, match=r"no entry for image 'more'"):
        annotation.check_images(["img", "wide", "more"])
    with pytest.raises(UserError, match=r"image 'wide' is not in the training split"):
        annotation.check_images(["img"])
