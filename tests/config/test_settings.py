"""Settings from Python values survive Hydra, and what a first word stands for."""

import math
from pathlib import Path

import numpy as np
import pytest

from nucleist.config.compose import compose
from nucleist.config.options import parsed
from nucleist.config.settings import (
    choices,
    data_overrides,
    folder_of_images,
    overrides_of,
    quoted,
    what_to_train,
)
from nucleist.types import UserError

TEXTS = [
    "",
    "plain",
    "a b",
    " a ",
    "it's",
    'she said "no"',
    "x=1",
    "~key",
    "+a=b",
    "1,2",
    "a,b",
    "[1,2]",
    "{a:1}",
    "choice(1,2)",
    "glob(*)",
    "(",
    "007",
    "1e5",
    "-1",
    "true",
    "No",
    "null",
    "None",
    "nan",
    "inf",
    "a:b",
    "a#b",
    "50%20",
    "two\nlines",
    "äöü",
    "aé/b",
    "~/images",
    "./kumar",
    "a-b.c/d",
    "C:/data",
    "C:\\data\\cells",
    "C:\\data\\",
    "\\\\server\\it's\\",
    "b\\'c",
    "a\\\\'b",
    "${seed}",
]


def round_trip(value: object) -> object:
    """What Hydra reads where a value was written."""
    (word,) = overrides_of({"key": value})
    return parsed([word])["key"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_back_as_it_is(text: str) -> None:
    assert round_trip(text) == text
    assert parsed([f"key={quoted(text)}"])["key"] == text
    assert round_trip([text, [text]]) == [text, [text]]
    assert round_trip([{"a": text, "b": [1]}]) == [{"a": text, "b": [1]}]


@pytest.mark.parametrize(
    "value",
    [
        *(0, 1, -3, 2**40, 0.25, -1e-05, 1e300, 1.0, math.inf, -math.inf, None, True, False),
        *([], [1, 2.5, None, True], [[8, 16], []], {}, [{}]),
    ],
    ids=repr,
)
def test_a_value_is_read_back_with_its_type(value: object) -> None:
    found = round_trip(value)
    assert found == value and type(found) is type(value)


def test_other_kinds_of_numbers_paths_and_tuples() -> None:
    assert round_trip(np.float64(0.5)) == 0.5 and round_trip(np.float32(0.5)) == 0.5
    assert round_trip(np.int64(7)) == 7 and isinstance(round_trip(np.int64(7)), int)
    assert round_trip(Path("a b") / "c") == str(Path("a b") / "c")
    assert round_trip((1, "x y")) == [1, "x y"]
    assert math.isnan(round_trip(math.nan))  # type: ignore[arg-type]


def test_a_dict_stands_for_dotted_keys() -> None:
    given = {"steps": 6, "data": {"exemplars": 3, "source": {"size": [32, 48]}}, "model": "dist"}
    assert overrides_of(given) == [
        "steps=6",
        "data.exemplars=3",
        "data.source.size=[32,48]",
        "model=dist",
    ]


@pytest.mark.parametrize("value", [object(), {1, 2}, np.zeros(2), [1, {2}]], ids=type)
def test_what_is_no_setting_is_one_line(value: object) -> None:
    with pytest.raises(UserError, match=r"^data\.x is a \w+; give a number, a text, a path"):
        overrides_of({"data": {"x": value}})


def test_settings_reach_the_composed_configuration() -> None:
    """A choice of a group, a quoted path and a list, all from Python."""
    words = overrides_of({"model": "dist", "runs": "C:\\my runs\\", "attention": ["p2"], "seed": 7})
    config = compose("train", words)
    assert config.model._target_ == "nucleist.models.dist"
    assert config.runs == "C:\\my runs\\"
    assert (list(config.attention), config.seed) == (["p2"], 7)


def test_names_of_groups_are_their_files() -> None:
    assert {"bbbc360", "folder", "kumar", "synthetic"} <= set(choices("data"))
    assert "base" not in choices("data") and "demo" in choices("experiment")
    assert choices("nothing_like_it") == []


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with folders of images, one named as a data set of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("my images", "kumar", "it's"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (None, []),
        ("bbbc360_25_pa", ["experiment=bbbc360_25_pa"]),
        ("kumar", ["data=kumar"]),  # though there is such a folder
        ("./kumar", ["data=folder", "data.source.root=./kumar"]),
        ("kumar/", ["data=folder", "data.source.root=kumar/"]),
        (Path("kumar"), ["data=folder", "data.source.root=kumar"]),
        ("my images", ["data=folder", "data.source.root=my images"]),
        (Path("it's"), ["data=folder", "data.source.root=it's"]),
    ],
    ids=repr,
)
def test_what_a_training_is_pointed_at(
    what: str | Path | None, words: list[str], folders: Path
) -> None:
    found = what_to_train(what)
    assert [word.partition("=")[0] for word in found] == [w.partition("=")[0] for w in words]
    assert parsed(found) == dict(word.split("=", 1) for word in words)
    if what is not None and words[0].startswith("data="):
        assert data_overrides(what) == found


@pytest.mark.parametrize(
    ("what", "hint"),
    [
        ("bbbc360_25_pq", "did you mean 'bbbc360_25_pa'?"),
        ("kumra", "did you mean 'kumar'?"),
        ("zzzzzz", "give one of them"),
        ("~nobody_of_that_name/images", "give one of them"),
        ("a\0b", "give one of them"),
        ("x" * 5000, "give one of them"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_word_that_is_nothing_is_one_line(what: str, hint: str, folders: Path) -> None:
    with pytest.raises(UserError) as error:
        what_to_train(what)
    assert str(error.value).startswith(f"{what}: neither a folder nor an experiment nor a data set")
    assert str(error.value).endswith(hint)


def test_data_is_no_experiment(folders: Path) -> None:
    with pytest.raises(UserError, match=r"^demo: neither a folder nor a data set; "):
        data_overrides("demo")
    with pytest.raises(UserError, match=r"did you mean 'tnbc'\?"):
        data_overrides("tnbd")


def test_home_is_where_a_tilde_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cells").mkdir()
    assert parsed(what_to_train("~/cells"))["data.source.root"] == str(tmp_path / "cells")
    assert parsed(folder_of_images("~/cells"))["data.source.root"] == str(tmp_path / "cells")


def test_a_single_file_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for meaning in (what_to_train, data_overrides):
        with pytest.raises(UserError, match=r"a\.png: a single file; give the folder it is in"):
            meaning(str(tmp_path / "a.png"))
    (tmp_path / "a.zip").touch()  # damaged: its reader says so
    assert data_overrides(tmp_path / "a.zip")[0] == "data=folder"
