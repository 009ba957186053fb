"""Optuna's trials in a file: chosen, ended, given up, taken up again."""

import math
from functools import partial
from pathlib import Path

import pytest

from nucleist.sweeps.study import COMPLETE, GIVEN_UP, OPEN, Trials, need_optuna
from nucleist.types import UserError

optuna = pytest.importorskip("optuna", reason="needs the search extra")

LR = {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
TPE = partial(optuna.samplers.TPESampler, n_startup_trials=3)


def chosen(path: Path, count: int, reopen: bool) -> list[float]:
    """Settings of trials that are the better the nearer to 0.001 they are."""
    trials = Trials(path, LR, TPE, seed=5)
    for _ in range(count):
        trials = Trials(path, LR, TPE, seed=5) if reopen else trials
        trial = trials.ask()
        trials.tell(trial.number, -abs(math.log10(trial.params["lr"]) + 3))
    return [trial.params["lr"] for trial in trials.all()]


@pytest.mark.slow
def test_an_interrupted_search_chooses_as_one_that_was_not(tmp_path: Path) -> None:
    """Each trial once: a sampler that starts again with its seed would repeat the first."""
    whole = chosen(tmp_path / "a.db", 6, reopen=False)
    assert chosen(tmp_path / "b.db", 6, reopen=True) == whole
    assert len(set(whole)) == 6 and all(1e-5 <= lr <= 1e-1 for lr in whole)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["a b", "50%20", "what?cache=shared", "ä#1"])
def test_a_study_lies_in_any_folder(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "study.db"
    path.parent.mkdir()
    Trials(path, LR, TPE).tell(Trials(path, LR, TPE).ask().number, 0.5)
    assert [item.name for item in path.parent.iterdir()] == ["study.db"]
    (trial,) = Trials(path, LR, TPE).all()
    assert (trial.number, trial.status, trial.value) == (0, COMPLETE, 0.5)


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
def test_the_best_is_one_that_has_a_value(direction: str, best: int, tmp_path: Path) -> None:
    trials = Trials(tmp_path / "study.db", LR, TPE, direction=direction)
    assert trials.best() is None
    for value in (None, 0.1, 0.9, 0.9):
        trials.tell(trials.ask().number, value)
    trials.ask()
    assert [trial.status for trial in trials.all()] == [
        GIVEN_UP,
        COMPLETE,
        COMPLETE,
        COMPLETE,
        OPEN,
    ]
    found = trials.best()
    assert found is not None and found.number == best


def test_a_trial_without_all_its_settings_is_given_up(tmp_path: Path) -> None:
    """As if the process had ended between the first setting and the second."""
    path = tmp_path / "study.db"
    Trials(path, LR, TPE).ask()
    both = Trials(path, LR | {"n": optuna.distributions.IntDistribution(0, 3)}, TPE)
    both.ask()
    both.forget_halves()
    assert [trial.status for trial in both.all()] == [GIVEN_UP, OPEN]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Trials(path, LR, TPE, mark="one")
    with pytest.raises(UserError, match="holds another search; set folder=DIR"):
        Trials(path, LR, TPE, mark="two")
    path.write_text("no database, but long enough to be taken for one " * 20)
    with pytest.raises(UserError, match=r"study\.db: .*not a database"):
        Trials(path, LR, TPE)


def test_optuna_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nucleist.sweeps.study.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[search\]'"):
        need_optuna()
