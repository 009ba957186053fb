"""What a search consists of: its space, its trials as runs of a sweep, and what they will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nucleist.config.build import build, plain
from nucleist.config.compose import compose
from nucleist.files import is_held, read_json_if_there, text_hash
from nucleist.sweeps.costs import costs_of, kind_of
from nucleist.sweeps.plan import Plan, refuse_ddp
from nucleist.sweeps.request import Request
from nucleist.sweeps.space import Range, split
from nucleist.sweeps.study import COMPLETE, GIVEN_UP, OPEN, Trial, Trials, need_optuna
from nucleist.sweeps.sweep import DONE, FAILED, RUNNING, WAITING, Sweep, SweepRun
from nucleist.sweeps.validation import (
    check_validation,
    metric_name,
    metric_words,
    validated_on,
)
from nucleist.training.resume import mark_of, prepare
from nucleist.training.run import find_run
from nucleist.types import UserError, one_of

STATUS = {COMPLETE: DONE, GIVEN_UP: FAILED, OPEN: WAITING}


@dataclass(frozen=True)
class SearchPlan:
    """A search and what it will take.

    Attributes:
        plan: The trials as runs of a sweep; the number of a run is that of its trial, from 1.
        fixed: Overrides of all trials.
        space: What is chosen, by key.
        settings: `conf/search/NAME.yaml` as plain values.
        sampler: Its sampler.
        mark: Hash of all of these.
        config: Configuration of one trial.
    """

    plan: Plan
    fixed: list[str]
    space: dict[str, Range]
    settings: dict[str, Any]
    sampler: DictConfig
    mark: str
    config: DictConfig

    @property
    def sweep(self) -> Sweep:
        """The trials as runs."""
        return self.plan.sweep

    @property
    def study(self) -> Path:
        """Where the trials are kept."""
        return self.sweep.folder / "study.db"

    def overrides(self, params: dict[str, Any]) -> list[str]:
        """The overrides of `nucleist train` in a trial."""
        return [*self.fixed, *self.changes(params)]

    def changes(self, params: dict[str, Any]) -> list[str]:
        """Those of the overrides that were chosen for the trial."""
        return [part.override(params[key]) for key, part in self.space.items() if key in params]

    def open(self) -> Trials:
        """The trials in the search's folder."""
        return Trials(
            self.study,
            {key: part.distribution for key, part in self.space.items()},
            build(self.sampler),
            self.settings["seed"],
            self.settings["direction"],
            self.mark,
        )

    def fill(self, trials: Sequence[Trial]) -> None:
        """Make a run of each trial, and as many more runs as have to finish."""
        known = _remembered(self.sweep.folder / "sweep.json")
        self.sweep.runs = [self._run_of(trial, known.get(trial.number + 1)) for trial in trials]
        self.add_missing()

    def add_missing(self) -> None:
        """Add as many runs as have to finish; their settings are chosen when they start."""
        steps, kind = int(self.config.trainer.max_steps), kind_of(self.config)
        runs = self.sweep.runs
        while sum(run.status != FAILED for run in runs) < self.settings["trials"]:
            runs.append(SweepRun(len(runs) + 1, [], [], self.config.name, "", steps))
        self.plan.kinds.update({run.number: kind for run in runs})

    def _run_of(self, trial: Trial, known: SweepRun | None) -> SweepRun:
        """The run of a trial; that of an open trial waits, or runs if its folder is held."""
        steps = int(self.config.trainer.max_steps)
        run = known or SweepRun(trial.number + 1, [], [], self.config.name, "", steps)
        run.status = STATUS[trial.status]
        run.overrides, run.changes = self.overrides(trial.params), self.changes(trial.params)
        if run.status == WAITING:
            self.settle(run, trial.params)
            if run.folder is not None and is_held(Path(run.folder)):
                run.status = RUNNING
        return run

    def settle(self, run: SweepRun, params: dict[str, Any]) -> None:
        """Give a run its settings, and find its folder if it was begun.

        Raises:
            UserError: If there is no such configuration.
        """
        run.overrides, run.changes = self.overrides(params), self.changes(params)
        config = compose("train", run.overrides)
        prepare(config)
        run.name, run.mark, run.steps = config.name, mark_of(config), int(config.trainer.max_steps)
        found = find_run(self.sweep.folder, run.name, run.mark)
        run.folder = None if found is None else str(found)

    def describe(self) -> str:
        """The space, the trials that there are, time and size where they are known."""
        sweep = self.sweep
        lines = [str(sweep.folder), ""]
        lines += [f"  {part.key} = {part.words}" for part in self.space.values()]
        metric = metric_words(sweep.runs, self.settings["metric"])
        aim = f"{self.settings['direction']} {metric} of the last validation"
        lines += ["", aim, self.validated_on()]
        begun = [run for run in sweep.runs if run.overrides]
        for trial, run in zip(self.open().all() if begun else [], begun, strict=False):
            value = "" if trial.value is None else f"{trial.value:.4f}"
            lines.append(f"{run.number:>4}  {run.status:<8} {value:>8}  {run.title()}")
        total = self.plan.total(self.plan.request.jobs(sweep))
        lines += ["", f"{self.settings['trials']} trials, {sweep.count(DONE)} done; {total}"]
        return "\n".join([*lines, *self.plan.estimated_from()])

    @property
    def metric(self) -> str:
        """What the trials are judged by."""
        return metric_name(self.sweep.runs, self.settings["metric"])

    def validated_on(self) -> str:
        """What decides about the best trial."""
        return validated_on(self.config)


