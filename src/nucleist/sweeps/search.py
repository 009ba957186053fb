"""`nucleist train search=NAME`: trainings whose settings Optuna chooses, one process a trial."""

import csv
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nucleist.config.compose import build
from nucleist.files import replacing
from nucleist.sweeps.run import (
    Display,
    at_work_in,
    jobs_of,
    read,
    refuse_running,
    tell_capped,
    tell_failed,
)
from nucleist.sweeps.study import Trials, need_optuna
from nucleist.sweeps.sweep import DONE, FAILED, WAITING, Job, SweepRun, work
from nucleist.sweeps.trials import SearchPlan, plan_search
from nucleist.training.finished import number, read_rows
from nucleist.types import UserError

HELP = """usage: nucleist train search=NAME [jobs=N] [launcher=NAME] [--plan] [key=value ...]

  nucleist train search=pa experiment=bbbc360_25_pa jobs=2
  nucleist train search=pa experiment=bbbc360_25_pa --plan        the space, time and size
  nucleist train search=pa experiment=bbbc360_25_pa search.trials=50      goes on with more trials
  nucleist train search=optim 'optim.optimizer.lr=tag(log,interval(0.001,0.01))' model=mask_rcnn

Each trial is a run, a process of its own; Optuna chooses its settings (pip install
'nucleist[search]'). The same command goes on with a search that was interrupted until enough trials
have finished: half-finished ones go on from their last checkpoint, failed ones are replaced. The
last validation decides, so validate on images that are not the test images (data.splits.val).

A key given as interval(a,b), int(interval(a,b)), tag(log,interval(a,b)), range(a,b,step) or
choice(x,y) is searched, a key given as one value is fixed, ~key takes it out of the space.

  search=NAME       pa, optim; search.trials=N, search.metric=NAME, search.seed=N: conf/search
  --plan            print the space with estimated time and size, start nothing
  jobs=N, launcher=NAME, folder=DIR     as in nucleist train -m --help

Leaves study.db (Optuna's), trials.csv and the run folders; prints the command of the best trial.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    request = read(arguments)
    need_optuna()
    made = plan_search(request)
    if request.plan:
        print_plan(made, jobs_of(request.settings, made.sweep))
        return 0
    return run_search(made, request.settings)


def print_plan(made: SearchPlan, jobs: int) -> None:
    """The space, the trials that there are, time and size where they are known."""
    sweep = made.sweep
    print(f"{sweep.folder}\n")
    for part in made.space.values():
        print(f"  {part.key} = {part.words}")
    print(f"\n{made.settings['direction']} {made.settings['metric']} of the last validation")
    print(made.validated_on())
    begun = [run for run in sweep.runs if run.overrides]
    for trial, run in zip(made.open().all() if begun else [], begun, strict=False):
        value = "" if trial.value is None else f"{trial.value:.4f}"
        print(f"{run.number:>4}  {run.status:<8} {value:>8}  {run.title()}")
    done = sweep.count(DONE)
    print(f"\n{made.settings['trials']} trials, {done} done; {made.plan.total(jobs)}")
    left = [made.plan.cost(run) for run in sweep.runs if run.status == WAITING]
    for source in sorted({cost.run for cost in left if cost is not None}):
        print(f"judged by {source}")


def run_search(made: SearchPlan, settings: DictConfig) -> int:
    """Train trials until enough have finished, and print the best one's command."""
    sweep = made.sweep
    with at_work_in(sweep.folder):
        trials = made.open()
        trials.forget_halves()
        made.fill(trials.all())
        refuse_running(sweep)
        sweep.save()
        launcher = build(settings.launcher, _partial_=True)(sweep, settings.jobs)
        print(made.validated_on(), file=sys.stderr)
        done = f"{sweep.count(DONE)} of {made.settings['trials']} trials are done"
        todo = f"{launcher.jobs} at a time; {made.plan.total(launcher.jobs)}"
        print(f"{sweep.folder}: {done}, {todo}", file=sys.stderr)
        with Display(sweep) as display:
            search = Search(made, trials, launcher, display)
            while sweep.count(WAITING):
                work(sweep, search.start, launcher.jobs, search.tell)
                made.add_missing()  # in the place of failed ones
        write_trials(made, trials)
    tell_capped(sweep)
    best = trials.best()
    assert best is not None  # or there were a trial to do
    value = f"{made.settings['metric']} {best.value:.4f}"
    print(f"best of {sweep.count(DONE)} trials: {best.number + 1}, {value}", file=sys.stderr)
    print(shlex.join(["nucleist", "train", *made.overrides(best.params)]))
    print(sweep.folder)
    return 0


class Search:
    """Between the loop over runs and the study.

    Args:
        made: The plan.
        trials: The study.
        launcher: Starts runs.
        display: Is told of every change.
    """

    def __init__(self, made: SearchPlan, trials: Trials, launcher: Any, display: Display):
        self.made, self.trials = made, trials
        self.launcher, self.display = launcher, display
        self.failed_in_a_row = 0

    def start(self, run: SweepRun, place: int) -> Job:
        """Start a run, or go on with it; a new one is given its settings.

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

    def tell(self, run: SweepRun | None) -> None:
        """Tell the study what has become of a run.

        Raises:
            UserError: If too many failed in a row.
        """
        ended = run is not None and run.status in (DONE, FAILED)
        if run is not None and ended:
            value = last_value(run, self.made.settings["metric"]) if run.status == DONE else None
            if value is None:
                run.status = FAILED
                self.made.sweep.save()
            self.trials.tell(run.number - 1, value)
            write_trials(self.made, self.trials)
        self.display.tell(run)
        if run is not None and ended:
            self._count(run)

    def _count(self, run: SweepRun) -> None:
        if run.status == DONE:
            self.failed_in_a_row = 0
            return
        self.failed_in_a_row += 1
        tell_failed(self.made.sweep, run)
        if self.failed_in_a_row >= self.made.settings["max_failed"]:
            raise UserError(
                f"{self.failed_in_a_row} trials in a row failed, see {self.made.sweep.log(run)}; "
                "change the space, or raise search.max_failed"
            )


def last_value(run: SweepRun, metric: str) -> float | None:
    """The metric of a run's last validation; None if it has none."""
    rows = read_rows(Path(str(run.folder)) / "metrics.csv")
    found = [(number(row.get("step")), number(row.get(metric))) for row in rows]
    values = [(step, value) for step, value in found if step is not None and value is not None]
    return max(values, key=lambda pair: pair[0])[1] if values else None


def write_trials(made: SearchPlan, trials: Trials) -> None:
    """Write `trials.csv`: every trial with its value, its settings and its folder."""
    path = made.sweep.folder / "trials.csv"
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "status", made.settings["metric"], *made.space, "folder"])
        for trial, run in zip(trials.all(), made.sweep.runs, strict=False):
            value = "" if trial.value is None else trial.value
            chosen = [trial.params.get(key, "") for key in made.space]
            table.writerow([run.number, run.status, value, *chosen, run.folder or ""])
