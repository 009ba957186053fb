"""A folder: one process at a time, proposals in their place, other programs' changes."""

import json
import uuid

import numpy as np
import pytest
from roifile import ImagejRoi
from support.annotations import folder_of_images, ring

from nucleist.annotation.fiji import corrections, write_zip
from nucleist.annotation.session import Session
from nucleist.types import UserError


def test_states_and_counts(tmp_path):
    with Session(folder_of_images(tmp_path, 3)) as session:
        session.apply(1, {"do": "add", "anchors": ring(16, 16)})
        session.apply(2, {"do": "whole"})
        session.propose(2, [], 1, "m")
        session.propose(0, [{"anchors": ring(16, 16), "score": 0.9}], 1, "m")
        found = [(one.state, one.labelled, one.proposed) for one in session.entries()]
    assert found == [("untouched", 0, 1), ("partial", 1, 0), ("complete", 0, 0)]
    with Session(tmp_path) as session:
        assert [(one.state, one.labelled, one.proposed) for one in session.entries()] == found


def test_a_second_process_is_refused(tmp_path):
    folder_of_images(tmp_path)
    with Session(tmp_path), pytest.raises(UserError, match="another process"), Session(tmp_path):
        pass
    with Session(tmp_path):
        pass


def test_what_a_crash_left_in_the_log_is_in_the_file_after_the_next_start(tmp_path):
    folder_of_images(tmp_path)
    session = Session(tmp_path)  # not entered, so nothing is written at its end
    session.apply(0, {"do": "add", "anchors": ring(16, 16)})
    assert not session.file(0).exists()
    with Session(tmp_path) as again:
        assert len(json.loads(again.file(0).read_bytes())["features"]) == 1


def test_proposals_leave_room_for_labels_rejected_ones_and_finished_regions(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        session.apply(0, {"do": "add", "anchors": ring(16, 16)})
        places = [(16, 46), (46, 46), (46, 16), (16, 16)]
        found = [{"anchors": ring(x, y), "score": 0.5} for x, y in places]
        assert session.propose(0, found, 1, "m") == 3
        picture = session.picture(0)
        first = next(one for one in picture.things.values() if one.state == "proposed")
        session.apply(0, {"do": "reject", "ids": [first.id]})
        session.apply(0, {"do": "region", "corners": [[32, 32], [64, 64]]})
        assert session.propose(0, found, 2, "n") == 1
        assert {one.round for one in picture.things.values() if one.state == "proposed"} == {2}


def test_a_file_that_qupath_saves_meanwhile_is_taken_over_not_overwritten(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        for x in (16, 46):
            session.apply(0, {"do": "add", "anchors": ring(x, 16)})
        session.compact()
        file, picture = session.file(0), session.picture(0)
        content = json.loads(file.read_bytes())
        kept, gone = content["features"]
        new = json.loads(json.dumps(kept))
        new["id"] = str(uuid.uuid4())
        for one in (kept, new):
            del one["properties"]["metadata"]
        new["geometry"]["coordinates"] = [
            [[x, y + 30] for x, y in new["geometry"]["coordinates"][0]]
        ]
        file.write_text(json.dumps({"type": "FeatureCollection", "features": [kept, new]}))
        session.apply(0, {"do": "add", "anchors": ring(30, 30, 4)})
        before = picture.things[kept["id"]]
        session.compact()
        assert picture.things[kept["id"]] == before and gone["id"] not in picture.things
        assert picture.things[new["id"]].origin == "imported" and len(picture.things) == 3
        session.apply(0, {"do": "undo"})
        assert gone["id"] in picture.things
    with Session(tmp_path) as session:
        assert len(session.picture(0).things) == 3


def test_a_damaged_file_is_said_and_not_overwritten(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        session.apply(0, {"do": "add", "anchors": ring(16, 16)})
        session.compact()
        session.file(0).write_text("{")
        session.apply(0, {"do": "add", "anchors": ring(46, 16)})
        assert "broken JSON" in session.compact()[0]
        assert session.file(0).read_text() == "{"
        session.file(0).unlink()
        assert session.compact() == []
        assert len(json.loads(session.file(0).read_bytes())["features"]) == 2


def edited(path, change):
    """Save a zip of selections again as Fiji does, changed."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        found = {name: ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()}
    change(found)
    with zipfile.ZipFile(path, "w") as archive:
        for name, one in found.items():
            archive.writestr(name, one.tobytes())


def test_five_corrections_in_fiji_are_five_changes(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        picture = session.picture(0)
        for x in (10, 30, 50):
            session.apply(0, {"do": "add", "anchors": ring(x, 12, 6)})
        found = [{"anchors": ring(x, y, 6), "score": 0.8} for x in (10, 30, 50) for y in (32, 52)]
        session.propose(0, found, 1, "m")
        session.apply(
            0, {"do": "accept", "ids": [i for i, one in picture.things.items() if one.round]}
        )
        before = dict(picture.things)
        write_zip(picture, tmp_path / "out" / "a.zip")

        def correct(selections):
            names = sorted(selections)
            for name in names[:3]:
                one = selections[name]
                points = np.add(one.coordinates(), (1.5, 0))
                moved = ImagejRoi.frompoints(points, name=name)
                moved.options, moved.props = one.options, one.props
                selections[name] = moved
            del selections[names[3]]
            new = ImagejRoi.frompoints([(2, 2), (8, 2), (8, 8), (2, 8)], name="new")
            selections["new.roi"] = new

        edited(tmp_path / "out" / "a.zip", correct)
        change = corrections(picture, tmp_path / "out" / "a.zip")
        assert len(change) == 5
        kinds = sorted((old is not None) * 2 + (new is not None) for _, old, new in change)
        assert kinds == [1, 2, 3, 3, 3]
        picture.put("import", change)
        same = [one for one in before if picture.things.get(one) == before[one]]
        assert len(same) == len(before) - 4
        for _, old, new in change:
            if old and new:
                assert (new.round, new.model) == (old.round, old.model)
                assert new.origin == ("corrected" if old.round else "drawn")


def test_what_is_left_in_a_zip_is_accepted(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        found = [{"anchors": ring(x, 16), "score": s} for x, s in ((16, 0.9), (36, 0.6), (56, 0.2))]
        session.propose(0, found, 1, "m")
        picture, path = session.picture(0), tmp_path / "out" / "a.zip"
        assert write_zip(picture, path, 0.5) == 2
        edited(path, lambda selections: selections.pop(sorted(selections)[0]))
        picture.put("import", corrections(picture, path, 0.5))
        states = sorted(one.state for one in picture.things.values())
        assert states == ["labelled", "proposed", "rejected"]
