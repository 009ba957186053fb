"""Label map, boxes, scores and table of an image agree with each other."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import nucleist
from nucleist.inference.result import COLUMNS, measured, to_result, write_table
from nucleist.models.canonical.shape import ShapeMLP, Slots
from nucleist.models.canonical.slot_masks import PARAMETERS, to_prediction
from nucleist.types import Prediction

PIXELS = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "canonical"])
def test_row_i_is_about_label_i_plus_1(name: str, request: pytest.FixtureRequest) -> None:
    model = nucleist.load(request.getfixturevalue(name), device="cpu")
    result = model.predict(PIXELS, 0.1)
    assert result.labels.dtype == np.int32 and result.boxes.dtype == np.float32
    assert result.boxes.shape == (len(result.scores), 4) and len(result.scores) > 3
    assert (np.diff(result.scores) <= 0).all() and result.scores.min() > 0.1
    ids = np.unique(result.labels[result.labels > 0])
    np.testing.assert_array_equal(result.table["label"], ids)
    assert len(result) == len(ids) and ids.max() <= len(result.scores)
    for row, label in enumerate(ids):
        ys, xs = np.nonzero(result.labels == label)
        assert result.table["area_px"][row] == len(ys)
        assert result.table["score"][row] == result.scores[label - 1]
        sides = ("left", "top", "right", "bottom")
        box = [result.table[f"box_{side}"][row] for side in sides]
        np.testing.assert_array_equal(box, result.boxes[label - 1])
        left, top, right, bottom = box
        # nothing of the nucleus is outside, but for the rounding of pasted masks
        assert left - 2 <= xs.min() and xs.max() + 1 <= right + 2
        assert top - 2 <= ys.min() and ys.max() + 1 <= bottom + 2
    names = (*COLUMNS, *model.net.can.shape_parameters)
    assert tuple(result.table) == names
    assert {len(column) for column in result.table.values()} == {len(ids)}


def two_nuclei() -> dict:
    """2 x 3 pixels from (4, 1) on, and one pixel; the third detection has no pixel."""
    labels = torch.zeros(8, 9, dtype=torch.int32)
    labels[1:3, 4:7], labels[7, 0] = 1, 2
    return {
        "boxes": torch.tensor([[4.0, 1, 7, 3], [0, 7, 1, 8], [0, 0, 2, 2]]),
        "scores": torch.tensor([0.9, 0.8, 0.1]),
        "label_map": labels,
    }


def test_a_detection_without_a_pixel_has_a_box_but_no_row() -> None:
    result = to_result(two_nuclei(), 0.05)  # type: ignore[arg-type]
    assert len(result.boxes) == len(result.scores) == 3 and len(result) == 2
    higher = to_result(two_nuclei(), 0.85)  # type: ignore[arg-type]
    assert len(higher.boxes) == len(higher) == 1 and higher.labels.max() == 1
    nothing = to_result(two_nuclei(), 0.9)  # the score has to be higher
    assert len(nothing) == len(nothing.scores) == 0 and not nothing.labels.any()
    assert nothing.boxes.shape == (0, 4) and tuple(nothing.table) == COLUMNS


def test_the_table_as_a_file(tmp_path: Path) -> None:
    prediction = two_nuclei()
    labels = prediction["label_map"].numpy()
    write_table(tmp_path / "a.csv", measured(prediction, labels))  # type: ignore[arg-type]
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "label,score,area_px,centroid_x,centroid_y,box_left,box_top,box_right,box_bottom",
        "1,0.9,6,5.5,2,4,1,7,3",
        "2,0.8,1,0.5,7.5,0,7,1,8",
    ]
    write_table(tmp_path / "none.csv", measured(prediction, labels * 0))  # type: ignore[arg-type]
    assert len((tmp_path / "none.csv").read_text().splitlines()) == 1


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
    write_table(tmp_path / "a.csv", measured(prediction, labels, tuple(PARAMETERS)))
    (row,) = read(tmp_path / "a.csv")
    found = [float(row[name]) for name in PARAMETERS]
    assert found == pytest.approx([33, 27, 12, 6, 0.5, math.pi * 72], rel=3e-3)
    # The label image shows the same ellipse: turned by half the angle of its second moments.
    y, x = np.nonzero(labels)
    cov = np.cov(x, y)
    assert 0.5 * math.atan2(2 * cov[0, 1], cov[0, 0] - cov[1, 1]) == pytest.approx(0.5, abs=0.02)
    centroid = [float(row["centroid_x"]), float(row["centroid_y"])]
    assert centroid == pytest.approx([33, 27], abs=0.1)
    assert float(row["area_px"]) == pytest.approx(math.pi * 72, rel=0.03)


def test_small_pieces_are_dropped_where_asked_for() -> None:
    labels = torch.zeros(10, 10, dtype=torch.int32)
    labels[1:5, 1:5], labels[8, 8], labels[1:4, 7:9] = 1, 1, 2
    prediction = Prediction(
        label_map=labels,
        scores=torch.tensor([0.9, 0.8]),
        boxes=torch.tensor([[1.0, 1, 9, 9], [7, 1, 9, 4]]),
    )
    assert (to_result(prediction, 0.5).labels == labels.numpy()).all()
    kept = to_result(prediction, 0.5, pieces=0.25)
    assert kept.labels[8, 8] == 0 and kept.table["area_px"].tolist() == [16, 6]
