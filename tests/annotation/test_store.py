"""The file beside an image: what QuPath needs, and what QuPath sends back."""

import json
import uuid

import numpy as np
import pytest
import shapely
from support.annotations import SIZE, folder_of_images, ring

from nucleist.annotation.session import Session
from nucleist.annotation.store import from_geojson, header, to_geojson
from nucleist.annotation.things import Thing, corners, outline
from nucleist.data.readers.folder import Folder
from nucleist.types import UserError


def nucleus(number, x=20.0, **given):
    return Thing(str(uuid.UUID(int=number)), "nucleus", outline(ring(x, 20)), **given)


REGION = Thing(str(uuid.UUID(int=99)), "region", corners([(0, 0), (32, 32)]))
THINGS = [
    nucleus(2, who="Ann", when="2026-01-02T03:04:05+00:00"),
    nucleus(1, 40, state="proposed", origin="proposed", round=2, score=0.7, model="abc"),
    nucleus(3, 50, state="rejected", origin="proposed", score=0.25),
    REGION,
]


def written(things=THINGS, revision=7):
    return to_geojson(things, revision, "f00", SIZE)


def test_comes_back_as_it_was(tmp_path):
    stored = from_geojson(written(), "a")
    assert stored.things == {one.id: one for one in THINGS}
    assert (stored.revision, stored.image) == (7, "f00")
    (tmp_path / "a").write_bytes(written())
    assert header(tmp_path / "a") == (SIZE, "f00")
    (tmp_path / "b").write_text("{}")
    assert header(tmp_path / "b") == header(tmp_path / "none") == (None, "")


def test_is_one_nucleus_a_line_sorted_with_texts_in_the_metadata():
    lines = written().decode().splitlines()[1:-1]
    features = [json.loads(line.rstrip(",")) for line in lines]
    assert [one["id"] for one in features] == sorted(one.id for one in THINGS)
    for one in features:
        about = one["properties"]
        assert all(isinstance(value, str) for value in about["metadata"].values())
        assert set(about["classification"]) == {"name", "color"}
        area = shapely.Polygon(one["geometry"]["coordinates"][0])
        assert shapely.set_precision(area, 0.01).is_valid and area.is_valid


def test_an_outline_that_crosses_itself_is_written_as_its_largest_part():
    eight = outline([(10, 10), (30, 30), (30, 10), (10, 30), (5, 20)])
    data = written([Thing(str(uuid.UUID(int=1)), "nucleus", eight)])
    (feature,) = json.loads(data)["features"]
    assert shapely.Polygon(feature["geometry"]["coordinates"][0]).is_valid
    assert from_geojson(data, "a").things[feature["id"]].anchors == eight


def by_qupath(data, change):
    """As QuPath exports it: no members of ours, rings begin elsewhere and may run backwards."""
    features = json.loads(data)["features"]
    for one in features:
        ring_ = one["geometry"]["coordinates"][0][:-1]
        ring_ = (ring_[5:] + ring_[:5])[::-1]
        one["geometry"]["coordinates"] = [[*ring_, ring_[0]]]
        change(one)
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def test_what_qupath_did_not_touch_is_unchanged():
    stored = from_geojson(by_qupath(written(), lambda one: None), "a")
    assert stored.things == {one.id: one for one in THINGS} and stored.revision is None


def test_what_was_moved_in_qupath_is_fitted_and_keeps_its_provenance():
    def move(one):
        if one["id"] == THINGS[1].id:
            ring_ = np.add(one["geometry"]["coordinates"][0], (0, 10))
            one["geometry"]["coordinates"] = [ring_.tolist()]
            one["properties"]["classification"]["name"] = "Nucleus"

    things = from_geojson(by_qupath(written(), move), "a").things
    moved = things.pop(THINGS[1].id)
    assert things == {one.id: one for one in THINGS if one.id != moved.id}
    assert (moved.state, moved.origin, moved.round, moved.model) == (
        "labelled", "corrected", 2, "abc",
    )  # fmt: skip
    middle = np.mean(moved.anchors, 0)
    assert middle == pytest.approx((40, 30), abs=0.2)


def test_a_class_changed_in_qupath_accepts():
    def accept(one):
        one["properties"]["classification"]["name"] = "Nucleus"

    things = from_geojson(by_qupath(written(), accept), "a").things
    assert things[THINGS[1].id].state == "labelled" and things[THINGS[1].id].origin == "proposed"


def test_a_later_schema_is_refused():
    with pytest.raises(UserError, match="update nucleist"):
        from_geojson(written().replace(b'"schema": 1', b'"schema": 2'), "a")


def test_training_reads_labels_and_regions_and_no_proposals(tmp_path):
    folder = folder_of_images(tmp_path)
    with Session(folder) as session:
        session.apply(0, {"do": "add", "anchors": ring(16, 16)})
        session.apply(0, {"do": "region", "corners": [[0, 0], [32, 32]]})
        session.propose(0, [{"anchors": ring(46, 46), "score": 0.9}], 1, "abc")
        session.apply(1, {"do": "whole"})
    source = Folder(folder, test_fraction=0)
    first, second = (source.read(name) for name in ("image0", "image1"))
    assert np.unique(first.labels).tolist() == [0, 1]
    assert first.labels[16, 16] == 1 and first.labels[46, 46] == 0
    assert abs(np.count_nonzero(first.labels) - np.pi * 64) < 10
    assert first.complete == ((0, 0, 32, 32),)
    assert second.complete is True and not second.labels.any()


def test_its_own_file_goes_before_other_labels(tmp_path):
    from nucleist.data.formats.label_maps import write_label_map

    folder = folder_of_images(tmp_path, 1)
    labels = np.zeros(SIZE, np.int32)
    labels[10:24, 10:24] = 1
    labels[40:54, 40:54] = 2
    write_label_map(folder / "image0_labels.tif", labels)
    with Session(folder) as session:
        assert session.entries()[0].labelled == 2
        one = min(session.picture(0).things.values(), key=lambda thing: thing.anchors)
        session.apply(0, {"do": "delete", "ids": [one.id]})
    source = Folder(folder, test_fraction=0)
    assert np.unique(source.read("image0").labels).tolist() == [0, 1]
    assert source.pairing()[0].labels == "image0.nucleist.geojson"
    assert any("other labels" in line for line in source.problems())
