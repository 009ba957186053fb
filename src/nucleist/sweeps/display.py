"""Progress of many runs: a line for each change, and on a terminal a bar over all steps."""

from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from nucleist.progress import Console
from nucleist.sweeps.sweep import DONE, FAILED, RUNNING, WAITING, Sweep, SweepRun, steps_done
from nucleist.types import Progress


class Display(AbstractContextManager["Display"]):
    """Shows the runs of a sweep.

    Args:
        sweep: The sweep.
        progress: Takes the lines; the console shows a bar besides.
    """

    def __init__(self, sweep: Sweep, progress: Progress):
        self.sweep, self.progress = sweep, progress
        terminal = Terminal(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=terminal,
            disable=not (isinstance(progress, Console) and terminal.is_terminal),
        )
        self.task = self.bar.add_task("", total=sum(run.steps for run in sweep.runs))

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()

    def update(self, run: SweepRun | None) -> None:
        """Show a run whose status has changed; None updates the bar alone."""
        runs = self.sweep.runs
        if run is not None:
            ended = self.sweep.count(DONE) + self.sweep.count(FAILED)
            status = "interrupted" if run.status == WAITING else run.status
            line = f"{ended:>{len(str(len(runs)))}}/{len(runs)}  {status:<11} {run.title()}"
            self.progress.note(line)
        steps = {DONE: lambda r: r.steps, RUNNING: lambda r: steps_done(self.sweep.log(r))}
        done = sum(steps[r.status](r) for r in runs if r.status in steps)
        waiting = f"{self.sweep.count(RUNNING)} running, {self.sweep.count(WAITING)} waiting"
        total = sum(run.steps for run in runs)  # a search adds runs
        self.bar.update(self.task, completed=done, total=total, description=waiting)
