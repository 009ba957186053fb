"""Label images against a truth that is not all nuclei: no number that would be wrong."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lines import Lines
from support.runs import said

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import write_label_map
from nucleist.evaluation.partial import MapScores
from nucleist.metrics.cards import card_of
from nucleist.types import UserError

WRONG = ("map", "precision", "aji", "pq", "f1", "pixel_iou", "missed_rate", "gained", "detections")


def squares(*corners: tuple[int, int]) -> np.ndarray:
    """A label map of 10-px squares with these (row, column) corners."""
    labels = np.zeros((32, 64), np.int32)
    for number, (y, x) in enumerate(corners, 1):
        labels[y : y + 10, x : x + 10] = number
    return labels


TRUE = {"a": squares((0, 0), (15, 0)), "b": squares((3, 3), (3, 40))}
PRED = {  # a: one found, one missed, one on nothing; b: both found, one on nothing
    "a": squares((0, 0), (15, 40)),
    "b": 1000 * squares((3, 3), (3, 40), (18, 40)),
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for folder, maps, end in (("pred", PRED, ".png"), ("gt", TRUE, "_labels.tif")):
        (tmp_path / folder).mkdir()
        for name, labels in maps.items():
            write_label_map(tmp_path / folder / f"{name}{end}", labels)
    return tmp_path / "pred", tmp_path / "gt"


def summary_of(folders: tuple[Path, Path], rows: str = "", **options: Any) -> Any:
    if rows:
        (folders[1] / "complete.csv").write_text(f"image,x,y,width,height\n{rows}")
    return nucleist.evaluate(*folders, **options).summary


def test_labelled_nuclei_alone(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """3 of 4 labelled nuclei are found exactly; two detections are on none."""
    out = tmp_path / "out"
    assert main(["evaluate", *map(str, folders), "complete=false", "-o", str(out)]) == 0
    told, summary = capsys.readouterr().out, json.loads((out / "summary.json").read_text())
    assert summary["labelled_recall_50"] == {"pooled": 0.75, "per_image": 0.75}
    assert summary["boundary_distance"] == {"pooled": 0, "per_image": 0}
    assert (summary["labelled_nuclei"], summary["unjudged"]) == (4, 2)
    assert summary["complete_area"] == 0
    assert summary["labelled_score"] == pytest.approx(0.75**2 * 4 / 5)
    with (out / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in WRONG:
        assert name not in summary and name not in rows[0]
    assert all(card_of(name) for name in list(rows[0])[1:])
    assert "0.7500" in told and "labelled_nuclei 4, unjudged 2, complete_area 0" in told


def test_an_image_without_a_row_is_complete_nowhere(folders: tuple[Path, Path]) -> None:
    """b is complete, so its third detection is wrong; of a only the labelled nuclei count."""
    summary = summary_of(folders, "b\n")
    assert summary["precision"]["pooled"] == pytest.approx(2 / 3, abs=1e-6)
    assert summary["recall"]["pooled"] == 1
    assert (summary["nuclei"], summary["detections"]) == (2, 3)
    assert summary["labelled_recall_50"]["pooled"] == 0.5 and summary["labelled_nuclei"] == 2
    assert summary["complete_area"] == 0.5 and "missed_rate" not in summary
    rows = {row["image"]: row for row in nucleist.evaluate(*folders).images}
    assert "map" in rows["b"] and "labelled_nuclei" not in rows["b"]
    assert "map" not in rows["a"] and rows["a"]["unjudged"] == 1


def test_a_part_of_an_image(folders: tuple[Path, Path]) -> None:
    """In the left half of a there is one nucleus found and one missed, nothing else."""
    summary = summary_of(folders, "a,0,0,32,32\n")
    assert summary["precision"]["pooled"] == 1 and summary["recall"]["pooled"] == 0.5
    assert summary["complete_area"] == 0.25 and summary["labelled_nuclei"] == 4


def test_what_all_names_is_scored_as_if_nothing_were_said(folders: tuple[Path, Path]) -> None:
    plain = summary_of(folders)
    assert summary_of(folders, "a\nb\n") == plain and "missed_rate" in plain
    assert summary_of(folders, "a\n", complete=True) == plain
    assert "map" not in summary_of(folders, "a\nb\n", complete=False)


@pytest.mark.parametrize(
    "name", ["b", "b.tif", "b.png", "b_labels.tif", "images/b.tif", "B:\\x\\b.jpg", " b "]
)
def test_names_in_the_table(name: str, folders: tuple[Path, Path]) -> None:
    assert summary_of(folders, f"{name}\n")["complete_area"] == 0.5


def test_a_table_in_a_zip(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[1] / "complete.csv").write_text("image\nb\n")
    with zipfile.ZipFile(tmp_path / "truth.zip", "w") as archive:
        for path in folders[1].iterdir():
            archive.write(path, f"truth/{path.name}")
    assert summary_of((folders[0], tmp_path / "truth.zip"))["complete_area"] == 0.5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("c\n", ["line 2", "no image 'c'", "one is"]),
        ("a,0,0,x,2\n", ["line 2", "whole number"]),
        ("a,70,0,5,5\n", ["outside"]),
    ],
)
def test_a_bad_table_is_one_line(
    rows: str, words: list[str], folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "complete.csv").write_text(f"image,x,y,width,height\n{rows}")
    line = said(capsys, "evaluate", *map(str, folders))
    assert all(word in line for word in ["complete.csv", *words]), line


def test_a_row_of_an_image_that_was_not_predicted(folders: tuple[Path, Path]) -> None:
    (folders[0] / "b.png").unlink()
    summary = summary_of(folders, "b\n")
    assert summary["images"] == 1 and "map" not in summary and summary["labelled_nuclei"] == 2


def test_a_table_above_the_truth_is_named(folders: tuple[Path, Path]) -> None:
    (folders[1].parent / "complete.csv").write_text("image\nb\n")
    lines = Lines()
    nucleist.evaluate(*folders, progress=lines)
    assert [line for line in lines.notes if "complete.csv: not read" in line]
    lines = Lines()
    nucleist.evaluate(*folders, complete=True, progress=lines)
    assert lines.notes == []


def test_complete_is_for_label_images(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"for label images; .*data\.source\.complete=false"):
        nucleist.evaluate("runs/x", complete=False)
    assert "data.source.complete=true" in said(capsys, "evaluate", "runs/x", "complete=true")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_an_area_that_is_the_whole_image_is_no_area(seed: int, gaps: bool) -> None:
    """As an area the image gives what a complete image gives, whatever the ids are."""
    rng = np.random.default_rng(seed)
    true, pred = (np.kron(rng.integers(0, 5, (3, 4)), np.ones((4, 4), int)) for _ in range(2))
    pred = pred * (10**6 if gaps else 1)
    whole, area = MapScores(), MapScores()
    whole.add("a", true, pred, None)
    area.add("a", true, pred, np.ones(true.shape, bool))
    expected, found = whole.summary(), area.summary()
    assert {key: found[key] for key in found if key in expected} == {
        key: expected[key] for key in expected if key in found
    }
    assert {"map", "aji", "nuclei", "detections", "complete_area"} <= set(found)
