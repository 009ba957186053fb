"""Many runs: their status, and the loop that works through them.

A sweep is a folder with its run folders, `logs/` and `sweep.json`, from which a sweep that was
interrupted goes on.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nucleist.files import is_held, read_json_if_there, write_json
from nucleist.training.run import find_run, is_finished

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass
class SweepRun:
    """One training of a sweep.

    Attributes:
        number: Its place in the plan, from 1.
        overrides: Those of `nucleist train`.
        changes: Those of the overrides that differ between the runs of the sweep.
        name: Name of the run, the folder above its run folder.
        mark: Hash of its configuration.
        steps: Length of its training.
        status: `waiting`, `running`, `done` or `failed`.
        folder: Its run folder, once there is one.
        failed: Whether it failed when it was tried last; it waits for another try.
        job: Its id in a queue while it is there.
    """

    number: int
    overrides: list[str]
    changes: list[str]
    name: str
    mark: str
    steps: int
    status: str = WAITING
    folder: str | None = None
    failed: bool = False
    job: str | None = None

    def title(self) -> str:
        """A short name: what distinguishes it from the others."""
        return " ".join(self.changes) or self.name


@dataclass
class Sweep:
    """The runs of a sweep and the status of each.

    Attributes:
        folder: The folder of the sweep.
        title: Its name.
        command: The command that goes on with it.
        runs: Its runs.
    """

    folder: Path
    title: str
    command: str
    runs: list[SweepRun] = field(default_factory=list)

    def refresh(self) -> None:
        """Read the status from the run folders: finished runs are done, failed ones wait again."""
        known = self._known()
        for run in self.runs:
            before = known.get(run.mark, {})
            run.failed = before.get("status") == FAILED or before.get("failed") is True
            run.job = before.get("job")
            found = find_run(self.folder, run.name, run.mark)
            run.folder = None if found is None else str(found)
            if found is None:
                run.status = WAITING
            elif is_finished(found):
                run.status, run.failed, run.job = DONE, False, None
            else:
                run.status = RUNNING if is_held(found) else WAITING

    def elsewhere(self) -> dict[Path, int]:
        """How many of the waiting runs are finished in each sweep folder beside this one.

        A sweep with one seed more is another sweep; in the old one's folder it goes on with it.
        """
        found: dict[Path, int] = {}
        for plan in sorted(self.folder.parent.glob("*/sweep.json")):
            folder = plan.parent
            if folder != self.folder:
                waiting = [run for run in self.runs if run.status == WAITING]
                runs = [find_run(folder, run.name, run.mark) for run in waiting]
                if count := sum(run is not None and is_finished(run) for run in runs):
                    found[folder] = count
        return found

    def _known(self) -> dict[str, dict[str, Any]]:
        """Runs by hash as `sweep.json` has them; none if it is missing or damaged."""
        content = read_json_if_there(self.folder / "sweep.json")
        try:
            return {run["mark"]: run for run in content["runs"]}
        except (KeyError, TypeError):
            return {}

    def log(self, run: SweepRun) -> Path:
        """Where a run's output goes."""
        return self.folder / "logs" / f"{run.number:03}.log"

    def save(self) -> None:
        """Write `sweep.json`."""
        content = {"title": self.title, "command": self.command}
        write_json(self.folder / "sweep.json", content | {"runs": [asdict(r) for r in self.runs]})

    def count(self, status: str) -> int:
        """Number of runs with a status."""
        return sum(run.status == status for run in self.runs)


class Job(Protocol):
    """A run that was started.

    Attributes:
        id: Its id in a queue; None if there is no queue.
        lasting: Whether it goes on without this process, in a queue.
    """

    id: str | None
    lasting: bool

    def poll(self) -> int | None:
        """Exit status, None as long as it runs."""

    def stop(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class Launcher(Protocol):
    """How runs are started.

    Attributes:
        jobs: Runs at a time.
    """

    jobs: int

    def has(self, run: SweepRun) -> bool:
        """Whether a run is in a queue, from which it can be taken over."""

    def start(self, run: SweepRun, place: int) -> Job:
        """Start a run in a place, 0 to jobs - 1; two runs are never in one place at a time.

        Raises:
            UserError: If it cannot be started.
        """


class HungUp(KeyboardInterrupt):
    """The terminal is closed."""


Start = Callable[[SweepRun, int], Job]
"""Starts a run in a place, 0 to jobs - 1; two runs are never in one place at a time."""


def work(
    sweep: Sweep,
    start: Start,
    jobs: int,
    changed: Callable[[SweepRun | None], None] = lambda run: None,
    every: float = 0.2,
    patience: float = 30.0,
) -> None:
    """Start the waiting runs, several at a time; a failed run does not stop the others.

    On Ctrl-C, SIGTERM or a closed terminal the running ones are stopped and wait again; jobs in a
    queue go on when only the terminal is closed.

    Args:
        sweep: The plan; its `sweep.json` is kept up to date.
        start: Starts one run.
        jobs: Runs at a time.
        changed: Called with each run whose status has changed, and with None after each look.
        every: Seconds between two looks.
        patience: Seconds that runs have to end by themselves when interrupted.

    Raises:
        KeyboardInterrupt: If interrupted.
    """
    waiting = [run for run in sweep.runs if run.status == WAITING]
    places = list(range(jobs))[::-1]
    running: dict[int, tuple[SweepRun, Job, int]] = {}

    def change(run: SweepRun, status: str, job: Job | None = None) -> None:
        run.status, run.job = status, None if job is None else job.id
        if status != WAITING:
            run.failed = status == FAILED
        found = find_run(sweep.folder, run.name, run.mark)
        run.folder = None if found is None else str(found)
        sweep.save()
        changed(run)

    with as_interrupts():
        try:
            while waiting or running:
                while waiting and places:
                    run, place = waiting.pop(0), places.pop()
                    job = start(run, place)
                    running[run.number] = run, job, place
                    change(run, RUNNING, job)
                time.sleep(every)
                for run, job, place in list(running.values()):
                    status = job.poll()
                    if status is not None:
                        del running[run.number]
                        places.append(place)
                        change(run, DONE if status == 0 else FAILED)
                changed(None)
        except HungUp:
            running = {key: known for key, known in running.items() if not known[1].lasting}
            raise
        finally:
            with patiently():
                _end([job for _, job, _ in running.values()], patience)
                for run, _, _ in running.values():
                    change(run, WAITING)


def _end(jobs: Sequence[Job], patience: float) -> None:
    for job in jobs:
        job.stop()
    until = time.monotonic() + patience
    while any(job.poll() is None for job in jobs) and time.monotonic() < until:
        time.sleep(0.1)
    for job in jobs:
        if job.poll() is None:
            job.kill()


@contextmanager
def as_interrupts() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does, and a closed terminal raises `HungUp`."""

    def interrupt(number: int, frame: Any) -> None:
        raise HungUp if number == getattr(signal, "SIGHUP", None) else KeyboardInterrupt

    with _handling(interrupt, "SIGTERM", "SIGHUP"):
        yield


@contextmanager
def patiently() -> Iterator[None]:
    """A second Ctrl-C does not hinder cleaning up after the first."""
    with _handling(signal.SIG_IGN, "SIGINT", "SIGTERM", "SIGHUP"):
        yield


@contextmanager
def _handling(handler: Any, *names: str) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def steps_done(log: Path) -> int:
    """The last step in a run's log, 0 if there is none."""
    found = re.findall(r"^step (\d+)/", tail(log, 20), re.MULTILINE)
    return int(found[-1]) if found else 0


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
