"""Settings of many trainings: which runs, how many at a time, with which launcher."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from nucleist.config.compose import compose
from nucleist.config.grammar import class_of
from nucleist.config.settings import overrides_of, what_to_train
from nucleist.sweeps.sweep import Sweep
from nucleist.types import UserError

OWN = ("sweep", "search", "jobs", "launcher", "folder")
"""Keys of `conf/multirun.yaml`; all others are for the trainings."""


class Request(NamedTuple):
    """The settings of a sweep or search.

    Attributes:
        settings: `conf/multirun.yaml` with what was chosen.
        names: The last `sweep=NAME` and `search=NAME`, those that there are.
        rest: Overrides for the trainings, lists of values included.
        command: The command that goes on with it, for the record.
    """

    settings: DictConfig
    names: dict[str, str]
    rest: list[str]
    command: str

    def jobs(self, sweep: Sweep) -> int:
        """Runs at a time: `jobs`, else the launcher's own number."""
        launcher: Any = class_of(self.settings.launcher)
        return self.settings.jobs or launcher.default_jobs(sweep)


def request(words: Sequence[str], command: str = "") -> Request:
    """Sort the settings of a command.

    Args:
        words: `key=value` words, lists of values included.
        command: The whole command, for the record.

    Raises:
        UserError: If a setting is unknown, or the number of jobs is not one.
    """
    own = [w for w in words if w.split("=")[0].split(".")[0] in OWN]
    settings = compose("multirun", own)
    if settings.jobs is not None and not (isinstance(settings.jobs, int) and settings.jobs > 0):
        raise UserError(f"jobs={settings.jobs} is not a number of runs; give 1 or more")
    pairs = [w.split("=", 1) for w in own if w.startswith(("sweep=", "search="))]
    rest = [w for w in words if w not in own]
    return Request(settings, {pair[0]: pair[1] for pair in pairs}, rest, command)


def words_of(
    what: str | Path | None,
    overrides: Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any],
) -> list[str]:
    """The words of a command, from what a Python function was given.

    >>> words_of("demo", [], {"seed": [0, 1]}, {"steps": 60})
    ['experiment=demo', 'steps=60', 'seed=0,1']

    Args:
        what: See `nucleist.config.settings.what_to_train`.
        overrides: Words as they are.
        grid: Values to be tried, by key.
        settings: Values by key.
    """
    lists = [
        f"{key}={','.join(word.partition('=')[2] for word in overrides_of_each(key, values))}"
        for key, values in grid.items()
    ]
    return [*what_to_train(what), *overrides, *overrides_of(settings), *lists]


def overrides_of_each(key: str, values: Sequence[Any]) -> list[str]:
    """One override for each value."""
    return [override for value in values for override in overrides_of({key: value})]
