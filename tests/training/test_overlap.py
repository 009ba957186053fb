"""Weights that were trained on what is now tested or validated are warned of, and no others."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.sources import InMemory, grid, make_data

from nucleist.training.overlap import seen_before, weights_file
from nucleist.types import UserError

TRAIN, TEST = [grid(*range(1, 9)), grid(*range(3, 9))], [grid(1)]


def earlier(folder: Path, train=TRAIN, test=TEST, **options) -> str:
    """The weights of a run on these images, as far as it matters here."""
    make_data(InMemory(train, test), **options).write_manifest(folder / "manifest.json")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    weights = weights_file(str(folder))
    assert weights == str(folder / "checkpoints" / "last.ckpt")
    return weights


def now(train, test, val=()):
    """Images under other names than those of the earlier run."""
    source, named = InMemory(train, test), InMemory([])
    source.ids["val"] = source.ids["test"][len(test) - len(val) :]
    source.ids["test"] = source.ids["test"][: len(test) - len(val)]
    named.ids = {split: [f"new-{i}" for i in ids] for split, ids in source.ids.items()}
    named.records = {f"new-{i}": replace(r, id=f"new-{i}") for i, r in source.records.items()}
    return make_data(named, splits={"val": "val"})


@pytest.mark.parametrize(
    ("test", "val", "words"),
    [
        ([TRAIN[1], grid(1, 2)], [], "1 test image (new-test-0)"),
        ([grid(1, 2)], TRAIN, "2 validation images (new-test-1, ...)"),
        (TRAIN, TRAIN[:1], "2 test images (new-test-0, ...) and 1 validation image (new-test-2)"),
        ([grid(1, 2)], [grid(1, 2, 3)], ""),
    ],
)
def test_images_are_known_by_their_pixels(test, val, words, tmp_path: Path) -> None:
    weights = earlier(tmp_path)
    line = seen_before(weights, now([grid(5)], [*test, *val], val))
    assert line == "" if not words else line.startswith(f"weights={weights}: were trained on ")
    assert f"trained on {words} of this run" in line or not words
    assert "\n" not in line


def test_validation_images_that_are_the_test_images_are_named_once(tmp_path: Path) -> None:
    weights = earlier(tmp_path)
    line = seen_before(weights, make_data(InMemory([grid(5)], TRAIN[:1])))
    assert "1 test image (test-0) of this run" in line


def test_what_is_validated_and_trained_on_alike_is_no_surprise(tmp_path: Path) -> None:
    weights = earlier(tmp_path)
    data = make_data(InMemory(TRAIN, [grid(1, 2)]), splits={"val": "train"})
    assert seen_before(weights, data) == ""


def test_the_same_held_out_nuclei_are_unseen_and_others_are_not(tmp_path: Path) -> None:
    for name in ("held", "all", "few", "window"):
        (tmp_path / name).mkdir()
    data = make_data(InMemory(TRAIN), held_out=0.3)
    held = sum(map(len, data.train_set.held_out.values()))
    assert held == 4  # 0.3 of 14
    assert seen_before(earlier(tmp_path / "held", test=(), held_out=0.3), data) == ""
    for name, options in (("all", {}), ("window", {"crop_fraction": 0.9})):
        assert "trained on 4 held-out nuclei of" in seen_before(
            earlier(tmp_path / name, **options), data
        )
    # Of the 4 that were known then, at most 4 are held out now.
    few = earlier(tmp_path / "few", exemplars=2)
    kept = make_data(InMemory(TRAIN, [grid(1)]), exemplars=2).train_set
    seen = [
        number
        for image_id, ids in data.train_set.held_out.items()
        for number in ids
        if (kept.partial(image_id)[1] == number).any()
    ]
    line = seen_before(few, data)
    assert f"trained on {len(seen)} held-out nucle" in line if seen else line == ""


def test_nothing_is_known_of_other_weights(tmp_path: Path) -> None:
    data = now([grid(5)], TRAIN)
    for weights in (None, "imagenet", "coco", str(tmp_path / "elsewhere.pt")):
        assert weights_file(weights) == weights
        assert seen_before(weights, data) == ""
    weights = earlier(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"pixels"', '"other"'))  # an earlier version
    assert seen_before(weights, data) == ""


def test_a_folder_without_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        weights_file(str(tmp_path))
    assert str(error.value) == (
        f"weights={tmp_path}: no checkpoint in this folder; give a run folder, the .ckpt of its "
        "checkpoints folder, or the name of a shipped model"
    )
