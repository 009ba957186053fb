"""A search over settings: Optuna's trials in a file, one after the other.

Akiba et al., *Optuna*, KDD 2019. Optuna chooses the settings and stores their values; it runs no
trial itself, so that a trial is a training like any other.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.types import UserError

OPEN, COMPLETE, GIVEN_UP = "open", "complete", "given up"


@dataclass(frozen=True)
class Trial:
    """One choice of settings.

    Attributes:
        number: Its place in the study, from 0.
        status: `open` (it has no value yet), `complete` or `given up` (it will have none).
        params: What was chosen, by key.
        value: How good it is, None as long as that is not known.
    """

    number: int
    status: str
    params: dict[str, Any]
    value: float | None


def need_optuna() -> None:
    """Raise a `UserError` if Optuna is not installed."""
    if find_spec("optuna") is None:
        raise UserError("search=NAME needs optuna; install it with pip install 'nucleist[search]'")


class Trials:
    """All trials of a search, in a SQLite file that an interrupted search goes on with.

    Args:
        path: The file; made if it is not there.
        space: Optuna's distribution of each key.
        sampler: Makes a sampler of Optuna from a seed.
        seed: Each trial's sampler has a seed of its own, made from this one and the trial's
            number, so that a search that was interrupted chooses as one that was not.
        direction: `maximize` or `minimize`.
        mark: Hash of what is searched; a file of another search is refused.

    Raises:
        UserError: If Optuna is not installed, or the file is not of this search.
    """

    def __init__(
        self,
        path: Path,
        space: Mapping[str, Any],
        sampler: Callable[..., Any],
        seed: int = 0,
        direction: str = "maximize",
        mark: str = "",
    ):
        need_optuna()
        import optuna
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.path, self.space, self.sampler, self.seed = path, dict(space), sampler, seed
        with self._one_line():
            # A connection of our own: a URL would take some signs of a path for options.
            connect = {"creator": lambda: sqlite3.connect(path, 60, check_same_thread=False)}
            storage = optuna.storages.RDBStorage("sqlite:///study.db", connect)
            self.study = optuna.create_study(
                storage=storage,
                study_name="search",
                direction=StudyDirection[direction.upper()],
                load_if_exists=True,
            )
            known = self.study.user_attrs.get("mark")
            if known is None:
                self.study.set_user_attr("mark", mark)
        if known not in (None, mark):
            raise UserError(f"{path}: holds another search; set folder=DIR")

    def all(self) -> list[Trial]:
        """Every trial, by number."""
        with self._one_line():
            return [self._trial(found) for found in self.study.get_trials(deepcopy=False)]

    def _trial(self, found: Any) -> Trial:
        name = found.state.name
        status = {"COMPLETE": COMPLETE, "RUNNING": OPEN, "WAITING": OPEN}.get(name, GIVEN_UP)
        value = found.value if status == COMPLETE else None
        return Trial(found.number, status, dict(found.params), value)

    def ask(self) -> Trial:
        """Choose the next settings."""
        with self._one_line():
            number = len(self.study.get_trials(deepcopy=False))
            seed = np.random.SeedSequence([self.seed, number]).generate_state(1)[0]
            self.study.sampler = self.sampler(seed=int(seed))
            found = self.study.ask(self.space)
        return Trial(found.number, OPEN, dict(found.params), None)

    def tell(self, number: int, value: float | None) -> None:
        """Store the value of a trial; None if it has failed."""
        from optuna.trial import TrialState

        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        with self._one_line():
            self.study.tell(number, value, state)

    def forget_halves(self) -> None:
        """Give up trials that were cut while their settings were chosen."""
        for trial in self.all():
            if trial.status == OPEN and set(trial.params) != set(self.space):
                self.tell(trial.number, None)

    def best(self) -> Trial | None:
        """The trial with the best value, the first of equals; None as long as there is none."""
        from optuna.study import StudyDirection

        up = self.study.direction == StudyDirection.MAXIMIZE
        known = [(t.value, t) for t in self.all() if t.value is not None]
        pick = max if up else min
        return pick(known, key=lambda pair: pair[0])[1] if known else None

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Make one line of an error of the file or the sampler."""
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (OptunaError, SQLAlchemyError, sqlite3.Error) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(
                f"{self.path}: {reason}; make room, or remove the file to start anew"
            ) from error
