"""Sweeps: what they consist of, how they are worked through, interrupted and taken up again."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from support.runs import SMALL, earlier_run, interrupt_when

import nucleist.conf
from nucleist.cli.main import main
from nucleist.config.compose import build, compose
from nucleist.files import holding
from nucleist.sweeps.launchers import Local, Process, Requeued, Submitit, command_of, quoted
from nucleist.sweeps.plan import expand, plan
from nucleist.sweeps.run import refuse_running, tell_capped
from nucleist.sweeps.sweep import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    HungUp,
    Sweep,
    SweepRun,
    steps_done,
    tail,
    work,
)
from nucleist.training.resume import mark_of, prepare
from nucleist.types import UserError

CONF = Path(next(iter(nucleist.conf.__path__)))
TINY = [part for part in SMALL if part != "trainer=debug"]
TINY += ["trainer=cpu", "steps=6", "val_every=2", "checkpoint_every=1"]
TINY += ["model.rpn.post_nms_top_n.training=20", "model.rpn.post_nms_top_n.testing=20"]


@pytest.mark.parametrize(
    ("overrides", "runs"),
    [
        (["seed=0,1"], ["seed=0", "seed=1"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (["a=1,2", "b=x,y"], ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]),
        (["attention=[p2,p3]"], ["attention=[p2,p3]"]),
        (["attention=[],[p2]"], ["attention=[]", "attention=[p2]"]),
        (["s=choice(0.1,0.5)", "+n='a,b'"], ["s=0.1 +n='a,b'", "s=0.5 +n='a,b'"]),
        (["seed=0,1", "seed=5"], ["seed=5"]),  # the last one counts
        (["model=glob(mask*)"], ["model=mask_rcnn", "model=mask_rcnn_pa"]),
        (["model=glob(mask*,exclude=*_pa)"], ["model=mask_rcnn"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_lists_mean_what_they_mean_to_hydra(overrides, runs):
    assert [" ".join(chosen) for chosen in expand(overrides)] == runs


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of the plan that stand for runs."""
    assert main(["train", *arguments, "--plan"]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if " waiting " in line]


def test_a_plan_starts_nothing(tmp_path, capsys):
    lines = plan_of(capsys, "-m", f"runs={tmp_path}", "data.exemplars=1,2", "seed=0,1", "jobs=2")
    assert len(lines) == 4 and all("unknown" in line for line in lines)
    assert lines[1].endswith("synthetic_mask_rcnn_pa data.exemplars=1 seed=1")
    assert not list(tmp_path.iterdir())


def test_a_plan_judges_by_the_last_run_of_that_kind(tmp_path, capsys):
    """600 steps of 1.25 s in the earlier run: 12.5 min; two at a time: 50 min for four, not 50."""
    earlier = earlier_run(tmp_path, capsys)
    (earlier / "weights").write_bytes(bytes(3_000_000))
    given = ["-m", f"runs={tmp_path}", "seed=0,1,2,3", "jobs=2"]
    lines = plan_of(capsys, *given)
    assert all("12 min     3 MB" in line for line in lines)
    assert main(["train", *given, "--plan"]) == 0
    said = capsys.readouterr().out
    assert "about 25 min with jobs=2, 12 MB of" in said and f"judged by {earlier}" in said
    assert all("unknown" in line for line in plan_of(capsys, *given, "model=mask_rcnn"))


def test_without_jobs_a_plan_takes_the_launcher_s_own(tmp_path, capsys, monkeypatch):
    """Two GPUs: two at a time. A queue: all at a time, as long as one of them: 12.5 min."""
    earlier_run(tmp_path, capsys)
    given = ["train", "-m", f"runs={tmp_path}", "seed=0,1,2,3", "--plan"]
    monkeypatch.setattr("nucleist.sweeps.launchers.visible_devices", lambda: ["0", "1"])
    assert main(given) == 0
    assert "about 25 min with jobs=2" in capsys.readouterr().out
    assert main([*given, "launcher=submitit"]) == 0
    assert "about 12 min with jobs=4" in capsys.readouterr().out
    assert main([*given, "launcher=submitit", "jobs=400"]) == 0
    assert "about 12 min with jobs=400" in capsys.readouterr().out


