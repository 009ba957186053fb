"""How runs are started: processes with one device each, and jobs of a queue."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import TINY, finish, small_sweep

from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.sweeps.launchers import Local, Process, Submitit, command_of
from nucleist.sweeps.queued import Requeued
from nucleist.sweeps.run import refuse_running
from nucleist.sweeps.sweep import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    HungUp,
    Sweep,
    SweepRun,
    tail,
    work,
)
from nucleist.types import UserError

pytestmark = pytest.mark.slow


def test_the_command_of_a_run_repeats_its_configuration(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path / "it's", 1)
    command = command_of(sweep, sweep.runs[0])
    assert command[1:4] == ["-m", "nucleist", "train"]
    assert compose("train", command[4:]).runs == str(sweep.folder)
    assert compose("train", command[4:]).resume == "auto"


def test_each_run_sees_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "of another run")
    sweep = small_sweep(tmp_path, 4)
    gpus = Local(sweep, jobs=4)
    gpus.devices = ["0", "3"]
    seen = [gpus.environment(place) for place in range(4)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in seen] == ["0", "3", "0", "3"]
    assert all("PL_GLOBAL_SEED" not in variables for variables in seen)
    cpus = Local(sweep, jobs=1000)
    cpus.devices = []
    assert cpus.environment(0)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert cpus.environment(0)["OMP_NUM_THREADS"] == "7"


def test_a_run_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no_such_program: cannot start a run"):
        Process([str(tmp_path / "no_such_program")], tmp_path / "logs" / "a.log", {})
    (tmp_path / "a.log").mkdir()
    with pytest.raises(UserError, match=r"a\.log: cannot start a run \(Is a directory\)"):
        Process([sys.executable], tmp_path / "a.log", {})


def test_submitit_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[slurm\]'"):
        Submitit(small_sweep(tmp_path, 1))


@pytest.fixture
def cluster(tmp_path: Path) -> Submitit:
    """SLURM's place is taken by submitit's own processes on this machine."""
    pytest.importorskip("submitit", reason="needs the slurm extra")
    sweep = small_sweep(tmp_path, 2)
    return Submitit(sweep, cluster="local", gpus_per_node=0, timeout_min=2, slurm_partition=None)


def test_parameters_that_submitit_does_not_take_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs the slurm extra")
    with pytest.raises(UserError, match=r"^launcher=submitit: ") as error:
        Submitit(small_sweep(tmp_path, 1), cluster="local", minutes=3)
    assert "\n" not in str(error.value)


def test_jobs_go_through_the_queue(cluster: Submitit, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(sweep: Sweep, run: SweepRun) -> list[str]:
        code = finish(sweep, run) + f"raise SystemExit({run.number - 1})"
        return [sys.executable, "-S", "-E", "-c", code]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    work(cluster.sweep, cluster.start, cluster.jobs)
    assert [run.status for run in cluster.sweep.runs] == [DONE, FAILED]


def test_a_preempted_job_is_queued_again(cluster: Submitit, tmp_path: Path) -> None:
    """The first time it waits for its end, the second time it finds the file and is done."""
    code = (
        "import pathlib, signal, sys, time; p = pathlib.Path(sys.argv[1])\n"
        "if p.exists(): sys.exit(0)\n"
        "def end(*_): p.touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    job = cluster.executor.submit(
        Requeued([sys.executable, "-S", "-c", code, str(tmp_path / "file")], str(log))
    )
    while "up" not in tail(log):
        time.sleep(0.1)
    children = Path(f"/proc/{job._process.pid}/task/{job._process.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGUSR2)  # what SLURM sends before it takes the node
    assert job.result() == 0 and (tmp_path / "file").exists()


def test_what_a_job_is_survives_the_way_to_its_node(tmp_path: Path) -> None:
    """Nothing of the process that submits it, such as an open log, travels along."""
    code = "print('done')"
    job = Requeued([sys.executable, "-S", "-E", "-c", code], str(tmp_path / "log"))
    again = pickle.loads(pickle.dumps(job))
    assert again() == 0 and tail(tmp_path / "log") == "done"


def test_the_node_imports_little_before_the_training_starts() -> None:
    code = "import sys, nucleist.sweeps.queued; print(sys.modules.keys() & set(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "torch", "hydra", "omegaconf", "numpy"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.whole
def test_a_real_training_goes_through_the_queue_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit", reason="needs the slurm extra")
    folder = tmp_path / "sweep"
    queue = ["launcher=submitit", "launcher.cluster=local", "launcher.gpus_per_node=0"]
    tiny = [*TINY, "steps=1", "val_every=1", "data.source.n_test=1", "name=once"]
    command = ["train", "-m", *tiny, *queue, "launcher.timeout_min=5", f"folder={folder}"]
    assert main(command) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    (run,) = json.loads((folder / "sweep.json").read_text())["runs"]
    assert (run["status"], run["job"], run["failed"]) == ("done", None, False)
    assert len(list((folder / "once").glob("*/summary.json"))) == 1
    assert len(list((folder / "submitit").glob("*_submitted.pkl"))) == 1


def hang_up(sweep: Sweep, launcher: Any, when: Callable[[], bool]) -> None:
    """Work until `when` is true, then the terminal is closed."""

    def changed(run: SweepRun | None) -> None:
        if when():
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.raises(HungUp):
        work(sweep, launcher.start, launcher.jobs, changed, every=0.05, patience=1)


def test_a_closed_terminal_leaves_the_queue_alone(
    cluster: Submitit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both jobs go on to their end, which they reach after the terminal is gone."""
    sweep, gone = cluster.sweep, tmp_path / "gone"

    def command(sweep: Sweep, run: SweepRun) -> list[str]:
        wait = f"import os, time; print('up', flush=True)\nwhile not os.path.exists({str(gone)!r}):"
        return [sys.executable, "-S", "-E", "-c", f"{wait} time.sleep(0.05)\n{finish(sweep, run)}"]

    monkeypatch.setattr("nucleist.sweeps.launchers.command_of", command)
    jobs: list[Any] = []
    start = cluster.start
    monkeypatch.setattr(cluster, "start", lambda *given: jobs.append(start(*given)) or jobs[-1])
    hang_up(sweep, cluster, lambda: all("up" in tail(sweep.log(run)) for run in sweep.runs))
    stored = json.loads((sweep.folder / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in stored] == ["running"] * 2 and stored[0]["job"]
    gone.touch()
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


def test_what_is_in_the_queue_is_not_submitted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster whose jobs wait for ever; the second one is cancelled between two drivers."""
    pytest.importorskip("submitit", reason="needs the slurm extra")
    (tmp_path / "bin").mkdir()
    empty = "#!/bin/sh\n"
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": empty, "srun": empty}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(tmp_path))
    jobs = []
    for _ in range(2):
        sweep = small_sweep(tmp_path / "sweep", 2)
        sweep.refresh()
        launcher = Submitit(sweep, gpus_per_node=0, timeout_min=2)
        hang_up(sweep, launcher, lambda sweep=sweep: sweep.count(RUNNING) == 2)
        jobs.append([run.job for run in sweep.runs])
        (tmp_path / "job2").unlink(missing_ok=True)
        assert [launcher.has(run) for run in sweep.runs] == [True, len(jobs) == 2]
    assert jobs == [["1", "2"], ["1", "3"]]
    assert len((tmp_path / "submitted").read_text().splitlines()) == 3

    # A run of the queue that is at work is taken over; one of another process is in the way.
    sweep.runs[0].status = RUNNING
    refuse_running(sweep, launcher)
    assert sweep.runs[0].status == WAITING
    sweep.runs[0].status, sweep.runs[0].job = RUNNING, None
    with pytest.raises(UserError, match="is at work"):
        refuse_running(sweep, launcher)
