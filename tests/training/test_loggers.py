"""The CSV file of metrics; groups, tags, axes and summaries of W&B, offline, without account."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.runs import THIN, train

from nucleist.training.loggers import MetricsFile, log_summary, wandb_logger
from nucleist.types import UserError

pytestmark = pytest.mark.slow

ABOUT = {
    "net": "nucleist.models.mask_rcnn_pa",
    "images": "nucleist.data.BBBC038",
    "annotation_fraction": 0.25,
    "exemplars": None,
    "crop_fraction": None,
    "seed": 3,
}


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """The package, where nobody has an account."""
    package = pytest.importorskip("wandb", reason="needs the wandb extra")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield package
    package.finish()


def test_the_metrics_file_goes_on_and_forgets_what_is_done_again(tmp_path):
    path = tmp_path / "metrics.csv"
    log = MetricsFile(str(path))
    for step in range(4):
        log.log_metrics({"loss": 0.1 * step}, step)
    log.log_metrics({"map": torch.tensor(0.5)}, 3)
    log.finalize("success")
    again = MetricsFile(str(path))
    again.rewind(3)
    again.log_metrics({"loss": 7.0}, 3)
    again.save()
    assert path.read_text().split() == ["loss,step", "0.0,0", "0.1,1", "0.2,2", "7.0,3"]
    path.write_text("no table\n1\n")
    with pytest.raises(UserError, match="not a table of metrics"):
        MetricsFile(str(path))


def run_of(folder: Path, **options: Any) -> Any:
    return wandb_logger("nucleist", str(folder), experiment="exp", **options).experiment


@pytest.mark.usefixtures("no_pictures")
def test_a_training_logs_offline_and_names_the_command_that_uploads(wandb, tmp_path, capsys):
    """Two steps, each with a validation; the sweep's folder is the group, the run stays there."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "sweep.json").write_text("{}")
    folder = train(runs, *THIN, "logger=wandb", "seed=3")
    assert "wandb sync" in capsys.readouterr().err
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


def test_the_summary_has_the_best_and_the_last(wandb, tmp_path):
    run = run_of(tmp_path / "a")
    for step, score in enumerate((0.1, 0.5, 0.3)):
        run.log({"val/map_pooled": score, "trainer/global_step": step})
    assert dict(run.summary["val/map_pooled"]) == {"max": 0.5, "last": 0.3}


def test_scores_at_labelled_nuclei_and_no_others_are_in_the_summary(wandb, tmp_path):
    run = run_of(tmp_path / "a")
    for step, score in enumerate((0.25, 0.75, 0.5)):
        logged = {"val/labelled_recall_50_pooled": score, "val/labelled_nuclei": 16}
        run.log({**logged, "trainer/global_step": step})
    validation = {"labelled_recall_50": {"pooled": 0.5}, "labelled_nuclei": 16}
    logger = SimpleNamespace(experiment=run, log_image=None)
    log_summary([logger], {"validation": validation, "recommended": {"checkpoint": "last"}})
    assert dict(run.summary["val/labelled_recall_50_pooled"]) == {"max": 0.75, "last": 0.5}
    assert run.summary["validation"]["labelled_recall_50"]["pooled"] == 0.5
    keys = set(run.summary.keys())
    assert not [key for key in keys if "map" in key or key.startswith("test")], keys


def test_without_a_sweep_the_experiment_is_the_group(wandb, tmp_path):
    assert run_of(tmp_path / "a", runs=str(tmp_path)).group == "exp"


def test_a_group_of_one_s_own_counts(wandb, tmp_path):
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
def test_tags_show_what_was_labelled(wandb, changes, labels, tmp_path):
    run = run_of(tmp_path / "a", about={**ABOUT, **changes})
    assert run.tags == ("mask_rcnn_pa", "BBBC038", f"labels {labels}", "seed 3")
    assert run.config["labels"] == labels and run.config["images"] == "BBBC038"


def test_other_loggers_get_no_summary():
    log_summary([object()], {"test": 1})


def test_wandb_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleist.training.loggers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nucleist\[wandb\]'"):
        run_of(tmp_path)
