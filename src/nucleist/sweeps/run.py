"""`nucleist train -m`: many runs, from lists of values and named sweeps."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import get_class
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nucleist.config.compose import build, compose
from nucleist.files import holding
from nucleist.sweeps.costs import duration, size
from nucleist.sweeps.plan import Plan, plan
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
from nucleist.training.limits import capped_in
from nucleist.types import UserError

HELP = """usage: nucleist train -m [sweep=NAME] [jobs=N] [launcher=NAME] [--plan] [key=value,...]

  nucleist train -m experiment=bbbc360_pa data.annotation_fraction=0.05,0.1 seed=0,1
  nucleist train -m experiment=bbbc360_pa 'seed=range(5)' jobs=2
  nucleist train sweep=annotation_fraction 'experiment=glob(bbbc360_*baseline)' seed=0,1 --plan
  nucleist train sweep=ablation experiment=bbbc360_25_pa seed=0,1,2

Every combination of the listed values is a run, a process of its own. The same command goes on
with a sweep that was interrupted: finished runs are kept, half-finished ones go on from their last
checkpoint, failed ones are tried again.

  --plan         list the runs with estimated time and size, start nothing
  sweep=NAME     annotation_fraction, seeds, ablation
  search=NAME    instead: settings chosen by Optuna, see nucleist train search=pa --help
  jobs=N         runs at a time; default: one a GPU, else one
  launcher=NAME  local, submitit (jobs of a SLURM cluster)
  folder=DIR     default: runs/sweeps/NAME-FINGERPRINT
"""

OWN = ("sweep", "search", "jobs", "launcher", "folder")


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        settings: `conf/multirun.yaml` with what was chosen.
        names: The last `sweep=NAME` and `search=NAME`, those that there are.
        rest: Overrides for `nucleist train`.
        command: The whole command, for the record.
        plan: Whether only the plan is wanted.
    """

    settings: DictConfig
    names: dict[str, str]
    rest: list[str]
    command: str
    plan: bool


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns 1 if a run failed."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    request = read(arguments)
    settings = request.settings
    made = plan(settings, request.names.get("sweep"), request.rest, request.command)
    if request.plan:
        print_plan(made, jobs_of(settings, made.sweep))
        return 0
    return run_sweep(made, settings)


def read(arguments: Sequence[str]) -> Request:
    """Sort the words of a command.

    Raises:
        UserError: For a flag or a number of jobs that is none.
    """
    words = [a for a in arguments if not a.startswith("-")]
    flags = {a for a in arguments if a.startswith("-")}
    unknown = flags - {"-m", "--multirun", "--plan"}
    if unknown:
        raise UserError(f"{unknown.pop()} does not go with a sweep; use --plan to see its runs")
    own = [w for w in words if w.split("=")[0].split(".")[0] in OWN]
    settings = compose("multirun", own)
    if settings.jobs is not None and not (isinstance(settings.jobs, int) and settings.jobs > 0):
        raise UserError(f"jobs={settings.jobs} is not a number of runs; give 1 or more")
    pairs = [w.split("=", 1) for w in own if w.startswith(("sweep=", "search="))]
    rest = [w for w in words if w not in own]
    command = shlex.join(["nucleist", "train", *arguments])
    return Request(settings, {pair[0]: pair[1] for pair in pairs}, rest, command, "--plan" in flags)


def jobs_of(settings: DictConfig, sweep: Sweep) -> int:
    """Runs at a time: as asked for, else what the launcher does by itself."""
    launcher: Any = get_class(settings.launcher._target_)
    return settings.jobs or launcher.default_jobs(sweep)


