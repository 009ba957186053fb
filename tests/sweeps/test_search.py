"""A search over settings: interrupted, failed and finished."""

import csv
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from support.lines import Lines
from support.sweeps import TINY, interrupt_when

from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.sweeps.api import plan_search, run_search
from nucleist.sweeps.search import Found
from nucleist.sweeps.sweep import Sweep, SweepRun
from nucleist.sweeps.validation import metric_name, metric_words, value_of
from nucleist.training.resume import mark_of, prepare
from nucleist.types import UserError

pytestmark = pytest.mark.slow

pytest.importorskip("optuna", reason="needs the search extra")


def test_the_last_validation_counts(tmp_path: Path) -> None:
    run = SweepRun(1, [], [], "name", "mark", 10, folder=str(tmp_path))
    assert value_of(run, "val/map_pooled") is None
    rows = "step,train/loss,val/map_pooled\n4,,0.9\n9,1.0,\n9,,0.2\n"
    (tmp_path / "metrics.csv").write_text(rows)
    assert value_of(run, "val/map_pooled") == value_of(run, None) == ("val/map_pooled", 0.2)
    (tmp_path / "metrics.csv").write_text(rows.replace("0.2", "nan").replace("0.9", "inf"))
    assert value_of(run, "val/map_pooled") is None


def test_without_map_the_score_at_labelled_nuclei(tmp_path: Path) -> None:
    name = "val/labelled_score_best_threshold"
    run = SweepRun(1, [], [], "name", "mark", 10, status="done", folder=str(tmp_path))
    (tmp_path / "metrics.csv").write_text(f"step,{name}\n4,0.9\n9,0.25\n")
    assert value_of(run, None) == (name, 0.25)
    assert metric_name([run], None) == metric_words([run], None) == name
    assert metric_name([run], "val/aji_pooled") == "val/aji_pooled"
    assert name in metric_words([], None) and "val/map_pooled" in metric_words([], None)


STAND_IN = """
import math, pathlib, sys, time
folder, mode, *overrides = sys.argv[1:]
lr = float(dict(part.split("=", 1) for part in overrides)["optim.optimizer.lr"])
folder = pathlib.Path(folder)
folder.mkdir(parents=True, exist_ok=True)
if mode == "fail" and lr > 0.001:
    sys.exit("diverged")
if mode == "hang" and not (folder / "begun").exists():
    (folder / "begun").touch()
    print("up", flush=True)
    time.sleep(60)
value = -abs(math.log10(lr) + 3)
name = "labelled_score_best_threshold" if mode == "partial" else "map_pooled"
(folder / "metrics.csv").write_text(f"step,val/{name}\\n9,{value}\\n")
(folder / "summary.json").write_text("{}")
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process that leaves what a training leaves; the best learning rate is 0.001."""
    mode = ["good"]
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)

    def command(sweep: Sweep, run: SweepRun) -> list[str]:
        folder = sweep.folder / run.name / f"1-{run.mark}-1"
        return [sys.executable, "-S", "-E", str(script), str(folder), mode[0], *run.changes]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    return mode


SPACE = ["optim.optimizer.lr=tag(log,interval(0.00001,0.1))", "~optim.optimizer.weight_decay"]


