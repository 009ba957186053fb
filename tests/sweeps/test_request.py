"""Settings of many trainings sorted: their own, and those of each training."""

from pathlib import Path

import pytest

from nucleist.sweeps.request import request, words_of
from nucleist.types import UserError


def test_settings_are_sorted() -> None:
    words = ["seed=0,1", "jobs=3", "sweep=seeds", "launcher.x=1", "folder=f", "~callbacks.speed"]
    asked = request([word for word in words if word != "launcher.x=1"], "the command")
    assert asked.rest == ["seed=0,1", "~callbacks.speed"]
    assert asked.names == {"sweep": "seeds"} and asked.command == "the command"
    assert (asked.settings.jobs, asked.settings.folder) == (3, "f")
    with pytest.raises(UserError, match=r"launcher\.x"):
        request(words)


def test_words_of_a_call(tmp_path: Path) -> None:
    grid = {"seed": [0, 1], "attention": [[], ["p2"]], "name": ["a b", "x,y"]}
    words = words_of("demo", ["data.exemplars=1,2"], grid, {"steps": 6, "folder": tmp_path / "f"})
    assert words == [
        "experiment=demo",
        "data.exemplars=1,2",
        "steps=6",
        f"folder='{tmp_path / 'f'}'",
        "seed=0,1",
        "attention=[],[p2]",
        "name='a b','x,y'",
    ]