def test_a_name_may_be_a_number(tmp_path, capsys):
    lines = plan_of(capsys, "-m", f"runs={tmp_path}", "name=3,4")
    assert [line.split()[4] for line in lines] == ["3", "4"]


def test_a_larger_sweep_tells_where_some_of_it_is_done(tmp_path, capsys):
    """Another seed makes another sweep; in the folder of the old one it goes on."""
    given = ["train", "-m", f"runs={tmp_path}", "--plan"]
    assert main([*given, "seed=0,1"]) == 0
    old = Path(capsys.readouterr().out.splitlines()[0])
    config = compose("train", [f"runs={tmp_path}", "seed=1"])
    prepare(config)
    done = old / config.name / f"20260101-000000-{mark_of(config)}-1"
    done.mkdir(parents=True)
    for name in ("sweep.json", f"{done.relative_to(old)}/summary.json"):
        (old / name).write_text("{}")
    assert main([*given, "seed=0,1,2"]) == 0
    said = capsys.readouterr().out
    assert f"1 of them are finished in {old}; folder={old} goes on there" in said
    assert main([*given, "seed=0,1,2", f"folder={old}"]) == 0
    assert "3 runs, 1 done" in capsys.readouterr().out


def test_a_plan_shows_what_failed(tmp_path, capsys):
    """And after a try that was interrupted it still does."""
    folder = tmp_path / "s"
    given = ["-m", f"runs={tmp_path}", f"folder={folder}", "seed=0,1", "--plan"]
    settings = compose("multirun", [f"folder={folder}"])
    made = plan(settings, None, [f"runs={tmp_path}", "seed=0,1"])
    work(made.sweep, lambda run, _: python(made.sweep, run, f"exit({run.number - 1})"), 1)
    made.sweep.runs[0].status = WAITING  # it left no summary, so it is not done
    for _ in range(2):
        assert main(["train", *given]) == 0
        said = capsys.readouterr().out
        table = [line.split()[1] for line in said.splitlines() if "synthetic_mask" in line]
        assert table == ["waiting", "failed"]
        log = folder / "logs" / "002.log"
        assert f"run 2 failed, will be tried again; see {log}" in said
        made.sweep.refresh()
        made.sweep.save()
        assert [run.status for run in made.sweep.runs] == [WAITING, WAITING]


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONF / "sweep").glob("*.yaml")))
def test_every_named_sweep_composes(name, tmp_path, capsys):
    assert len(plan_of(capsys, f"sweep={name}", f"runs={tmp_path}")) > 1


def test_a_run_knows_its_own_folder_again():
    """The fingerprint in the plan is the one that the run's process computes."""
    settings = compose("multirun", ["sweep=ablation"])
    made = plan(settings, "ablation", ["seed=3", "experiment=bbbc360_25_pa"])
    for run in made.sweep.runs[:4]:
        config = compose("train", command_of(made.sweep, run)[4:])
        assert prepare(config) == "auto"
        assert (config.name, mark_of(config)) == (run.name, run.mark)


