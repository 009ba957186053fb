"""A search over settings: its space, its trials in the file, interrupted, failed and finished."""

import csv
import json
import math
import shlex
import sys
from functools import partial
from pathlib import Path

import pytest
from support.runs import SMALL, earlier_run, interrupt_when, said

import nucleist.conf
from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.sweeps.search import last_value
from nucleist.sweeps.space import split
from nucleist.sweeps.study import ASKED, LOST, TOLD, Trials, need_optuna
from nucleist.sweeps.sweep import SweepRun
from nucleist.training.resume import mark_of, prepare
from nucleist.types import UserError

optuna = pytest.importorskip("optuna", reason="needs the search extra")

CONF = Path(next(iter(nucleist.conf.__path__)))
LR = {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
TPE = partial(optuna.samplers.TPESampler, n_startup_trials=3)


def test_hydra_s_words_make_the_space():
    """The last range below 150 in steps of 30 from 0 is 120."""
    fixed, space = split(
        [
            "seed=3",
            "a=tag(log,interval(0.001,0.1))",
            "b=int(interval(1,9))",
            "c=range(0,150,30)",
            "d=range(0.0,1.0,0.25)",
            "+e=choice(x,[p2],3)",
            "model=mask_rcnn,mask_rcnn_pa",
        ]
    )
    d = optuna.distributions
    assert fixed == ["seed=3"]
    assert {key: part.distribution for key, part in space.items()} == {
        "a": d.FloatDistribution(0.001, 0.1, log=True),
        "b": d.IntDistribution(1, 9),
        "c": d.IntDistribution(0, 120, step=30),
        "d": d.FloatDistribution(0.0, 0.75, step=0.25),
        "e": d.CategoricalDistribution(["x", "[p2]", "3"]),
        "model": d.CategoricalDistribution(["mask_rcnn", "mask_rcnn_pa"]),
    }
    assert space["e"].override("[p2]") == "+e=[p2]" == space["e"].key + "=[p2]"
    assert [part.first() for part in space.values()][:2] == ["a=0.001", "b=1"]


def test_the_last_word_on_a_key_counts():
    declared = ["a=interval(0,1)", "b=interval(0,1)", "c=choice(x,y)", "warm=up"]
    fixed, space = split([*declared, "a=0.5", "b=interval(2,3)", "~c", "~d"])
    assert fixed == ["warm=up", "a=0.5", "~d"]
    assert {key: part.words for key, part in space.items()} == {"b": "interval(2,3)"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a=1"], "nothing to choose"),
        (["a=interval(2,1)"], "interval(2,1)"),
        (["a=tag(log,interval(0,1))"], "tag(log,interval(0,1))"),
        (["a=tag(cube,interval(1,2))"], "the one tag is log"),
        (["a=tag(log,choice(1,2))"], "the one tag is log"),
        (["a=range(3,3)"], "range(3,3)"),
        (["a"], "'a'"),
        (["seed=0,1"], "luckiest"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_one_line_for_what_is_no_space(words, told):
    with pytest.raises(UserError) as error:
        split(words)
    assert told in str(error.value) and "\n" not in str(error.value)


def chosen(path: Path, count: int, reopen: bool) -> list[float]:
    """Settings of trials that are the better the nearer to 0.001 they are."""
    trials = Trials(path, LR, TPE, seed=5)
    for _ in range(count):
        trials = Trials(path, LR, TPE, seed=5) if reopen else trials
        trial = trials.ask()
        trials.tell(trial.number, -abs(math.log10(trial.params["lr"]) + 3))
    return [trial.params["lr"] for trial in trials.all()]


def test_an_interrupted_search_chooses_as_one_that_was_not(tmp_path):
    """Each trial once: a sampler that starts again with its seed would repeat the first."""
    whole = chosen(tmp_path / "a.db", 6, reopen=False)
    assert chosen(tmp_path / "b.db", 6, reopen=True) == whole
    assert len(set(whole)) == 6 and all(1e-5 <= lr <= 1e-1 for lr in whole)


@pytest.mark.parametrize("folder", ["a b", "50%20", "what?cache=shared", "ä#1"])
def test_a_study_lies_in_any_folder(folder, tmp_path):
    path = tmp_path / folder / "study.db"
    path.parent.mkdir()
    Trials(path, LR, TPE).tell(Trials(path, LR, TPE).ask().number, 0.5)
    assert [item.name for item in path.parent.iterdir()] == ["study.db"]
    (trial,) = Trials(path, LR, TPE).all()
    assert (trial.number, trial.status, trial.value) == (0, TOLD, 0.5)


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
def test_the_best_is_one_that_was_told(direction, best, tmp_path):
    trials = Trials(tmp_path / "study.db", LR, TPE, direction=direction)
    assert trials.best() is None
    for value in (None, 0.1, 0.9, 0.9):
        trials.tell(trials.ask().number, value)
    trials.ask()
    assert [trial.status for trial in trials.all()] == [LOST, TOLD, TOLD, TOLD, ASKED]
    assert trials.best().number == best


def test_a_trial_without_all_its_settings_is_given_up(tmp_path):
    """As if the process had ended between the first setting and the second."""
    path = tmp_path / "study.db"
    Trials(path, LR, TPE).ask()
    both = Trials(path, LR | {"n": optuna.distributions.IntDistribution(0, 3)}, TPE)
    both.ask()
    both.forget_halves()
    assert [trial.status for trial in both.all()] == [LOST, ASKED]


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "study.db"
    Trials(path, LR, TPE, mark="one")
    with pytest.raises(UserError, match="over something else; set folder=DIR"):
        Trials(path, LR, TPE, mark="two")
    path.write_text("no database, but long enough to be taken for one " * 20)
    with pytest.raises(UserError, match=r"study\.db: .*not a database"):
        Trials(path, LR, TPE)


def test_optuna_is_an_extra(monkeypatch, capsys):
    monkeypatch.setattr("nucleist.sweeps.study.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[search\]'"):
        need_optuna()
    assert "nucleist[search]" in said(capsys, "train", "search=pa")


SPACES = sorted(p.stem for p in (CONF / "search").glob("*.yaml") if p.stem != "base")


@pytest.mark.parametrize("name", SPACES)
def test_a_plan_says_what_is_searched_and_starts_nothing(name, tmp_path, capsys):
    assert main(["train", f"search={name}", f"runs={tmp_path}", "search.trials=7", "--plan"]) == 0
    text = capsys.readouterr().out
    assert "optim.optimizer.lr = tag(log,interval(" in text
    assert "maximize val/map_pooled of the last validation" in text
    assert "the test images (data.splits.val=test)" in text
    assert "7 trials, 0 done; time unknown" in text
    assert not list(tmp_path.iterdir())


def test_a_plan_judges_by_the_last_run_of_that_kind(tmp_path, capsys):
    """4 trials of 600 steps at 1.25 s, two at a time: 25 minutes."""
    earlier = earlier_run(tmp_path, capsys)
    given = ["search=pa", f"runs={tmp_path}", "search.trials=4", "jobs=2", "--plan"]
    assert main(["train", *given]) == 0
    said = capsys.readouterr().out
    assert "about 25 min with jobs=2" in said and f"judged by {earlier}" in said


def test_without_jobs_a_plan_takes_the_launcher_s_own(tmp_path, capsys, monkeypatch):
    earlier_run(tmp_path, capsys)
    monkeypatch.setattr("nucleist.sweeps.launchers.visible_devices", lambda: ["0", "1"])
    given = ["search=pa", f"runs={tmp_path}", "search.trials=4", "--plan"]
    assert main(["train", *given]) == 0
    assert "about 25 min with jobs=2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search=pb"], ["pb", "pa"]),
        (["search=base"], ["space", "pa or optim"]),
        (["search=pa", "sweep=seeds"], ["search= and sweep="]),
        (["search=pa", "search.trials=0"], ["search.trials=0"]),
        (["search=pa", "search.metric=test/map"], ["test/map", "val/map_pooled"]),
        (["search=pa", "steps=40", "val_every=50"], ["val_every=50", "40 or less"]),
        (["search=pa", "trainer=ddp"], ["one device"]),
        (["search=pa", "model=mask_rcnn"], ["model.center"]),
        (["search=pa", "seed=0,1"], ["seed", "give one"]),
        (["search=pa", "jobs=0"], ["jobs=0"]),
        (["search=pa", "--cfg"], ["--cfg"]),
        (["search=pa", "search.direction=up"], ["search.direction=up", "maximize"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_one_line_for_what_is_no_search(arguments, words, tmp_path, capsys):
    line = said(capsys, "train", f"runs={tmp_path}", *arguments)
    assert all(word in line for word in words), line
    assert not list(tmp_path.iterdir())


def test_the_last_validation_counts(tmp_path):
    run = SweepRun(1, [], [], "name", "mark", 10, folder=str(tmp_path))
    assert last_value(run, "val/map_pooled") is None
    rows = "step,train/loss,val/map_pooled\n4,,0.9\n9,1.0,\n9,,0.2\n"
    (tmp_path / "metrics.csv").write_text(rows)
    assert last_value(run, "val/map_pooled") == 0.2
    (tmp_path / "metrics.csv").write_text(rows.replace("0.2", "nan").replace("0.9", "inf"))
    assert last_value(run, "val/map_pooled") is None


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
(folder / "metrics.csv").write_text(f"step,val/map_pooled\\n9,{value}\\n")
(folder / "summary.json").write_text("{}")
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A process that leaves what a training leaves; the best learning rate is 0.001."""
    mode = ["good"]
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)

    def command(sweep, run):
        folder = sweep.folder / run.name / f"1-{run.mark}-1"
        return [sys.executable, str(script), str(folder), mode[0], *run.changes]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    return mode


def search(folder: Path, *more: str) -> int:
    space = "optim.optimizer.lr=tag(log,interval(0.00001,0.1))"
    drop = ["~optim.optimizer.weight_decay"]
    return main(["train", "search=optim", space, *drop, f"folder={folder}", *more])


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_trial_s_command_is_printed(stand_in, tmp_path, capsys):
    folder = tmp_path / "a b"
    assert search(folder, "search.trials=3", "jobs=2", "name=a b") == 0
    said = capsys.readouterr()
    rows = rows_of(folder)
    assert [(row["trial"], row["status"]) for row in rows] == [(str(i), "done") for i in (1, 2, 3)]
    best = max(rows, key=lambda row: float(row["val/map_pooled"]))
    command, last = said.out.splitlines()[-2:]
    assert last == str(folder)
    assert command == f"nucleist train 'name=a b' optim.optimizer.lr={best['optim.optimizer.lr']}"
    assert f"best of 3 trials: {best['trial']}, val/map_pooled" in said.err
    assert Path(best["folder"]).parent == folder / "a b"

    # The same command has nothing to do; with a larger number it goes on.
    assert search(folder, "search.trials=3", "jobs=2", "name=a b") == 0
    assert "3 of 3 trials are done" in capsys.readouterr().err and rows_of(folder) == rows
    assert search(folder, "search.trials=4", "name=a b") == 0
    assert rows_of(folder)[:3] == rows and len(rows_of(folder)) == 4
    runs = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [run["number"] for run in runs] == [1, 2, 3, 4]
    assert search(folder, "search.trials=6", "name=a b", "--plan") == 0
    text = capsys.readouterr().out
    assert "6 trials, 4 done" in text and f"done      {float(best['val/map_pooled']):.4f}" in text


def test_failed_trials_are_replaced(stand_in, tmp_path, capsys):
    """Rates above 0.001 fail: half of those that are drawn."""
    stand_in[0] = "fail"
    assert search(tmp_path / "f", "search.trials=3", "search.max_failed=20", "search.seed=1") == 0
    rows = rows_of(tmp_path / "f")
    by = {status: [r for r in rows if r["status"] == status] for status in ("done", "failed")}
    assert len(by["done"]) == 3 and len(by["failed"]) > 0
    assert all(float(row["optim.optimizer.lr"]) > 0.001 for row in by["failed"])
    assert all(row["val/map_pooled"] == "" for row in by["failed"])
    assert "diverged" in capsys.readouterr().err


def test_it_gives_up_when_all_fail(stand_in, tmp_path, capsys):
    stand_in[0] = "fail"
    given = ["optim.optimizer.lr=interval(0.01,0.02)", "search.max_failed=2"]
    assert search(tmp_path / "f", *given) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "2 trials in a row failed" in last and "002.log" in last
    assert [row["status"] for row in rows_of(tmp_path / "f")] == ["failed", "failed"]


def test_a_trial_that_was_cut_is_taken_up(stand_in, tmp_path):
    stand_in[0], folder = "hang", tmp_path / "f"
    thread = interrupt_when(folder / "logs" / "001.log", "up")
    assert search(folder, "search.trials=2") == 130
    thread.join()
    (cut,) = folder.glob("synthetic_mask_rcnn_pa/*")
    (waiting, _) = json.loads((folder / "sweep.json").read_text())["runs"]
    assert waiting["status"] == "waiting" and waiting["folder"] == str(cut)
    stand_in[0] = "good"
    assert search(folder, "search.trials=2") == 0
    rows = rows_of(folder)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert rows[0]["folder"] == str(cut)


TINY = [part for part in SMALL if part != "trainer=debug"]
TINY += ["trainer=cpu", "steps=6", "val_every=2", "checkpoint_every=1"]
TINY += ["model.rpn.post_nms_top_n.training=20", "model.rpn.post_nms_top_n.testing=20"]
TINY += ["model.box_head=32", "model.mask_head=[16,16]", "+model.backbone.channels=16"]
TINY += ["+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"]


def test_real_trainings_are_cut_and_go_on(tmp_path, capsys):
    """Two trials; the first is cut with 4 of its 6 steps to go."""
    folder = tmp_path / "f"
    given = ["train", "search=pa", *TINY, "search.trials=2", f"folder={folder}"]
    given += ["data.splits.val=train", "callbacks.warmup.steps=range(0,5,2)"]
    thread = interrupt_when(folder / "logs" / "001.log", "step 2/6")
    assert main(given) == 130
    thread.join()
    capsys.readouterr()
    assert main(given) == 0
    said = capsys.readouterr()
    assert "goes on from" in (folder / "logs" / "001.log").read_text()
    assert "split train, apart from the test images" in said.err
    command = shlex.split(said.out.splitlines()[-2])[2:]
    rows = rows_of(folder)
    for row in rows:
        run = Path(row["folder"])
        with (run / "metrics.csv").open(newline="") as file:
            values = [r["val/map_pooled"] for r in csv.DictReader(file) if r["val/map_pooled"]]
        assert len(values) == 3 and float(row["val/map_pooled"]) == float(values[-1])
        assert json.loads((run / "summary.json").read_text())["steps"] == 6
    best = max(rows, key=lambda row: float(row["val/map_pooled"]))
    config = compose("train", command)
    prepare(config)
    assert mark_of(config) in best["folder"]
