"""A search for good settings: trainings whose settings Optuna chooses, one process a trial."""

import csv
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleist.files import replacing
from nucleist.sweeps.display import Display
from nucleist.sweeps.run import (
    at_work_in,
    launcher_of,
    refuse_running,
    report_failed,
    warn_of_limits_in,
)
from nucleist.sweeps.study import Trials
from nucleist.sweeps.sweep import DONE, FAILED, WAITING, Job, Launcher, SweepRun, work
from nucleist.sweeps.trials import SearchPlan
from nucleist.sweeps.validation import value_of
from nucleist.types import Progress, UserError


@dataclass(frozen=True)
class Found:
    """The best trial of a search.

    Attributes:
        number: Its number, from 1.
        value: The metric of its last validation.
        params: What was chosen, by key.
        overrides: Those of a training with these settings.
        folder: The folder of the search: `study.db` (Optuna's), `trials.csv` and the runs.
    """

    number: int
    value: float
    params: dict[str, Any]
    overrides: list[str]
    folder: Path

    @property
    def command(self) -> str:
        """The command that trains with these settings."""
        return shlex.join(["nucleist", "train", *self.overrides])


def run_search(made: SearchPlan, progress: Progress) -> Found:
    """Train trials until enough have finished; see `nucleist.run_search`."""
    sweep = made.sweep
    with at_work_in(sweep.folder):
        trials = made.open()
        trials.forget_halves()
        made.fill(trials.all())
        refuse_running(sweep)
        sweep.save()
        launcher = launcher_of(made.plan)
        progress.note(made.validated_on())
        done = f"{sweep.count(DONE)} of {made.settings['trials']} trials are done"
        todo = f"{launcher.jobs} at a time; {made.plan.total(launcher.jobs)}"
        progress.note(f"{sweep.folder}: {done}, {todo}")
        with Display(sweep, progress) as display:
            search = Search(made, trials, launcher, display)
            while sweep.count(WAITING):
                work(sweep, search.start, launcher.jobs, search.record)
                made.add_missing()  # in the place of failed ones
        write_trials(made, trials)
    warn_of_limits_in(sweep, progress)
    best = trials.best()
    assert best is not None and best.value is not None  # enough trials have finished
    value = f"{made.metric} {best.value:.4f}"
    progress.note(f"best of {sweep.count(DONE)} trials: {best.number + 1}, {value}")
    overrides = made.overrides(best.params)
    return Found(best.number + 1, best.value, best.params, overrides, sweep.folder)


class Search:
    """Connects the loop over runs with the study.

    Args:
        made: The plan.
        trials: The study.
        launcher: Starts runs.
        display: Shows every change.
    """

    def __init__(self, made: SearchPlan, trials: Trials, launcher: Launcher, display: Display):
        self.made, self.trials = made, trials
        self.launcher, self.display = launcher, display
        self.failed_in_a_row = 0

    def start(self, run: SweepRun, place: int) -> Job:
        """Start a run, or go on with it; settings are chosen for a new one.

        Raises:
            UserError: If there is no configuration with them; the trial is given up.
        """
        if not run.mark:
            trial = self.trials.ask()
            assert trial.number + 1 == run.number
            try:
                self.made.settle(run, trial.params)
            except UserError:
                self.trials.tell(trial.number, None)
                raise
        return self.launcher.start(run, place)

    def record(self, run: SweepRun | None) -> None:
        """Store the result of a run in the study.

        Raises:
            UserError: If too many failed in a row.
        """
        ended = run is not None and run.status in (DONE, FAILED)
        if run is not None and ended:
            asked = self.made.settings["metric"]
            found = value_of(run, asked) if run.status == DONE else None
            value = None if found is None else found[1]
            if value is None:
                run.status = FAILED
                self.made.sweep.save()
            self.trials.tell(run.number - 1, value)
            write_trials(self.made, self.trials)
        self.display.update(run)
        if run is not None and ended:
            self._count(run)

    def _count(self, run: SweepRun) -> None:
        if run.status == DONE:
            self.failed_in_a_row = 0
            return
        self.failed_in_a_row += 1
        report_failed(self.made.sweep, run, self.display.progress)
        if self.failed_in_a_row >= self.made.settings["max_failed"]:
            raise UserError(
                f"{self.failed_in_a_row} trials in a row failed, see {self.made.sweep.log(run)}; "
                "change the space, or raise search.max_failed"
            )


def write_trials(made: SearchPlan, trials: Trials) -> None:
    """Write `trials.csv`: every trial with its value, its settings and its folder."""
    path = made.sweep.folder / "trials.csv"
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "status", made.metric, *made.space, "folder"])
        for trial, run in zip(trials.all(), made.sweep.runs, strict=False):
            value = "" if trial.value is None else trial.value
            chosen = [trial.params.get(key, "") for key in made.space]
            table.writerow([run.number, run.status, value, *chosen, run.folder or ""])