def search(folder: Path, *more: str, progress: Any = False) -> Found:
    words = ["search=optim", *SPACE, *more]
    return run_search(plan_search(overrides=words, folder=folder), progress=progress)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_trial_s_command_is_printed(
    stand_in: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a b"
    command = ["train", "search=optim", *SPACE, f"folder={folder}", "name=a b"]
    assert main([*command, "search.trials=3", "jobs=2"]) == 0
    printed = capsys.readouterr()
    rows = rows_of(folder)
    assert [(row["trial"], row["status"]) for row in rows] == [(str(i), "done") for i in (1, 2, 3)]
    best = max(rows, key=lambda row: float(row["val/map_pooled"]))
    line, last = printed.out.splitlines()[-2:]
    assert last == str(folder)
    assert line == f"nucleist train 'name=a b' optim.optimizer.lr={best['optim.optimizer.lr']}"
    assert f"best of 3 trials: {best['trial']}, val/map_pooled" in printed.err
    assert Path(best["folder"]).parent == folder / "a b"

    # The same search has nothing to do; with a larger number it goes on.
    lines = Lines()
    found = search(folder, "search.trials=3", "jobs=2", "name=a b", progress=lines)
    assert any("3 of 3 trials are done" in line for line in lines.notes)
    assert rows_of(folder) == rows and found.command == line and str(found.number) == best["trial"]
    search(folder, "search.trials=4", "name=a b")
    assert rows_of(folder)[:3] == rows and len(rows_of(folder)) == 4
    runs = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [run["number"] for run in runs] == [1, 2, 3, 4]
    assert main([*command, "search.trials=6", "--plan"]) == 0
    text = capsys.readouterr().out
    assert "6 trials, 4 done" in text and f"done      {float(best['val/map_pooled']):.4f}" in text


def test_failed_trials_are_replaced(stand_in: list[str], tmp_path: Path) -> None:
    """Rates above 0.001 fail: half of those that are drawn."""
    stand_in[0], folder, lines = "fail", tmp_path / "f", Lines()
    limits = ("search.trials=3", "search.max_failed=20", "search.seed=1")
    search(folder, *limits, progress=lines)
    rows = rows_of(folder)
    by = {status: [r for r in rows if r["status"] == status] for status in ("done", "failed")}
    assert len(by["done"]) == 3 and len(by["failed"]) > 0
    assert all(float(row["optim.optimizer.lr"]) > 0.001 for row in by["failed"])
    assert all(row["val/map_pooled"] == "" for row in by["failed"])
    assert any("diverged" in line for line in lines.notes)


def test_trials_on_labelled_nuclei_have_a_score_of_their_own(
    stand_in: list[str], tmp_path: Path
) -> None:
    stand_in[0], folder, lines = "partial", tmp_path / "f", Lines()
    found = search(folder, "search.trials=2", progress=lines)
    name = "val/labelled_score_best_threshold"
    assert [float(row[name]) for row in rows_of(folder)][found.number - 1] == found.value
    assert any(f"{found.number}, {name} {found.value:.4f}" in line for line in lines.notes)


def test_it_gives_up_when_all_fail(stand_in: list[str], tmp_path: Path) -> None:
    stand_in[0], folder = "fail", tmp_path / "f"
    with pytest.raises(UserError, match=r"2 trials in a row failed.*002\.log"):
        search(folder, "optim.optimizer.lr=interval(0.01,0.02)", "search.max_failed=2")
    assert [row["status"] for row in rows_of(folder)] == ["failed", "failed"]


def test_a_trial_that_was_cut_is_taken_up(stand_in: list[str], tmp_path: Path) -> None:
    stand_in[0], folder = "hang", tmp_path / "f"
    thread = interrupt_when(folder / "logs" / "001.log", "up")
    with pytest.raises(KeyboardInterrupt):
        search(folder, "search.trials=2")
    thread.join()
    (cut,) = folder.glob("synthetic_mask_rcnn_pa/*")
    (waiting, _) = json.loads((folder / "sweep.json").read_text())["runs"]
    assert waiting["status"] == "waiting" and waiting["folder"] == str(cut)
    stand_in[0] = "good"
    search(folder, "search.trials=2")
    rows = rows_of(folder)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert rows[0]["folder"] == str(cut)


@pytest.mark.whole
def test_a_real_training_is_found_by_the_hash_of_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How one that was cut goes on is tested with sweeps, which have the same loop."""
    folder = tmp_path / "f"
    given = ["train", "search=pa", *TINY, "search.trials=1", f"folder={folder}"]
    given += ["data.splits.val=train", "callbacks.warmup.steps=range(0,5,2)"]
    assert main(given) == 0
    printed = capsys.readouterr()
    assert "split train, apart from the test images" in printed.err
    (row,) = rows_of(folder)
    run = Path(row["folder"])
    with (run / "metrics.csv").open(newline="") as file:
        values = [r["val/map_pooled"] for r in csv.DictReader(file) if r["val/map_pooled"]]
    assert len(values) == 3 and float(row["val/map_pooled"]) == float(values[-1])
    assert json.loads((run / "summary.json").read_text())["steps"] == 6
    config = compose("train", shlex.split(printed.out.splitlines()[-2])[2:])
    prepare(config)
    assert mark_of(config) in row["folder"]
