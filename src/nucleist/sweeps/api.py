"""Many trainings from Python: plan them, look at the plan, run it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.progress import shown
from nucleist.sweeps import run, search
from nucleist.sweeps.plan import Plan, plan
from nucleist.sweeps.request import request, words_of
from nucleist.sweeps.sweep import Sweep
from nucleist.sweeps.trials import SearchPlan, plan_trials
from nucleist.types import Progress


def plan_sweep(
    what: str | Path | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    overrides: Sequence[str] = (),
    command: str = "",
    **settings: Any,
) -> Plan:
    """The runs of a sweep: every combination of the values, each a training of its own.

    >>> plan = plan_sweep("demo", grid={"seed": [0, 1]}, jobs=2)           # doctest: +SKIP
    >>> print(plan.describe())                                             # doctest: +SKIP
    >>> run_sweep(plan, progress=True)                                     # doctest: +SKIP

    Args:
        what: A folder of images, an experiment's or a data set's name; see `nucleist.train`.
        grid: Values to be tried, by key: `{"data.annotation_fraction": [0.05, 0.25]}`.
        overrides: Settings in the words of the command line, lists of values included.
        command: The command that goes on with the sweep, for the record; composed from the
            settings if it is empty.
        **settings: As of `nucleist.train`; besides `sweep` (a named sweep: `annotation_fraction`,
            `seeds`, `ablation`), `jobs` (runs at a time), `launcher` (`local`, `submitit`) and
            `folder`.

    Returns:
        The plan; `describe()` lists the runs, with estimated time and size.

    Raises:
        UserError: If one of the runs could not be composed, or would start processes itself.
    """
    words = words_of(what, overrides, grid or {}, settings)
    return plan(request(words, command or shlex.join(["nucleist", "train", "-m", *words])))


def run_sweep(plan: Plan, *, progress: bool | Progress = False) -> Sweep:
    """Train the runs of a sweep that are not done; call it again after an interruption.

    Args:
        plan: Of `plan_sweep`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The sweep; each of its `runs` has a `status` and a `folder`.

    Raises:
        UserError: If another process is at work in the folder, or a run cannot be started.
        KeyboardInterrupt: If interrupted; the runs go on later from their last checkpoints.
    """
    return run.run_sweep(plan, shown(progress))


def plan_search(
    what: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    command: str = "",
    **settings: Any,
) -> SearchPlan:
    """A search for good settings with Optuna, each trial a training of its own.

    Args:
        what: See `nucleist.train`.
        overrides: Settings in the words of the command line. A key given as `interval(a,b)`,
            `range(a,b,step)` or `choice(x,y)` is searched.
        command: The command that goes on with the search, for the record; composed from the
            settings if it is empty.
        **settings: As of `nucleist.train`; besides `search` (`pa`, `optim`), `jobs`, `launcher`
            and `folder`.

    Returns:
        The plan; `describe()` lists what is searched, with estimated time and size.

    Raises:
        UserError: If the search is not declared as it should be, or Optuna is not installed.
    """
    words = words_of(what, overrides, {}, settings)
    return plan_trials(request(words, command or shlex.join(["nucleist", "train", *words])))


def run_search(plan: SearchPlan, *, progress: bool | Progress = False) -> search.Found:
    """Train trials until enough have finished; call it again after an interruption.

    Args:
        plan: Of `plan_search`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The best trial.

    Raises:
        UserError: If too many trials in a row failed, or another process is at work in the folder.
        KeyboardInterrupt: If interrupted; the search goes on later.
    """
    return search.run_search(plan, shown(progress))
