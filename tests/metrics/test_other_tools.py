"""Cellpose and StarDist, where their definitions agree with ours.

Their values are stored with the versions that gave them; `support.other_tools` makes them again.
"""

import json

import pytest
from support.other_tools import AJI_PAIRS, PAIRS, SIDES, STEPS, STORED, hash_of

from nucleist.metrics.functional import (
    IOU_THRESHOLDS,
    aggregated_jaccard_index,
    mean_average_precision,
    panoptic_quality,
    precision_recall,
)

THEIRS = json.loads(STORED.read_text(encoding="utf-8"))["pairs"]


def test_the_stored_values_are_those_of_the_maps_that_are_drawn():
    drawn = {name: hash_of(pair) for name, pair in (PAIRS | AJI_PAIRS).items()}
    assert {name: entry["maps"] for name, entry in THEIRS.items()} == drawn
    assert [float(t) for t in IOU_THRESHOLDS] == STEPS.tolist()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", PAIRS)
def test_map_precision_and_recall_equal_both_tools(name, side):
    true, pred = PAIRS[name]
    theirs, inclusive = THEIRS[name][side], side == "inclusive"
    ours = mean_average_precision(true, pred, inclusive=inclusive)
    assert ours == pytest.approx(theirs["cellpose"]["map"], abs=1e-6)  # theirs is float32
    assert ours == pytest.approx(theirs["stardist"]["map"])
    half = [theirs["stardist"][key] for key in ("precision", "recall", "f1")]
    assert precision_recall(true, pred, inclusive=inclusive) == pytest.approx(half)


@pytest.mark.parametrize("name", PAIRS)
def test_panoptic_quality_equals_stardist(name):
    ours = panoptic_quality(*PAIRS[name]).pq
    assert ours == pytest.approx(THEIRS[name]["strict"]["stardist"]["pq"], abs=1e-6)


def test_aji_equals_cellpose_where_each_prediction_touches_one_nucleus():
    # three squares, shifted by 0, 1 and 2 columns: every overlap is a matched one, so the union
    # of the foregrounds, their denominator, is the sum of the pairs' unions, ours:
    # (100 + 90 + 80) / (100 + 110 + 120)
    ours = aggregated_jaccard_index(*AJI_PAIRS["shifted squares"])
    assert ours == pytest.approx(270 / 330)
    assert THEIRS["shifted squares"]["cellpose"]["aji"] == pytest.approx(270 / 330)


def test_aji_of_cellpose_is_higher_where_a_nucleus_was_split():
    # one nucleus of 100 pixels predicted as 60 + 40: the 60 are matched, the 40 left over. The
    # published denominator adds them, 100 + 40; the union of the foregrounds stays 100.
    ours = aggregated_jaccard_index(*AJI_PAIRS["split square"])
    assert ours == pytest.approx(60 / 140)
    assert THEIRS["split square"]["cellpose"]["aji"] == pytest.approx(60 / 100)
