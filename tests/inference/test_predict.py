"""`nucleist predict` and its table of nuclei, with a canonical-shape net trained for two steps."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.runs import SMALL, said

from nucleist.cli.main import main
from nucleist.data.formats.label_tiff import read_label_tiff
from nucleist.inference.load import load
from nucleist.inference.pictures import predict_one
from nucleist.inference.predict import COLUMNS, SHAPE_COLUMNS, find_images, write_nuclei
from nucleist.models.canonical.shape import ShapeMLP, Slots
from nucleist.models.canonical.slot_masks import to_prediction
from nucleist.ops.labels import at_threshold
from nucleist.training.schedules import one_cycle
from nucleist.training.summary import facts

SHAPES = [option for option in SMALL if not option.startswith("model.roi")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    # presence_bias: after two steps every slot is still called a nucleus
    options = [*SHAPES, "model=canonical_shape", "model.presence_bias=3", "seed=1"]
    options.append("score_threshold=0.6")
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


def test_the_summary_has_the_net_s_own_facts(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    net: Any = load(run / "checkpoints" / "last.ckpt").net
    assert summary["angular_deviation"] == pytest.approx(net.angular_deviation(), abs=2e-6)
    assert summary["outline_radius"] == pytest.approx(net.outline_radius(), abs=2e-6)
    assert facts(torch.nn.Identity()) == {}
    net.shape.last.weight.data.zero_()  # the same everywhere: no outline
    assert facts(net) == {"outline_radius": None, "angular_deviation": None}


def test_binary_supervision_leaves_the_threshold_uncalibrated(run: Path) -> None:
    """Comparing with the training's single nuclei would give 0.5 at most."""
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test_calibrated"] == summary["test"]
    assert summary["test"]["score_threshold"] == 0.6
    assert load(run / "checkpoints" / "last.ckpt").threshold == 0.6


PIXELS = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)


def predict(run: Path, folder: Path, *options: str) -> list[dict[str, str]]:
    Image.fromarray(PIXELS).save(folder / "a.png")
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    command = ["predict", checkpoint, str(folder / "a.png"), "-o", str(folder / "out")]
    assert main([*command, *options]) == 0
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


def test_a_score_threshold_shows_what_evaluation_counts(run: Path, tmp_path: Path) -> None:
    """Weak members of a group stay in its mask: its score is that of its best slot."""
    trained = load(run / "checkpoints" / "last.ckpt")
    prediction = predict_one(trained.net, trained.normalize(PIXELS))
    middle = prediction["scores"].median().item()
    counted = at_threshold(prediction, middle).numpy()
    assert 0 < counted.max() < len(prediction["scores"])
    predict(run, tmp_path, "--score-threshold", str(middle))
    assert (read_label_tiff(tmp_path / "out" / "a_labels.tif") == counted).all()


def test_options_of_the_net_may_be_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(run, tmp_path, "model.group=false", "model.grid=32")
    trained = load(run / "checkpoints" / "last.ckpt", {"group": False, "grid": 32})
    prediction = predict_one(trained.net, trained.normalize(PIXELS))
    labels = read_label_tiff(tmp_path / "out" / "a_labels.tif")
    assert (labels == at_threshold(prediction, trained.threshold).numpy()).all()
    predict(run, tmp_path, "--overwrite")
    assert (read_label_tiff(tmp_path / "out" / "a_labels.tif") != labels).any()
    checkpoint, image = str(run / "checkpoints" / "last.ckpt"), str(tmp_path / "a.png")
    command = ["predict", checkpoint, image, "-o", str(tmp_path / "other")]
    capsys.readouterr()
    assert "did you mean 'group'?" in said(capsys, *command, "model.grup=false")
    assert "is a list of values" in said(capsys, *command, "model.grid=32,64")
    assert "model.grid=33 is unknown" in said(capsys, *command, "model.grid=33")


def test_the_ellipse_behind_a_nucleus_is_in_the_table(tmp_path: Path) -> None:
    # Semi-axes 12 and 6 px around (33, 27), the major one turned by 0.5 from x towards y. With the
    # canonical disc of radius 1/2 L^T L is M / 4, where
    # M = R diag(1 / 12^2, 1 / 6^2) R^T in 1 / px^2.
    c, s = math.cos(0.5), math.sin(0.5)
    a, b = 64**2 / 4 / 12**2, 64**2 / 4 / 6**2  # along and across, 1 / (64 px)^2
    xx, xy, yy = a * c * c + b * s * s, (a - b) * c * s, a * s * s + b * c * c
    l22 = math.sqrt(yy)
    l21 = xy / l22
    matrix = torch.tensor([[math.sqrt(xx - l21**2), l21, l22]])
    shape = ShapeMLP()
    with torch.no_grad():
        for parameter in shape.parameters():
            parameter.zero_()
        shape.last.weight[0, -1], shape.last.bias[0] = 200.0, -100.0  # ends sharply at r' = 1/2
        slots = Slots(matrix, torch.tensor([[33.0, 27.0]]) / 64, torch.tensor([9.0]))
        prediction = to_prediction(shape, slots, (60, 70), 1, True)
    labels = prediction["label_map"].numpy()
    write_nuclei(tmp_path / "a.csv", prediction, labels)
    with (tmp_path / "a.csv").open() as file:
        (row,) = csv.DictReader(file)
    found = [float(row[name]) for name in SHAPE_COLUMNS]
    assert found == pytest.approx([33, 27, 12, 6, 0.5, math.pi * 72], rel=3e-3)
    # The label image shows the same ellipse: turned by half the angle of its second moments.
    y, x = np.nonzero(labels)
    cov = np.cov(x, y)
    assert 0.5 * math.atan2(2 * cov[0, 1], cov[0, 0] - cov[1, 1]) == pytest.approx(0.5, abs=0.02)
    centroid = [float(row["centroid_x"]), float(row["centroid_y"])]
    assert centroid == pytest.approx([33, 27], abs=0.1)
    assert float(row["area_px"]) == pytest.approx(math.pi * 72, rel=0.03)


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


def test_of_a_folder_its_images_are_outlined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the labels and pictures that lie beside them, as predict itself leaves them."""
    for name in ("a.png", "a_labels.tif", "a_overlay.png", "b.tif", "b_masks.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "case_ROI.tif").touch()  # an image: there is no `case`
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "c.png").touch()
    found = [path.name for path in find_images([str(tmp_path)])]
    assert found == ["a.png", "b.tif", "case_ROI.tif"]
    assert "left out 3 labels or pictures" in capsys.readouterr().err
    for path in tmp_path.glob("*.*"):
        path.unlink()
    assert [path.name for path in find_images([str(tmp_path)])] == ["c.png"]
