"""A sweep is worked through, interrupted and taken up again."""

import json
import os
import signal
from pathlib import Path

import pytest
from support.sweeps import finish, python, small_sweep

from nucleist.sweeps.launchers import Process
from nucleist.sweeps.sweep import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Sweep,
    SweepRun,
    steps_done,
    tail,
    work,
)


def test_a_failed_run_does_not_stop_the_others(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 3)
    places: list[int] = []

    def start(run: SweepRun, place: int) -> Process:
        places.append(place)
        last = "raise SystemExit('no such thing')" if run.number == 2 else finish(sweep, run)
        return python(sweep, run, last)

    work(sweep, start, jobs=2, every=0.02)
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


def test_no_more_runs_at_a_time_than_asked_for(tmp_path: Path) -> None:
    sweep, seen = small_sweep(tmp_path, 5), []
    changed = lambda run: seen.append(sweep.count(RUNNING))  # noqa: E731
    nap = "import time; time.sleep(0.2)"
    work(sweep, lambda run, _: python(sweep, run, finish(sweep, run) + nap), 2, changed, every=0.02)
    assert max(seen) == 2 and sweep.count(DONE) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_running_ones(number: signal.Signals, tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 3)
    jobs: list[Process] = []

    def start(run: SweepRun, place: int) -> Process:
        stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        code = "import time; print('up', flush=True); time.sleep(60)"
        jobs.append(python(sweep, run, stubborn * (run.number == 2) + code))
        return jobs[-1]

    def changed(run: SweepRun | None) -> None:
        if all("up" in tail(sweep.log(run)) for run in sweep.runs[:2]):
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        work(sweep, start, 2, changed, every=0.05, patience=0.5)
    assert [job.poll() is None for job in jobs] == [False, False]
    assert jobs[1].poll() == -signal.SIGKILL  # it ignored the interrupt
    assert [run.status for run in sweep.runs] == [WAITING] * 3
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"runs": 3}', '{"runs": [{}]}'])
def test_a_damaged_record_is_none(content: str, tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 1)
    (tmp_path / "sweep.json").write_text(content)
    sweep.refresh()
    assert sweep.runs[0].status == WAITING and not sweep.runs[0].failed


def test_a_sweep_is_stored_with_what_goes_on_with_it(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 2)
    sweep.runs[0].status, sweep.runs[0].job, sweep.runs[1].failed = RUNNING, "17", True
    sweep.save()
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert (content["title"], content["command"]) == ("title", "nucleist train -m")
    again = Sweep(tmp_path, "title", "nucleist train -m", small_sweep(tmp_path, 2).runs)
    again.refresh()
    assert [(run.status, run.job, run.failed) for run in again.runs] == [
        (WAITING, "17", False),
        (WAITING, None, True),
    ]
    assert [run.title() for run in again.runs] == ["seed=0", "seed=1"]


def test_the_progress_of_a_run_is_read_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert steps_done(log) == 0 and tail(log) == "(no log)"
    log.write_text("a\n\nstep 2/9  loss 1\nstep 4/9  loss 1\nb\n")
    assert steps_done(log) == 4 and tail(log, 2) == "step 4/9  loss 1\nb"
