"""Train the runs of a plan, several at a time, and report what failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nucleist.config.build import build
from nucleist.files import holding, make_folder
from nucleist.sweeps.display import Display
from nucleist.sweeps.plan import Plan
from nucleist.sweeps.sweep import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Launcher,
    Sweep,
    SweepRun,
    tail,
    work,
)
from nucleist.training.limits import limits_in
from nucleist.types import Progress, UserError


def run_sweep(made: Plan, progress: Progress) -> Sweep:
    """Train the runs that are not done; see `nucleist.run_sweep`."""
    sweep = made.sweep
    with at_work_in(sweep.folder):
        sweep.refresh()
        launcher = launcher_of(made)
        refuse_running(sweep, launcher)
        sweep.save()
        done = f"{sweep.count(DONE)} of {len(sweep.runs)} runs are done"
        todo = f"{launcher.jobs} at a time; {made.total(launcher.jobs)}"
        progress.note(f"{sweep.folder}: {done}, {todo}")
        with Display(sweep, progress) as display:
            work(sweep, launcher.start, launcher.jobs, display.update)
    for run in sweep.runs:
        if run.status == FAILED:
            report_failed(sweep, run, progress)
    warn_of_limits_in(sweep, progress)
    return sweep


def launcher_of(made: Plan) -> Launcher:
    """The launcher that was chosen."""
    settings = made.request.settings
    return build(settings.launcher, _partial_=True)(made.sweep, settings.jobs)


@contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Make a folder of many runs and keep other processes out of it.

    Raises:
        UserError: If it cannot be made, or another process is at work in it.
    """
    with holding(make_folder(folder, "set folder=DIR")):
        yield


def refuse_running(sweep: Sweep, launcher: Launcher | None = None) -> None:
    """Raise a `UserError` if another process is at work on a run.

    A run in the launcher's queue is taken over: it waits for its job.
    """
    for run in sweep.runs:
        if run.status == RUNNING and launcher is not None and launcher.has(run):
            run.status = WAITING
        elif run.status == RUNNING:
            raise UserError(f"{run.folder}: a process is at work in it; wait for it, or end it")


def report_failed(sweep: Sweep, run: SweepRun, progress: Progress) -> None:
    """Note which run failed, and the last lines of its log."""
    log = sweep.log(run)
    progress.note(f"\nfailed: {run.title()}, see {log}\n{tail(log)}")


def warn_of_limits_in(sweep: Sweep, progress: Progress) -> None:
    """Warn of finished runs in which a limit cut what was found."""
    for run in sweep.runs:
        reached = limits_in(Path(run.folder)) if run.status == DONE and run.folder else {}
        if reached:
            words = ", ".join(f"{name} in {count} images" for name, count in reached.items())
            progress.warn(f"a limit cut what was found: {run.title()}: {words}")
