"""Rounds of training in their own process, and the loop without a page."""

import os
import signal
import time

import pytest
from support.annotations import folder_of_images, ring
from support.runs import NET

import nucleist
from nucleist.annotation.rounds import Rounds
from nucleist.annotation.session import Session
from nucleist.types import UserError

pytestmark = pytest.mark.whole

QUICK = [*NET, "trainer=cpu", "steps=2", "val_every=2", "data.batch_size=1", "augment.crop=48"]


def labelled_folder(folder):
    folder_of_images(folder)
    with Session(folder) as session:
        for x, y in ((16, 16), (46, 16), (16, 46)):
            session.apply(0, {"do": "add", "anchors": ring(x, y)})
    return folder


def finished(rounds, seconds=120):
    until = time.monotonic() + seconds
    while rounds.is_running():
        assert time.monotonic() < until, rounds.status()
        time.sleep(0.1)
    return rounds.status()


def test_bootstrap_trains_proposes_and_exports(tmp_path):
    folder = labelled_folder(tmp_path / "images")
    given = {"overrides": QUICK, "least": 0.0}
    found = nucleist.bootstrap(folder, tmp_path / "out", 2, accept=0.99, **given)
    assert found.rounds == 2 and found.labelled >= 3
    assert sorted(path.name for path in (tmp_path / "out").glob("*.zip")) == [
        "image0.zip", "image1.zip",
    ]  # fmt: skip
    with Session(folder) as session:
        rounds = Rounds(session)
        assert rounds.status()["phase"] == "collected" and rounds.weights() is not None
        assert sum(entry.proposed for entry in session.entries()) == found.proposed
        rounds.propose_with(rounds.weights())
        assert finished(rounds)["phase"] == "done"
        assert rounds.collect() is not None and rounds.number == 3


def test_a_round_is_cancelled_survives_the_page_and_tells_what_failed(tmp_path):
    with Session(labelled_folder(tmp_path)) as session:
        rounds = Rounds(session)
        rounds.start([*QUICK, "steps=100000", "val_every=100000"])
        with pytest.raises(UserError, match="is running"):
            rounds.start(QUICK)
        again = Rounds(session)  # as after a restart of the page
        until = time.monotonic() + 120
        while again.status().get("step", 0) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        status = again.status()
        assert status["phase"] == "training" and status["seconds_left"] > 0
        again.cancel()
        assert not again.is_running() and again.status()["phase"] == "cancelled"
        assert again.collect() is None
        rounds.start([*QUICK, "steps=1.5"])
        assert "steps" in finished(rounds)["error"] and rounds.status()["phase"] == "failed"
        number = rounds.start([*QUICK, "steps=100000", "val_every=100000"])
        assert number == 3
        os.killpg(rounds._process.pid, signal.SIGKILL)
        assert finished(rounds)["phase"] == "failed"


def test_nothing_labelled_is_refused(tmp_path):
    with Session(folder_of_images(tmp_path)) as session:
        with pytest.raises(UserError, match="no nucleus is outlined"):
            Rounds(session).start()
