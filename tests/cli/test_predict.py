"""`karyon predict` and its table of nuclei, with a canonical-shape net trained for two steps."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs_support import SMALL, said

from karyon.cli.main import main
from karyon.cli.predict import COLUMNS, SHAPE_COLUMNS, write_nuclei
from karyon.export import read_label_tiff
from karyon.schedules import one_cycle

SHAPES = [option for option in SMALL if not option.startswith("model.roi")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    # presence_bias: after two steps every slot is still called a nucleus
    options = [*SHAPES, "model=canonical_shape", "model.presence_bias=3", "seed=1"]
    assert main(["train", f"runs={folder}", *options]) == 0
    (summary,) = folder.rglob("summary.json")
    return summary.parent


def test_a_canonical_shape_net_trains_and_draws_its_shape(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 2 and summary["parameters"] > 11_000_000  # ResNet-18
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    losses = [name for name in rows[0] if name.startswith("train/loss_")]
    assert set(losses) == {"train/loss_bce", "train/loss_dice", "train/loss_count"}
    rates = [float(row["lr"]) for row in rows]
    assert rates == pytest.approx([0.01 * one_cycle(step, 2) for step in range(2)], rel=1e-4)
    with Image.open(run / "figures" / "canonical_shape.png") as picture:
        assert picture.size == (750, 660)
        assert len(np.unique(np.asarray(picture))) > 50


def predict(run: Path, folder: Path) -> list[dict[str, str]]:
    pixels = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert main(["predict", checkpoint, str(folder / "a.png"), "-o", str(folder / "out")]) == 0
    with (folder / "out" / "a_nuclei.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_says_what_the_label_image_shows(run: Path, tmp_path: Path) -> None:
    rows = predict(run, tmp_path)
    labels = read_label_tiff(tmp_path / "out" / "a_labels.tif")
    assert len(rows) == labels.max() > 3
    assert tuple(rows[0]) == (*COLUMNS, *SHAPE_COLUMNS)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and scores[-1] >= 0.5
    for i, row in enumerate(rows, 1):
        ys, xs = np.nonzero(labels == i)
        assert int(row["label"]) == i and float(row["area_px"]) == len(ys)
        assert float(row["centroid_x"]) == pytest.approx(xs.mean() + 0.5, rel=1e-5)
        assert float(row["centroid_y"]) == pytest.approx(ys.mean() + 0.5, rel=1e-5)
        box = [float(row[f"box_{side}"]) for side in ("left", "top", "right", "bottom")]
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        major, minor = float(row["semi_major_px"]), float(row["semi_minor_px"])
        assert major >= minor > 0
        assert float(row["shape_area_px"]) == pytest.approx(math.pi * major * minor, rel=1e-4)


def test_a_net_without_shapes_has_no_columns_for_them(tmp_path: Path) -> None:
    # 2 x 3 pixels from (4, 1) on, and one pixel; the third detection is not in the label map
    labels = np.zeros((8, 9), np.int32)
    labels[1:3, 4:7], labels[7, 0] = 1, 2
    prediction = {
        "boxes": torch.tensor([[4.0, 1, 7, 3], [0, 7, 1, 8], [0, 0, 2, 2]]),
        "labels": torch.ones(3, dtype=torch.int64),
        "scores": torch.tensor([0.9, 0.8, 0.1]),
        "label_map": torch.from_numpy(labels),
    }
    write_nuclei(tmp_path / "a.csv", prediction, labels)  # type: ignore[arg-type]
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "label,score,area_px,centroid_x,centroid_y,box_left,box_top,box_right,box_bottom",
        "1,0.9,6,5.5,2,4,1,7,3",
        "2,0.8,1,0.5,7.5,0,7,1,8",
    ]
    write_nuclei(tmp_path / "none.csv", prediction, np.zeros((8, 9), np.int32))  # type: ignore[arg-type]
    assert len((tmp_path / "none.csv").read_text().splitlines()) == 1


def test_wrong_options_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"runs={tmp_path}", *SHAPES, "model=canonical_shape"]
    line = said(capsys, "train", *options, "model.backbone.name=vgg")
    assert "model.backbone.name=vgg" in line and "resnet18" in line
    line = said(capsys, "train", *options, "model.translation=global")
    assert "model.translation=global" in line