def _remembered(path: Path) -> dict[int, SweepRun]:
    """Runs by number as `sweep.json` has them; none if it is missing or of something else."""
    try:
        runs = [SweepRun(**run) for run in read_json_if_there(path)["runs"]]
    except (KeyError, TypeError):
        return {}
    return {run.number: run for run in runs if run.mark}


def plan_trials(asked: Request) -> SearchPlan:
    """What is searched, and what it will take; nothing is written.

    Raises:
        UserError: If the search is not declared as it should be, or a trial could not be composed.
    """
    need_optuna()
    if "sweep" in asked.names:
        raise UserError("search= and sweep= do not go together; use one of them")
    name, given = asked.names.get("search"), asked.settings.get("search")
    if name is None:
        raise UserError("a search needs search=NAME; use pa or optim, or write a file")
    if given is None or OmegaConf.is_missing(given, "space"):
        raise UserError(f"search={name} declares no space; use pa or optim, or write a file")
    settings: dict[str, Any] = plain(given)
    _check(settings)
    fixed, space = split([*settings["space"], *asked.rest])
    config = compose("train", [*fixed, *(part.first() for part in space.values())])
    prepare(config)
    refuse_ddp(config)
    check_validation(config)
    words = sorted(f"{part.key}={part.words}" for part in space.values())
    kept = [f"{key}={settings[key]}" for key in ("metric", "direction", "seed", "sampler")]
    mark = text_hash("\n".join([mark_of(config), *words, *kept]))
    root = Path(config.runs)
    folder = Path(asked.settings.folder or root / "sweeps" / f"{name}-{mark[:6]}")
    plan = Plan(asked, Sweep(folder, name, asked.command), {}, costs_of(root))
    made = SearchPlan(plan, fixed, space, settings, given.sampler, mark, config)
    made.fill(made.open().all() if made.study.exists() else [])
    return made


def _check(settings: dict[str, Any]) -> None:
    for key in ("trials", "max_failed"):
        value = settings[key]
        if not isinstance(value, int) or value < 1:
            raise UserError(f"search.{key}={value} is not a number of trials; give 1 or more")
    one_of("search.direction", settings["direction"], ("maximize", "minimize"))
    metric = settings["metric"]
    if metric is not None and not str(metric).startswith("val/"):
        raise UserError(
            f"search.metric={metric} is not a validation score; use val/map_pooled or "
            "another column of metrics.csv that begins with val/"
        )
