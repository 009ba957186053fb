"""A path is the user's own, whatever it contains: in every key that holds one."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nucleist.config.compose import compose
from nucleist.config.grammar import expand
from nucleist.config.options import parsed
from nucleist.config.paths import holds_path, with_paths
from nucleist.types import UserError

NAMES = [
    *("2024", "007", "1e5", "true", "on", "inf", "nan", "-1", "20240131", "1_000", "0x10"),
    *("a b", " a", "images (1)", "x[1]", "[1,2]", "{a:1}", "a,b", "a=b", "a#1", "a&b", "a:b"),
    *("it's", '5"', "'a", "Zähler é", "細胞", "a;b", "$x", "$(x)", "@a", "!a", "*", "50%", "a\\"),
    *("C:\\data\\new", "\\\\server\\it's\\", "choice(1,2)", "range(3)", "~x", "a~", "-", "++a"),
]
KEYS = [
    *("data.source.root", "data_root", "runs", "weights", "resume", "data.cache", "data.manifest"),
    *("data.source.images", "data.source.labels", "+data.source.kumar_root"),
]


@pytest.mark.parametrize("first", range(len(NAMES)))
def test_a_path_is_one_text(first: int) -> None:
    """All keys at once, each with another name; in the end each has had every name."""
    names = [*NAMES[first:], *NAMES[:first]]
    given = dict(zip(KEYS, names, strict=False))
    config = compose("train", ["data=folder", *(f"{key}={name}" for key, name in given.items())])
    assert {key: OmegaConf.select(config, key.lstrip("+")) for key in KEYS} == given


def test_a_path_may_take_the_place_of_another() -> None:
    """`++` adds a key or changes it; what follows is written as without."""
    for key in (key for key in KEYS if key[0] != "+"):
        for name in NAMES:
            bare, forced = with_paths(["data=folder", f"{key}={name}", f"++{key}={name}"])[1:]
            assert forced == f"++{bare}"
    words = ["data=folder", "data.source.root=x", "++data.source.root=images (1)"]
    assert compose("train", words).data.source.root == "images (1)"


def test_the_folder_of_many_runs_is_one_text() -> None:
    for name in NAMES:
        assert parsed(with_paths([f"folder={name}"])) == {"folder": name}
    for name in NAMES[::8]:
        assert compose("multirun", [f"folder={name}"]).folder == name


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    config = compose("train", ["data=folder", "data.source.root=~/x, (1)", "runs='~/runs'"])
    assert config.data.source.root == "/home/a b/x, (1)" and config.runs == "/home/a b/runs"


def test_what_is_not_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """null and references; a folder with the form of a reference is a folder."""
    monkeypatch.chdir(tmp_path)
    config = compose("train", ["weights=null", "data_root=d", "data.cache=${data_root}/c"])
    assert config.weights is None and config.data.cache == "d/c"
    assert compose("train", ["weights='null'"]).weights == "null"
    (tmp_path / "a${data_root}").mkdir()
    assert compose("train", ["data.cache=a${data_root}"]).data.cache == "a${data_root}"
    assert compose("train", ["data.cache=a${b"]).data.cache == "a${b"


def test_which_keys_hold_a_path() -> None:
    assert all(holds_path(key, of_folder=True) for key in (*KEYS, "++data.source.root"))
    assert holds_path("data.source.source.root")  # of tiles of a data set
    assert not any(map(holds_path, ("seed", "data.source.images", "data.source.seed", "model")))
    assert (
        compose("train", ["data=bbbc038_patches", "data.source.images=5"]).data.source.images == 5
    )


def test_lists_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas separate paths, unless something has the whole as its name."""
    monkeypatch.chdir(tmp_path)
    assert expand(["weights=null,coco"]) == [["weights=null"], ["weights=coco"]]
    found = expand(["data.source.root=2024,images (1),'a,b'"])
    roots = [compose("train", ["data=folder", *words]).data.source.root for words in found]
    assert roots == ["2024", "images (1)", "a,b"]
    (tmp_path / "a,b").mkdir()
    assert len(expand(["data.source.root=a,b"])) == 1
    assert len(expand(["runs=c,d"])) == 1  # of all runs
    assert with_paths(["weights=choice(null,coco)"], many=True) == ["weights=choice(null,coco)"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.sorce.root=images (1)", "no key 'data.sorce.root'; did you mean 'data.source.root'"),
        ("name=a (1)", "needs quotes: \"name='a (1)'\""),
        ("runs/seed=0/last.ckpt", "runs/seed=0/last.ckpt: neither a file that is there nor"),
    ],
)
def test_what_to_write(word: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose("train", ["data=folder", "data.source.root=x", word])
    assert message in str(error.value) and "\n" not in str(error.value)
