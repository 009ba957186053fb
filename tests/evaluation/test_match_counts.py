"""Counts of a model at many thresholds: they give the scores of the run, and its best threshold."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import nucleist
from nucleist.data.module import NucleiData
from nucleist.evaluation.match_counts import GRID, best_threshold, match_counts
from nucleist.inference.load import Model
from nucleist.inference.subjects import run_data
from nucleist.metrics.match_counts import COLUMNS, MatchCounts, aji_of, as_rows, map_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(plain: Path) -> Model:
    return nucleist.load(plain, device="cpu")


@pytest.fixture(scope="module")
def data(model: Model) -> NucleiData:
    return run_data(model, "")


def test_the_counts_of_a_run_give_its_scores(plain: Path) -> None:
    summary = json.loads((plain / "summary.json").read_text())
    with (plain / "match_counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "group", "score_threshold", *COLUMNS]
    assert all(row["group"] == row["image"] for row in rows)  # drawn images are no field's
    for part in ("test", "test_calibrated"):
        at = [r for r in rows if float(r["score_threshold"]) == summary[part]["score_threshold"]]
        assert len({row["image"] for row in at}) == len(at) == 2
        total = np.sum([[int(row[name]) for name in COLUMNS] for row in at], axis=0)
        assert round(float(map_of(total)), 6) == summary[part]["map"]["pooled"]
        assert round(float(aji_of(total)), 6) == summary[part]["aji"]["pooled"]


def test_counts_at_a_threshold_are_those_of_the_run(
    plain: Path, model: Model, data: NucleiData
) -> None:
    images = {i: data.whole(i) for i in data.ids("test")}
    found = match_counts(model, images, [0.5, *GRID])
    summary = json.loads((plain / "summary.json").read_text())["test"]
    assert round(float(map_of(as_rows(found[0.5].values()).sum(0))), 6) == summary["map"]["pooled"]
    detections = [sum(one.detections for one in found[t].values()) for t in GRID]
    assert detections == sorted(detections, reverse=True)


def test_images_that_are_not_complete_are_refused(model: Model, data: NucleiData) -> None:
    whole = data.whole(data.ids("test")[0])
    some = whole._replace(complete=np.zeros(whole.labels.shape, bool))
    with pytest.raises(ValueError, match="complete images, but 'a' is not"):
        match_counts(model, {"a": some}, [0.5])


def test_of_equal_thresholds_the_middle_one_is_chosen() -> None:
    good, bad = (MatchCounts(10, 10, (n,) * 10, 0, 1) for n in (8, 4))
    found = {0.1: {"a": bad}, 0.2: {"a": good}, 0.3: {"a": good}, 0.4: {"a": good}, 0.5: {"a": bad}}
    assert best_threshold(found) == 0.3
    # two images are pooled: 4 + 4 of 20 is less than 8 + 1 of 20
    one, other = MatchCounts(10, 10, (4,) * 10, 0, 1), MatchCounts(10, 10, (1,) * 10, 0, 1)
    assert best_threshold({0.1: {"a": one, "b": one}, 0.2: {"a": good, "b": other}}) == 0.2
