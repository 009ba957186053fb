"""What W&B is told: groups, tags, axes and the summary of best and last; offline, no account."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import SMALL

from nucleist.cli.main import main
from nucleist.training.callbacks import tell_wandb, wandb_logger
from nucleist.types import UserError

wandb = pytest.importorskip("wandb", reason="needs the wandb extra")

ABOUT = {
    "net": "nucleist.models.mask_rcnn_pa",
    "images": "nucleist.data.BBBC038",
    "annotation_fraction": 0.25,
    "exemplars": None,
    "crop_fraction": None,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()


def run_of(folder: Path, **options: Any) -> Any:
    return wandb_logger("nucleist", str(folder), experiment="exp", **options).experiment


def test_a_training_logs_offline_and_says_how_to_upload(tmp_path, capsys):
    """Two steps, each with a validation; the sweep's folder is the group, the run stays there."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "sweep.json").write_text("{}")
    assert main(["train", *SMALL, f"runs={runs}", "logger=wandb", "seed=3"]) == 0
    assert "wandb sync" in capsys.readouterr().err
    (folder,) = (path.parent for path in runs.rglob("summary.json"))
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    run = wandb.run
    assert run.group == "runs" and run.id == folder.name and run.project == "nucleist"
    assert run.tags == ("mask_rcnn_pa", "Synthetic", "labels 100 %", "seed 3")
    assert (run.config["net"], run.config["labels"], run.config["seed"]) == (
        "mask_rcnn_pa", "100 %", 3,
    )  # fmt: skip
    assert run.config["optim"]["optimizer"]["lr"] == 0.001
    assert {"max", "last"} <= set(run.summary["val/map_pooled"].keys())
    tested = json.loads((folder / "summary.json").read_text())["test"]["map"]["pooled"]
    assert run.summary["test"]["map"]["pooled"] == tested


def test_the_summary_has_the_best_and_the_last(tmp_path):
    run = run_of(tmp_path / "a")
    for step, score in enumerate((0.1, 0.5, 0.3)):
        run.log({"val/map_pooled": score, "trainer/global_step": step})
    assert dict(run.summary["val/map_pooled"]) == {"max": 0.5, "last": 0.3}


def test_without_a_sweep_the_experiment_is_the_group(tmp_path):
    assert run_of(tmp_path / "a", runs=str(tmp_path)).group == "exp"


def test_a_group_of_one_s_own_counts(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    assert run_of(tmp_path / "a", runs=str(tmp_path), group="mine").group == "mine"


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, "25 %"),
        ({"annotation_fraction": 0.005}, "0.5 %"),
        ({"annotation_fraction": 1.0, "exemplars": 10}, "10 an image"),
        ({"annotation_fraction": 1.0, "crop_fraction": 0.25}, "25 % of the area"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_tags_say_what_was_labelled(changes, labels, tmp_path):
    run = run_of(tmp_path / "a", about={**ABOUT, **changes})
    assert run.tags == ("mask_rcnn_pa", "BBBC038", f"labels {labels}", "seed 3")
    assert run.config["labels"] == labels and run.config["images"] == "BBBC038"


def test_other_loggers_are_told_nothing():
    tell_wandb([object()], {"test": 1})


def test_wandb_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleist.training.callbacks.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[wandb\]'"):
        run_of(tmp_path)
