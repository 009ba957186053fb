"""The manifest of kept labels: what is written is read back, and damage is one line."""

import json

import numpy as np
import pytest
from support.sources import grid

from nucleist.data.annotation import Annotation
from nucleist.data.choosing import nucleus_ids
from nucleist.data.complete import mask_of
from nucleist.data.formats.manifest import Entry, read_manifest, write_manifest
from nucleist.types import Record, UserError, Window


def test_a_manifest_of_an_earlier_version_knows_less(tmp_path):
    path = tmp_path / "kept.json"
    images = {"a": {"ids": [7, 3]}, "b": {"window": [0, 0, 4, 5]}}
    path.write_text(json.dumps({"format": "nucleist-annotation-1", "images": images}))
    assert read_manifest(path) == {"a": Entry([3, 7]), "b": Entry(Window(0, 0, 4, 5))}


@pytest.mark.parametrize("complete", [True, False, (Window(0, 0, 3, 40), Window(3, 5, 9, 40))])
def test_what_is_complete_is_in_the_manifest(tmp_path, complete):
    labels = grid(*range(3, 13), shape=(40, 40))
    record = Record("img", np.zeros((40, 40, 3), np.uint8), labels, complete=complete)
    ids = nucleus_ids(labels)
    few, window = Annotation(fraction=0.5), Annotation(crop_fraction=0.25)
    assert Annotation().complete(record) == complete
    assert few.complete(record) is False  # some of what is known was left out
    inner = mask_of((window.choose(record),), (40, 40)) & mask_of(complete, (40, 40))
    assert (mask_of(window.complete(record), (40, 40)) == inner).all()
    entries = {"img": Entry(ids, tuple(ids[:2]), complete)}
    write_manifest(tmp_path / "kept.json", entries)
    assert read_manifest(tmp_path / "kept.json") == entries


KEPT = {"ids": [3]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        '{"images": {}}',
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": {"ids": [0]}}}),
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": {"ids": [True]}}}),
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": {"window": [5, 0, 5, 9]}}}),
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": {"window": [0, 0, 9]}}}),
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": {}}}),
        json.dumps({"format": "nucleist-annotation-1", "images": {"a": [1]}}),
        *(
            json.dumps({"format": "nucleist-annotation-1", "images": {"a": KEPT | more}})
            for more in (
                {"held_out": 3},
                {"held_out": ["3"]},
                {"held_out": [0]},
                {"held_out": [3, 4]},
                {"complete": 1},
                {"complete": None},
                {"complete": [[0, 0, 4]]},
                {"complete": [[4, 0, 4, 9]]},
            )
        ),
        "\udcff",
    ],
)
def test_damaged_manifest_is_told_in_one_line(tmp_path, text):
    path = tmp_path / "kept.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"kept\.json: ") as told:
        Annotation(manifest=path)
    assert "\n" not in str(told.value)


def test_missing_manifest_and_unwritable_folder(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: No such file.*give a manifest\.json that"):
        read_manifest(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_manifest(tmp_path / "file" / "kept.json", {})