def test_the_ablation_trains_each_variant_once(tmp_path, capsys):
    lines = plan_of(capsys, "sweep=ablation", f"runs={tmp_path}", "name=x")
    names = [line.split()[4] for line in lines]
    # The default already attends on P2, suppresses in both, has no warm-up, threshold 0.5 and
    # a missed ratio of 0.
    assert names == [
        f"x_{variant}"
        for variant in (
            "reference", "attention_none", "attention_all", "suppress_none", "suppress_rpn",
            "suppress_roi", "propose_never", "warmup_short", "warmup_long", "threshold_30",
            "threshold_70", "threshold_95",
            "missed_20", "missed_40", "missed_80",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "levels"),
    [("compact", ["p2", "p3", "p4"]), ("resnet50", ["c4", "c5", "p2", "p3", "p4", "p5"])],
)
def test_the_ablation_fits_preset_and_length(preset, levels, tmp_path, capsys):
    """A tenth and a half of 1000 steps; all levels that the body has."""
    given = ["sweep=ablation", f"preset={preset}", "steps=1000", "name=x", f"runs={tmp_path}"]
    found = {line.split()[4]: line for line in plan_of(capsys, *given)}
    assert "callbacks.warmup.steps=100" in found["x_warmup_short"]
    assert "callbacks.warmup.steps=500" in found["x_warmup_long"]
    config = compose("train", [f"preset={preset}"])
    assert config.attention_levels == levels
    # Whichever of the two is the preset's own is the reference, and is not trained twice.
    expected = {"compact": "attention_all", "resnet50": "attention_p2"}[preset]
    assert {name for name in found if "attention_p" in name or "attention_a" in name} == {
        f"x_{expected}"
    }
    if preset == "compact":
        assert found["x_attention_all"].endswith("attention=[p2,p3,p4]")
    # There is a body with them, and none with more.
    body = compose("train", [f"preset={preset}", f"attention=[{','.join(levels)}]"]).model.backbone
    build(body)
    with pytest.raises(UserError, match="p9"):
        build(body, attention=[*levels, "p9"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "trainer=ddp", "seed=0,1"], ["one device", "jobs=N"]),
        (["-m", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"], ["without -m"]),
        (["-m", "seed=interval(0,1)"], ["interval", "key=value,value"]),
        (["-m", "seed"], ["'seed'", "key=value"]),
        (["-m", "sead=0,1"], ["sead", "seed"]),
        (["-m", "seed=0,1", "jobs=0"], ["jobs=0"]),
        (["-m", "seed=0,1", "launcher=slurm"], ["slurm", "submitit"]),
        (["-m", "seed=0,1", "--cfg"], ["--cfg", "--plan"]),
        (["sweep=ablatio"], ["ablatio", "ablation"]),
        (["sweep=ablation", "model=mask_rcnn"], ["model.suppress_rpn"]),
        (["seed=0,1"], ["seed=0,1", "-m"]),
        (["-m", "seed=0,1", "hydra.sweep.dir=x"], ["hydra.sweep.dir=x", "runs="]),
        (["-m", "model=null"], ["model=null", "mask_rcnn_pa"]),
        (["sweep=null"], ["sweep=null", "ablation, annotation_fraction, seeds"]),
        (["sweep=nope"], ["'nope'; there is ablation, annotation_fraction, seeds"]),
        (["-m", "~model"], ["model is empty"]),
        (["-m", "data.source=null"], ["data.source is empty"]),
        (["-m", "steps=abc"], ["steps=abc", "not a number"]),
        (["-m", "steps=0"], ["steps=0", "1 or more"]),
        (["-m", "optim.optimizer.lr=x"], ["optim.optimizer.lr=x", "not a number"]),
        (["-m", "model.suppress_rpn=3"], ["neither true nor false"]),
        (["-m", "steps=-5"], ["steps=-5", "1 or more"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_one_line_for_what_is_no_sweep(arguments, words, tmp_path, capsys):
    assert main(["train", f"runs={tmp_path}", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["plain", "a b", "x=1,2", "it's", "b\\'c", "${seed}", "ä/é"])
def test_any_folder_survives_as_an_override(text):
    value = compose("train", [f"runs={quoted(text)}"]).runs if "$" not in text else "${seed}"
    assert value == text


def small_sweep(folder: Path, count: int) -> Sweep:
    runs = [SweepRun(i + 1, [], [f"seed={i}"], "name", f"{i:012}", 10) for i in range(count)]
    return Sweep(folder, "title", "nucleist train -m", runs)


def finish(sweep: Sweep, run: SweepRun) -> str:
    """Python that leaves a finished run folder."""
    folder = sweep.folder / run.name / f"1-{run.mark}-1"
    return (
        f"import pathlib; p = pathlib.Path({str(folder)!r}); p.mkdir(parents=True, exist_ok=True);"
        "(p / 'summary.json').write_text('{}');"
    )


def python(sweep: Sweep, run: SweepRun, code: str) -> Process:
    return Process([sys.executable, "-c", code], sweep.log(run), dict(os.environ))


def test_a_failed_run_does_not_stop_the_others(tmp_path):
    sweep = small_sweep(tmp_path, 3)
    places: list[int] = []

    def start(run, place):
        places.append(place)
        last = "raise SystemExit('no such thing')" if run.number == 2 else finish(sweep, run)
        return python(sweep, run, last)

    work(sweep, start, jobs=2)
    assert [run.status for run in sweep.runs] == [DONE, FAILED, DONE]
    assert set(places) == {0, 1}
    assert "no such thing" in tail(sweep.log(sweep.runs[1]))
    stored = json.loads((tmp_path / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in stored] == ["done", "failed", "done"]
    assert stored[0]["folder"] == str(tmp_path / "name" / "1-000000000000-1")
    assert stored[1]["folder"] is None

    # Next time the failed one waits again, and it alone.
    sweep.refresh()
    assert [run.status for run in sweep.runs] == [DONE, WAITING, DONE]


def test_no_more_runs_at_a_time_than_asked_for(tmp_path):
    sweep, seen = small_sweep(tmp_path, 5), []
    tell = lambda run: seen.append(sweep.count(RUNNING))  # noqa: E731
    nap = "import time; time.sleep(0.2)"
    work(sweep, lambda run, _: python(sweep, run, finish(sweep, run) + nap), 2, tell, every=0.02)
    assert max(seen) == 2 and sweep.count(DONE) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_running_ones(number, tmp_path):
    sweep, jobs = small_sweep(tmp_path, 3), []

    def start(run, place):
        stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        code = "import time; print('up', flush=True); time.sleep(60)"
        jobs.append(python(sweep, run, stubborn * (run.number == 2) + code))
        return jobs[-1]

    def tell(run):
        if all("up" in tail(sweep.log(run)) for run in sweep.runs[:2]):
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        work(sweep, start, 2, tell, every=0.05, patience=0.5)
    assert [job.poll() is None for job in jobs] == [False, False]
    assert jobs[1].poll() == -signal.SIGKILL  # it did not listen
    assert [run.status for run in sweep.runs] == [WAITING] * 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_each_run_sees_one_device(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUCLEIST_RUN_DIR", "of another run")
    sweep = small_sweep(tmp_path, 4)
    gpus = Local(sweep, jobs=4)
    gpus.devices = ["0", "3"]
    seen = [gpus.environment(place) for place in range(4)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in seen] == ["0", "3", "0", "3"]
    assert all("NUCLEIST_RUN_DIR" not in variables for variables in seen)
    cpus = Local(sweep, jobs=1000)
    cpus.devices = []
    assert cpus.environment(0)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert cpus.environment(0)["OMP_NUM_THREADS"] == "7"


def test_the_progress_of_a_run_is_read_from_its_log(tmp_path):
    log = tmp_path / "log"
    assert steps_done(log) == 0 and tail(log) == "(no log)"
    log.write_text("a\n\nstep 2/9  loss 1\nstep 4/9  loss 1\nb\n")
    assert steps_done(log) == 4 and tail(log, 2) == "step 4/9  loss 1\nb"


def test_an_interrupted_sweep_goes_on_and_tells_what_failed(tmp_path, capsys):
    """One run that is cut with 30 of 40 steps to go, and one whose data cannot be."""
    folder = tmp_path / "sweep"
    command = ["train", "-m", *TINY, "data.annotation_fraction=0.5,7", "jobs=2", f"folder={folder}"]
    command += ["steps=40", "val_every=10", "checkpoint_every=5"]
    thread = interrupt_when(folder / "logs" / "001.log", "step 10/40")
    assert main(command) == 130
    thread.join()
    plan = json.loads((folder / "sweep.json").read_text())
    assert plan["runs"][0]["status"] == "waiting"
    cut = Path(plan["runs"][0]["folder"])
    assert (cut / "checkpoints" / "last.ckpt").exists() and not (cut / "summary.json").exists()

    capsys.readouterr()
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(folder)
    assert "failed: data.annotation_fraction=7" in said.err
    assert (
        said.err.strip().splitlines()[-1].startswith("nucleist: data.annotation_fraction=7")
    )  # of its log
    plan = json.loads((folder / "sweep.json").read_text())
    assert [run["status"] for run in plan["runs"]] == ["done", "failed"]
    assert plan["runs"][0]["folder"] == str(cut)
    assert "goes on from" in (folder / "logs" / "001.log").read_text()
    assert json.loads((cut / "summary.json").read_text())["steps"] == 40

    # What is done is not done again.
    assert main([part.replace("0.5,7", "0.5") for part in command]) == 0
    assert "1 of 1 runs are done" in capsys.readouterr().err


def test_a_sweep_does_not_start_beside_itself(tmp_path, capsys):
    """Another process holds the folder; a lock of our own would not stand in our way."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    code = "import sys, time, pathlib; from nucleist.training.run import holding\n"
    code += "with holding(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    sweep = small_sweep(tmp_path, 1)
    other = Process([sys.executable, "-c", code, str(folder)], tmp_path / "log", dict(os.environ))
    while "held" not in tail(tmp_path / "log"):
        time.sleep(0.1)
    try:
        assert main(["train", "-m", "seed=0,1", f"folder={folder}"]) == 2
    finally:
        other.kill()
    assert "is at work in it" in capsys.readouterr().err
    assert not sweep.log(sweep.runs[0]).exists()
    with holding(folder):
        pass


def test_a_file_in_the_place_of_the_logs_is_one_line(tmp_path, capsys):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "logs").touch()
    assert main(["train", "-m", *TINY, "seed=0,1", f"folder={folder}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # after the number of runs
    assert (
        line.startswith("nucleist: ")
        and f"{folder / 'logs'}: cannot make this folder" in line
        and "folder=DIR" in line
    )


def test_a_run_that_cannot_be_started_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no_such_program: cannot start a run"):
        Process([str(tmp_path / "no_such_program")], tmp_path / "logs" / "a.log", {})
    (tmp_path / "a.log").mkdir()
    with pytest.raises(UserError, match=r"a\.log: cannot start a run \(Is a directory\)"):
        Process([sys.executable], tmp_path / "a.log", {})


def test_limits_that_cut_are_told_at_the_end(tmp_path, capsys):
    sweep = small_sweep(tmp_path, 4)
    summaries = [
        {"capped": {"a=1": 2}, "best_checkpoint": {"capped": {"a=1": 3, "b=4": 1}}},
        {"best_checkpoint": {}},
        {"capped": {"c=9": 1}},
    ]
    for run, summary in zip(sweep.runs, summaries, strict=False):
        run.status, run.folder = DONE, str(tmp_path / str(run.number))
        Path(run.folder).mkdir()
        (Path(run.folder) / "summary.json").write_text(json.dumps(summary))
    sweep.runs[2].status = FAILED
    tell_capped(sweep)
    assert capsys.readouterr().err.splitlines() == [
        "nucleist: warning: a limit cut what was found: seed=0: a=1 in 3 images, b=4 in 1 images"
    ]


def test_submitit_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[slurm\]'"):
        Submitit(small_sweep(tmp_path, 1))


@pytest.fixture
def cluster(tmp_path):
    """SLURM's place is taken by submitit's own processes on this machine."""
    pytest.importorskip("submitit", reason="needs the slurm extra")
    sweep = small_sweep(tmp_path, 2)
    return Submitit(sweep, cluster="local", gpus_per_node=0, timeout_min=2, slurm_partition=None)


def test_jobs_go_through_the_queue(cluster, monkeypatch):
    def command(sweep, run):
        return [sys.executable, "-c", finish(sweep, run) + f"raise SystemExit({run.number - 1})"]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    work(cluster.sweep, cluster.start, cluster.jobs)
    assert [run.status for run in cluster.sweep.runs] == [DONE, FAILED]


def test_a_preempted_job_is_queued_again(cluster, tmp_path):
    """The first time it waits for its end, the second time it finds the file and is done."""
    code = (
        "import pathlib, signal, sys, time; p = pathlib.Path(sys.argv[1])\n"
        "if p.exists(): sys.exit(0)\n"
        "def end(*_): p.touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    job = cluster.executor.submit(
        Requeued([sys.executable, "-c", code, str(tmp_path / "file")], str(log))
    )
    while "up" not in tail(log):
        time.sleep(0.1)
    children = Path(f"/proc/{job._process.pid}/task/{job._process.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGUSR2)  # what SLURM sends before it takes the node
    assert job.result() == 0 and (tmp_path / "file").exists()


def test_a_sweep_goes_through_the_queue_from_the_command_line(tmp_path, capsys):
    pytest.importorskip("submitit", reason="needs the slurm extra")
    folder = tmp_path / "sweep"
    queue = ["launcher=submitit", "launcher.cluster=local", "launcher.gpus_per_node=0"]
    tiny = [*TINY, "steps=1", "val_every=1", "data.source.n_test=1", "name=once"]
    command = ["train", "-m", *tiny, *queue, "launcher.timeout_min=5", "seed=0,1"]
    assert main([*command, f"folder={folder}"]) == 0, capsys.readouterr().err
    stored = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [(run["status"], run["job"], run["failed"]) for run in stored] == [
        ("done", None, False)
    ] * 2
    assert len(list((folder / "once").glob("*/summary.json"))) == 2
    assert len(list((folder / "submitit").glob("*_submitted.pkl"))) == 2


def hang_up(sweep, launcher, when):
    """Work until `when` says so, then the terminal is closed."""

    def tell(run):
        if when():
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.raises(HungUp):
        work(sweep, launcher.start, launcher.jobs, tell, every=0.05, patience=1)


def test_a_closed_terminal_leaves_the_queue_alone(cluster, monkeypatch):
    """Both jobs go on to their end."""
    sweep = cluster.sweep

    def command(sweep, run):
        code = "import time; print('up', flush=True); time.sleep(1.5);" + finish(sweep, run)
        return [sys.executable, "-c", code]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    jobs, start = [], cluster.start
    cluster.start = lambda run, place: jobs.append(start(run, place)) or jobs[-1]
    hang_up(sweep, cluster, lambda: all("up" in tail(sweep.log(run)) for run in sweep.runs))
    stored = json.loads((sweep.folder / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in stored] == ["running"] * 2 and stored[0]["job"]
    while any(job.poll() is None for job in jobs):  # asked in the place of a new terminal
        time.sleep(0.1)
    sweep.refresh()
    assert [(run.status, run.job) for run in sweep.runs] == [(DONE, None)] * 2


SBATCH = """#!/bin/sh
echo "$@" >> "$QUEUE/submitted"
id=$(wc -l < "$QUEUE/submitted" | tr -d ' ')
echo "Submitted batch job $id"
touch "$QUEUE/job$id"
"""
SQUEUE = """#!/bin/sh
for word; do case $word in --jobs=*) id=${word#--jobs=};; esac; done
test -e "$QUEUE/job$id" && echo PENDING
"""


def test_what_is_in_the_queue_is_not_submitted_twice(tmp_path, monkeypatch):
    """A cluster whose jobs wait for ever; the second one is cancelled between two drivers."""
    pytest.importorskip("submitit", reason="needs the slurm extra")
    (tmp_path / "bin").mkdir()
    empty = "#!/bin/sh\n"
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": empty, "srun": empty}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(tmp_path))
    submitted = lambda: len((tmp_path / "submitted").read_text().splitlines())  # noqa: E731
    jobs = []
    for _ in range(2):
        sweep = small_sweep(tmp_path / "sweep", 2)
        sweep.refresh()
        launcher = Submitit(sweep, gpus_per_node=0, timeout_min=2)
        hang_up(sweep, launcher, lambda sweep=sweep: sweep.count(RUNNING) == 2)
        jobs.append([run.job for run in sweep.runs])
        (tmp_path / "job2").unlink(missing_ok=True)
        assert [launcher.has(run) for run in sweep.runs] == [True, len(jobs) == 2]
    assert jobs == [["1", "2"], ["1", "3"]] and submitted() == 3

    # A run of the queue that is at work is taken over; one of another process is in the way.
    sweep.runs[0].status = RUNNING
    refuse_running(sweep, launcher)
    assert sweep.runs[0].status == WAITING
    sweep.runs[0].status, sweep.runs[0].job = RUNNING, None
    with pytest.raises(UserError, match="is at work"):
        refuse_running(sweep, launcher)


def test_the_command_of_a_run_repeats_its_configuration(tmp_path):
    sweep = small_sweep(tmp_path / "it's", 1)
    command = command_of(sweep, sweep.runs[0])
    assert command[1:4] == ["-m", "nucleist", "train"]
    assert compose("train", command[4:]).runs == str(sweep.folder)
    assert compose("train", command[4:]).resume == "auto"


@pytest.mark.parametrize(
    "word",
    [
        "optim.optimizer.lr=1e-3", "optim.optimizer.lr=inf", "augment.crop=null", "seed=${steps}",
        "++model.missed_ratio=0", "~callbacks.speed", "model.center.anchor_size=[32,32]",
        "data.source.size=256", "trainer.devices=auto", "rescale_rpn=1", "+recipe=compact",
        "weights=coco", "data.batch_size=${oc.decode:'3'}", "attention=attention_levels",
    ],
)  # fmt: skip
def test_overrides_that_fit_are_taken(word):
    assert compose("train", [word])
