"""`nucleist evaluate checkpoint=... model.KEY=VALUE`: one checkpoint at several settings."""

import csv
import json
from pathlib import Path

import pytest
from support.runs import SMALL, said

from nucleist.cli.main import main
from nucleist.inference.load import load


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", f"runs={folder}", "model=mask_rcnn", *SMALL]) == 0
    return next(folder.rglob("summary.json")).parent


@pytest.fixture
def command(run: Path) -> list[str]:
    return ["evaluate", f"checkpoint={run / 'checkpoints' / 'last.ckpt'}", "trainer=cpu"]


def test_an_option_acts_and_is_named_in_the_summary(command: list[str], tmp_path: Path) -> None:
    said_at = {}
    for limit in (20, 3):
        out = tmp_path / str(limit)
        options = [f"model.roi.detections_per_img={limit}", "model.roi.score_thresh=0.0"]
        assert main([*command, *options, "score_threshold=0.001", "-o", str(out)]) == 0
        summary = json.loads((out / "summary.json").read_text())
        assert summary["model_options"] == {
            "roi.detections_per_img": limit,
            "roi.score_thresh": 0.0,
        }
        with (out / "per_image.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["score_threshold"] == "0.001"]
        said_at[limit] = [float(row["detections"]) for row in rows]
    # An untrained net says about as much as it may.
    assert len(said_at[3]) == 2 and max(said_at[3]) <= 3 < max(said_at[20]) <= 20


def test_without_options_the_training_s_act(run: Path, command: list[str], tmp_path: Path) -> None:
    # 20 is what the run was trained with, so the limited test of the run is repeated.
    limited = [*command, "+trainer.limit_test_batches=1", "model.roi.detections_per_img=20"]
    assert main([*limited, "-o", str(tmp_path)]) == 0
    scores = json.loads((tmp_path / "summary.json").read_text())
    assert scores.pop("model_options") == {"roi.detections_per_img": 20}
    trained = json.loads((run / "summary.json").read_text())
    assert scores == {key: trained[key] for key in scores}


def test_a_parameter_that_no_file_named_may_be_given(run: Path) -> None:
    # conf/ says nothing of the pyramid's `extra_level`; the constructor has it, default false.
    checkpoint = run / "checkpoints" / "last.ckpt"
    stored = load(checkpoint).config["model"]["backbone"]
    assert "extra_level" not in stored
    trained = load(checkpoint, {"backbone.extra_level": False, "roi.nms_thresh": 0.25})
    assert trained.config["model"]["backbone"]["extra_level"] is False
    assert trained.net.roi_heads.nms_thresh == 0.25
    assert load(checkpoint).net.roi_heads.nms_thresh == 0.5


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.roi.score_tresh=0.3", "did you mean 'roi.score_thresh'?"),
        ("model.group=false", "model.group=False: mask_rcnn has no such option"),
        ("model.roi.score_thresh.deep=1", "no such option"),
        ("model._target_=os.system", "no such option"),
        ("model.roi.score_thresh=0.1,0.2", "is a list of values"),
        ("model.roi.score_thresh", "write model.KEY=VALUE"),
        ("model.backbone={_target_: os.getcwd}", "asks to call 'os.getcwd'"),
        ("model.box_head=8", "last.ckpt"),  # other weights
    ],
)
def test_what_is_no_option_is_told_in_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str, told: str
) -> None:
    assert told in said(capsys, *command, word, "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["per_image.csv", "thresholds.csv", "summary.json"])
def test_a_folder_in_the_place_of_a_result_is_one_line(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir()
    assert main([*command, "-o", str(tmp_path)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"nucleist: {tmp_path / name}: cannot write (Is a directory)")
    assert not list(tmp_path.glob(".*"))  # nothing half-written