def print_plan(made: Plan, jobs: int) -> None:
    """A table of the runs, with time and size where they are known."""
    sweep = made.sweep
    print(f"{sweep.folder}\n")
    print(f"{'run':>4}  {'status':<8} {'time':>10} {'size':>8}  what")
    for run in sweep.runs:
        cost = made.cost(run)
        todo = run.status != DONE
        time = "unknown" if cost is None else duration(cost.seconds_per_step * run.steps)
        space = "unknown" if cost is None else size(cost.size)
        what = " ".join([run.name, *run.changes])
        status = FAILED if run.failed and run.status == WAITING else run.status
        cells = (time, space) if todo else ("", "")
        print(f"{run.number:>4}  {status:<8} {cells[0]:>10} {cells[1]:>8}  {what}")
    print(f"\n{len(sweep.runs)} runs, {sweep.count(DONE)} done; {made.total(jobs)}")
    for folder, count in sweep.elsewhere().items():
        print(f"{count} of them are finished in {folder}; folder={folder} goes on there")
    for run in sweep.runs:
        if run.failed and run.status == WAITING:
            print(f"run {run.number} failed, will be tried again; see {sweep.log(run)}")
    left = [made.cost(run) for run in sweep.runs if run.status != DONE]
    for source in sorted({cost.run for cost in left if cost is not None}):
        print(f"judged by {source}")


def run_sweep(made: Plan, settings: DictConfig) -> int:
    """Do what is not done; returns 1 if a run failed."""
    sweep = made.sweep
    with at_work_in(sweep.folder):
        sweep.refresh()
        launcher = build(settings.launcher, _partial_=True)(sweep, settings.jobs)
        refuse_running(sweep, launcher)
        sweep.save()
        done = f"{sweep.count(DONE)} of {len(sweep.runs)} runs are done"
        todo = f"{launcher.jobs} at a time; {made.total(launcher.jobs)}"
        print(f"{sweep.folder}: {done}, {todo}", file=sys.stderr)
        with Display(sweep) as display:
            work(sweep, launcher.start, launcher.jobs, display.tell)
    failed = [run for run in sweep.runs if run.status == FAILED]
    for run in failed:
        tell_failed(sweep, run)
    tell_capped(sweep)
    print(sweep.folder)
    return 1 if failed else 0


@contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Make a folder of many runs and keep other processes out of it.

    Raises:
        UserError: If it cannot be made, or another process is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make this folder ({error.strerror}); set folder=DIR"
        ) from error
    with holding(folder):
        yield


def refuse_running(sweep: Sweep, launcher: Any = None) -> None:
    """Raise a `UserError` if a run is at work that a sweep which was killed has started.

    One that is in the queue of the launcher waits for it: it is taken over, not started.
    """
    has: Any = getattr(launcher, "has", lambda run: False)
    for run in sweep.runs:
        if run.status == RUNNING and has(run):
            run.status = WAITING
        elif run.status == RUNNING:
            raise UserError(f"{run.folder}: a process is at work in it; wait for it, or end it")


def tell_failed(sweep: Sweep, run: SweepRun) -> None:
    """Print which run failed, and the last lines of its log."""
    log = sweep.log(run)
    print(f"\nfailed: {run.title()}, see {log}\n{tail(log)}", file=sys.stderr)


def tell_capped(sweep: Sweep) -> None:
    """Print in which finished runs a limit cut what was found."""
    for run in sweep.runs:
        reached = capped_in(Path(run.folder)) if run.status == DONE and run.folder else {}
        if reached:
            told = ", ".join(f"{name} in {count} images" for name, count in reached.items())
            print(
                f"nucleist: warning: a limit cut what was found: {run.title()}: {told}",
                file=sys.stderr,
            )


class Display:
    """A line for each change, and on a terminal a bar over the steps of all runs."""

    def __init__(self, sweep: Sweep):
        self.sweep, self.console = sweep, Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=sum(run.steps for run in sweep.runs))

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def tell(self, run: SweepRun | None) -> None:
        """Show what has changed, or only the time."""
        runs = self.sweep.runs
        if run is not None:
            ended = self.sweep.count(DONE) + self.sweep.count(FAILED)
            status = "interrupted" if run.status == WAITING else run.status
            line = f"{ended:>{len(str(len(runs)))}}/{len(runs)}  {status:<11} {run.title()}"
            self.console.print(line, markup=False)
        steps = {DONE: lambda r: r.steps, RUNNING: lambda r: steps_done(self.sweep.log(r))}
        done = sum(steps[r.status](r) for r in runs if r.status in steps)
        waiting = f"{self.sweep.count(RUNNING)} running, {self.sweep.count(WAITING)} waiting"
        total = sum(run.steps for run in runs)  # a search adds runs
        self.bar.update(self.task, completed=done, total=total, description=waiting)
