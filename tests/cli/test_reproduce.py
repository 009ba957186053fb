"""A run folder trained again: equal on the same machine, and what differs is said."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from runs_support import SMALL

from karyon.cli.main import main
from karyon.cli.reproduce import compare, targets_of_package

THIN = ["data.annotation_fraction=0.5", "seed=4", "model.box_head=32", "model.mask_head=[16,16]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", *SMALL, *THIN, f"runs={folder}", "name=a/b"]) == 0
    (summary,) = folder.rglob("summary.json")
    return summary.parent


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "a" / "b" / "copied"))


def test_the_same_comes_out(run, capsys):
    assert main(["reproduce", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["kept labels and scores are equal", "weights: equal"]
    again = Path(said[2])
    assert again.parent == run.parent and again != run
    assert (again / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_differences_are_listed(copy, capsys):
    """As if it had been made by another version, with other labels and a higher mAP."""
    for name, change in (
        ("environment.json", lambda content: content.update(torch="1.0")),
        ("manifest.json", lambda content: next(iter(content["images"].values())).update(ids=[99])),
        ("summary.json", lambda content: content["test"]["map"].update(pooled=0.75)),
    ):
        content = json.loads((copy / name).read_text())
        change(content)
        (copy / name).write_text(json.dumps(content))
    (copy / "checkpoints" / "last.ckpt").unlink()
    assert main(["reproduce", str(copy), "--runs", str(copy.parent / "new")]) == 1
    said = capsys.readouterr().out
    assert "torch: 1.0 then, " in said
    assert "kept labels: different in 1 images" in said
    assert "test/map/pooled: 0.75 then, " in said
    assert "weights: not compared" in said
    assert list((copy.parent / "new").rglob("summary.json"))


def test_a_stranger_s_configuration_runs_nothing(copy, tmp_path, capsys):
    path = copy / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["optim"]["optimizer"] = {"_target_": "os.system", "command": f"touch {tmp_path}/pwned"}
    path.write_text(yaml.safe_dump(config))
    assert main(["reproduce", str(copy)]) == 2
    assert "'os.system'" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", None),
        ("config.yaml", "a: [1"),
        ("config.yaml", "- 1\n"),
        ("config.yaml", "\x00\x01"),
        ("config.yaml", "model: ${nothing.here"),
        ("summary.json", None),
        ("summary.json", "{"),
        ("environment.json", "[]"),
    ],
)
def test_one_line_for_what_is_no_run(name, content, copy, capsys):
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)
    assert main(["reproduce", str(copy)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and name in lines[0] and "give the folder of a" in lines[0], lines


def test_a_difference_within_the_tolerance_is_none():
    old = {"a": {"b": 0.50, "train_seconds": 1}, "c": None, "d": "x", "e": float("nan")}
    new = {"a": {"b": 0.51, "train_seconds": 9}, "c": None, "d": "x", "e": float("nan")}
    assert list(compare(old, new, 0.02)) == []
    assert list(compare(old, new)) == ["a/b: 0.5 then, 0.51 now"]
    assert list(compare({"a": 1}, {})) == ["a: 1 then, null now"]


def test_what_the_package_calls_is_known():
    assert {"karyon.data.NucleiData", "torch.optim.AdamW"} <= set(targets_of_package())
