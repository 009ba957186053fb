"""A run folder trained again: equal on the same machine, and what differs is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from support.runs import SMALL

from nucleist.cli.main import main
from nucleist.training.reproduce import (
    as_many_threads,
    compare,
    stored_config,
    targets_of_package,
    where_they_were,
)
from nucleist.training.run import images_checksum
from nucleist.training.train import build_data
from nucleist.types import Record

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


def test_a_run_records_a_checksum_of_its_images(run):
    data = build_data(stored_config(run))
    record = json.loads((run / "environment.json").read_text())
    assert record["images"] == images_checksum(data.record(name) for name in data.ids("train"))


def change(file: Path, how: Callable[[dict], object]) -> None:
    """Change what a JSON file says."""
    content = json.loads(file.read_text())
    how(content)
    file.write_text(json.dumps(content))


def test_the_stored_labels_are_kept_whatever_is_drawn_now(run, copy, capsys):
    """A version that had kept the other half of an image: its labels are trained on, and said."""
    images = json.loads((copy / "manifest.json").read_text())["images"]
    name, kept = next((n, e["ids"]) for n, e in images.items() if len(e["ids"]) > 1)
    change(copy / "manifest.json", lambda content: content["images"][name].update(ids=kept[:1]))
    assert main(["reproduce", str(copy)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"kept labels: in 1 images, {name!r} for one, others would be drawn")
    assert not [line for line in said[1:] if line.startswith(("kept", "annotation_fraction"))]
    assert any(line.startswith("labelled_nuclei: ") for line in said)
    again = json.loads((Path(said[-1]) / "manifest.json").read_text())
    assert again["images"] == {**images, name: {"ids": kept[:1]}}


def test_other_images_and_old_records_are_said(copy, capsys):
    """An old run has no checksum; one of other pixels differs, though all scores are equal."""
    change(copy / "environment.json", lambda content: content.update(images="0" * 16))
    assert main(["reproduce", str(copy)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("training images: the images differ")
    assert said[1] == "kept labels and scores are equal"
    for key in ("images", "folder", "data_root", "threads"):
        change(copy / "environment.json", lambda content, key=key: content.pop(key))
    assert main(["reproduce", str(copy)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "training images: not compared, the run has no checksum of them" in said


def test_the_checksum_sees_every_pixel_and_label():
    image, labels = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.int32)
    other = image.copy()
    other[3, 5, 2] = 1
    every = [("a", image, labels), ("b", image, labels), ("a", other, labels)]
    every += [("a", image, labels + 1), ("a", image.reshape(6, 4, 3), labels)]
    every += [("a", image.astype(np.int8), labels)]
    found = {images_checksum([Record(*one)]) for one in every}
    assert len(found) == len(every)
    assert images_checksum([Record("a", image[:, ::-1], labels)]) in found  # the same pixels


def test_on_the_cpu_the_threads_are_those_of_the_run():
    config, now = OmegaConf.create({"trainer": {"accelerator": "cpu"}}), torch.get_num_threads()
    for stored, expected in (("3", 3), ("0", now), (None, now), ("many", now)):
        with as_many_threads(config, {"threads": stored}):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == now


def test_data_are_looked_for_where_they_were(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    before = {"folder": str(tmp_path), "data_root": str(tmp_path)}
    text = {"data_root": "${oc.env:NUCLEIST_DATA,data}", "data": {"source": {"root": "mine"}}}
    monkeypatch.delenv("NUCLEIST_DATA", raising=False)
    config = OmegaConf.create(text)
    with where_they_were(config, before):
        assert config.data_root == str(tmp_path)
        assert config.data.source.root == str(tmp_path / "mine")
    assert config.data_root == "data"
    gone = OmegaConf.create(text)
    with where_they_were(gone, {"folder": "/gone", "data_root": "/gone"}):
        assert (gone.data_root, gone.data.source.root) == ("data", "mine")
    monkeypatch.setenv("NUCLEIST_DATA", "elsewhere")
    with where_they_were(gone, before):
        assert gone.data_root == "elsewhere"


def test_differences_are_listed(copy, capsys):
    """As if it had been made by another version, with a higher mAP."""
    change(copy / "environment.json", lambda content: content.update(torch="1.0"))
    change(copy / "summary.json", lambda content: content["test"]["map"].update(pooled=0.75))
    (copy / "checkpoints" / "last.ckpt").unlink()
    assert main(["reproduce", str(copy), "--runs", str(copy.parent / "new")]) == 1
    said = capsys.readouterr().out
    assert "torch: 1.0 then, " in said
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
        ("manifest.json", None),
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
    assert {"nucleist.data.NucleiData", "torch.optim.AdamW"} <= set(targets_of_package())
