"""The runs of a plan are trained: real ones, cut and taken up, and what is reported."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from support.lines import Lines
from support.sweeps import TINY, interrupt_when, small_sweep

from nucleist.files import holding
from nucleist.sweeps.api import plan_sweep, run_sweep
from nucleist.sweeps.launchers import Process
from nucleist.sweeps.run import warn_of_limits_in
from nucleist.sweeps.sweep import DONE, FAILED, tail
from nucleist.types import UserError

pytestmark = pytest.mark.slow


@pytest.mark.whole
def test_an_interrupted_sweep_goes_on_and_reports_what_failed(tmp_path: Path) -> None:
    """One run that is cut with 8 of 12 steps to go, and one whose data cannot be."""
    folder = tmp_path / "sweep"
    words = [*TINY, "steps=12", "val_every=4", f"folder={folder}"]
    grid = {"data.annotation_fraction": [0.5, 7]}
    thread = interrupt_when(folder / "logs" / "001.log", "step 4/12")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan_sweep(overrides=[*words, "jobs=1"], grid=grid))
    thread.join()
    stored = json.loads((folder / "sweep.json").read_text())["runs"]
    assert stored[0]["status"] == "waiting"
    cut = Path(stored[0]["folder"])
    assert (cut / "checkpoints" / "last.ckpt").exists() and not (cut / "summary.json").exists()

    lines = Lines()
    sweep = run_sweep(plan_sweep(overrides=[*words, "jobs=2"], grid=grid), progress=lines)
    assert [run.status for run in sweep.runs] == [DONE, FAILED] and sweep.folder == folder
    failed = lines.notes[-1].splitlines()
    assert failed[1].startswith("failed: data.annotation_fraction=7, see ")
    assert failed[-1].startswith("nucleist: data.annotation_fraction=7")  # of its log
    stored = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in stored] == ["done", "failed"]
    assert stored[0]["folder"] == sweep.runs[0].folder == str(cut)
    assert "goes on from" in (folder / "logs" / "001.log").read_text()
    assert json.loads((cut / "summary.json").read_text())["steps"] == 12

    # What is done is not done again.
    lines = Lines()
    run_sweep(plan_sweep(overrides=[*words, "data.annotation_fraction=0.5"]), progress=lines)
    assert any("1 of 1 runs are done" in line for line in lines.notes)


def test_a_sweep_does_not_start_beside_itself(tmp_path: Path) -> None:
    """Another process holds the folder; a lock of our own would not stand in our way."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    code = "import sys, time, pathlib; from nucleist.files import holding\n"
    code += "with holding(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    sweep = small_sweep(folder, 1)
    other = Process([sys.executable, "-c", code, str(folder)], tmp_path / "log", dict(os.environ))
    while "held" not in tail(tmp_path / "log"):
        time.sleep(0.1)
    try:
        with pytest.raises(UserError, match="is at work in it"):
            run_sweep(plan_sweep(grid={"seed": [0, 1]}, folder=folder))
    finally:
        other.kill()
    assert not sweep.log(sweep.runs[0]).exists()
    with holding(folder):
        pass


def test_a_file_in_the_place_of_the_logs_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "logs").touch()
    with pytest.raises(UserError) as error:
        run_sweep(plan_sweep(overrides=TINY, grid={"seed": [0, 1]}, folder=folder))
    assert f"{folder / 'logs'}: cannot make this folder" in str(error.value)
    assert "folder=DIR" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"cannot make this folder .*set folder=DIR"):
        run_sweep(plan_sweep(grid={"seed": [0, 1]}, folder=folder / "logs" / "deeper"))


def test_limits_that_cut_are_reported_at_the_end(tmp_path: Path) -> None:
    sweep, lines = small_sweep(tmp_path, 4), Lines()
    best = {"limits_reached": {"a=1": 3, "b=4": 1}}
    summaries = [
        {"limits_reached": {"a=1": 2}, "best_checkpoint": best},
        {"best_checkpoint": {}},
        {"limits_reached": {"c=9": 1}},
    ]
    for run, summary in zip(sweep.runs, summaries, strict=False):
        run.status, run.folder = DONE, str(tmp_path / str(run.number))
        Path(run.folder).mkdir()
        (Path(run.folder) / "summary.json").write_text(json.dumps(summary))
    sweep.runs[2].status = FAILED
    warn_of_limits_in(sweep, lines)
    assert lines.warnings == [
        "a limit cut what was found: seed=0: a=1 in 3 images, b=4 in 1 images"
    ]
