"""One picture: every command can be undone, and no acknowledged one is lost."""

import json
import random
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support.annotations import SIZE, random_command, ring

from nucleist.annotation.answer import ConflictError
from nucleist.annotation.beside import VERSIONS
from nucleist.annotation.picture import Picture
from nucleist.annotation.things import Thing, outline
from nucleist.types import UserError


def picture_in(folder: Path, **given) -> Picture:
    return Picture(
        folder / "a.nucleist.geojson", folder / "log.jsonl", folder / "old", SIZE, "f00", **given
    )


def without_id(command):
    """`add` takes an id of the client; random commands have that of another nucleus there."""
    return {k: v for k, v in command.items() if k != "id"} if command["do"] == "add" else command


def proposals(count):
    made = [
        Thing(str(uuid.UUID(int=n)), "nucleus", outline(ring(20, 20 + n))) for n in range(count)
    ]
    return [
        (one.id, None, Thing(one.id, "nucleus", one.anchors, "proposed", "proposed", 1, n / count))
        for n, one in enumerate(made)
    ]


def given_at_random(picture, count, seed, keep=None):
    """Give random commands until some were done."""
    chance, done = random.Random(seed), 0
    while done < count:
        try:
            answer = picture.apply(without_id(random_command(picture.things, chance)))
        except UserError:
            continue
        if answer.change:
            done += 1
            if keep is not None:
                keep.append(dict(picture.things))


@pytest.mark.slow
def test_500_random_commands_are_undone_and_redone_exactly(tmp_path):
    picture = picture_in(tmp_path)
    picture.put("propose", proposals(10))
    states, chance = [dict(picture.things)], random.Random(1)
    while len(states) <= 500:
        command = without_id(random_command(picture.things, chance))
        if command["do"] in ("undo", "redo"):
            continue
        try:
            if picture.apply(command).change:
                states.append(dict(picture.things))
        except UserError:
            continue
    for state in reversed(states[:-1]):
        picture.apply({"do": "undo"})
        assert picture.things == state
    for state in states[1:]:
        picture.apply({"do": "redo"})
        assert picture.things == state
    with pytest.raises(UserError, match="nothing to redo"):
        picture.apply({"do": "redo"})


def test_undo_and_redo_survive_a_restart(tmp_path):
    picture = picture_in(tmp_path)
    states: list = []
    given_at_random(picture, 40, 2, states)
    undo, redo = list(picture._undo), list(picture._redo)
    picture.compact()
    again = picture_in(tmp_path)
    assert again.things == picture.things
    assert (again._undo, again._redo) == (undo, redo)


def test_a_file_holds_what_the_log_holds(tmp_path):
    picture = picture_in(tmp_path)
    picture.put("propose", proposals(5))
    given_at_random(picture, 60, 3)
    picture.compact()
    (tmp_path / "log.jsonl").unlink()
    again = picture_in(tmp_path)
    assert again.things == picture.things and again.revision == picture.revision


def test_a_torn_line_is_dropped_and_cut_off(tmp_path):
    picture = picture_in(tmp_path)
    picture.apply({"do": "add", "anchors": ring(20, 20)})
    whole = (tmp_path / "log.jsonl").read_bytes()
    (tmp_path / "log.jsonl").write_bytes(whole + b'{"revision": 2, "do": "ad')
    again = picture_in(tmp_path)
    assert again.things == picture.things
    again.apply({"do": "add", "anchors": ring(40, 40)})
    assert picture_in(tmp_path).things == again.things


def test_two_writers_do_not_overwrite_each_other(tmp_path):
    picture = picture_in(tmp_path)
    own = picture.apply({"do": "add", "anchors": ring(20, 20)}, seen=0).change[0][0]
    seen_by_both = picture.revision
    picture.apply({"do": "move", "id": own, "by": [1, 0]}, "one", seen_by_both)
    with pytest.raises(ConflictError, match="another window"):
        picture.apply({"do": "move", "id": own, "by": [0, 5]}, "other", seen_by_both)
    with pytest.raises(ConflictError):
        picture.apply({"do": "undo"}, "other", seen_by_both)
    # What is taken back was changed too.
    seen = picture.revision
    picture.apply({"do": "undo"}, "one", seen)
    with pytest.raises(ConflictError):
        picture.apply({"do": "move", "id": own, "by": [0, 5]}, "other", seen)
    # Another nucleus is nobody's loss.
    picture.apply({"do": "add", "anchors": ring(40, 40)}, "other", seen_by_both)
    picture.apply({"do": "delete", "ids": [own]}, "one", picture.revision)
    with pytest.raises(UserError, match="not there any more"):
        picture.apply({"do": "move", "id": own, "by": [0, 5]}, "other", seen)


def test_a_command_with_a_key_is_done_once(tmp_path):
    picture = picture_in(tmp_path)
    command = {"do": "add", "anchors": ring(20, 20)}
    first = picture.apply(command, key="k")
    assert picture.apply(command, key="k") == first and len(picture.things) == 1
    assert picture_in(tmp_path).apply(command, key="k").change == first.change


def test_what_a_full_disk_refuses_is_kept_and_written_later(tmp_path):
    picture = picture_in(tmp_path)
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    answer = picture.apply({"do": "add", "anchors": ring(20, 20)})
    assert not answer.saved and "No space left on device" in answer.problem
    assert len(picture.things) == 1 and not picture.retry()
    picture.apply({"do": "add", "anchors": ring(40, 40)})
    (tmp_path / "log.jsonl").unlink()
    assert picture.retry() and picture.problem == ""
    assert picture_in(tmp_path).things == picture.things


def test_a_file_that_cannot_be_written_loses_nothing(tmp_path):
    picture = picture_in(tmp_path)
    picture.apply({"do": "add", "anchors": ring(20, 20)})
    (tmp_path / "a.nucleist.geojson").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        picture.compact()
    (tmp_path / "a.nucleist.geojson").rmdir()
    picture.compact()
    assert picture_in(tmp_path).things == picture.things


def test_ten_old_versions_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleist.annotation.beside.SPACING", 0)
    picture = picture_in(tmp_path)
    for x in range(15):
        picture.apply({"do": "add", "anchors": ring(10 + 3 * x, 20)})
        picture.compact()
    old = sorted((tmp_path / "old").iterdir())
    assert len(old) == VERSIONS and old[-1].name == "00000014.geojson"
    assert len(json.loads(old[-1].read_bytes())["features"]) == 14


def test_the_log_is_trimmed(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleist.annotation.picture.REMEMBERED", 10)
    picture = picture_in(tmp_path)
    given_at_random(picture, 50, 4)
    picture.compact()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 10
    assert picture_in(tmp_path).things == picture.things


def test_labels_of_other_formats_are_written_before_the_first_command(tmp_path):
    own = str(uuid.UUID(int=7))
    base = {own: Thing(own, "nucleus", outline(ring(20, 20)), origin="imported")}
    picture = picture_in(tmp_path, base=lambda: base)
    assert not (tmp_path / "a.nucleist.geojson").exists()
    picture.apply({"do": "move", "id": own, "by": [2, 0]})
    again = picture_in(tmp_path)  # the other labels are gone
    assert again.things == picture.things
    again.apply({"do": "undo"})
    assert again.things == base


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_edit():
    script = Path(__file__).parents[2] / "experiments" / "annotate" / "killed.py"
    done = subprocess.run(
        [sys.executable, script, "50"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("50 kills") and done.stdout.endswith(" 0 lost\n"), done.stderr
