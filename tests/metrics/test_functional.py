"""Scores of two label maps: worked-out geometry, brute force, and what must not matter."""

import importlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import oracles

from nucleist.metrics.counts import TENTHS, count
from nucleist.metrics.functional import (
    aggregated_jaccard_index,
    mean_average_precision,
    mean_f1,
    normalized_coverage_score,
    panoptic_quality,
    pixel_overlap,
    precision_recall,
)
from nucleist.ops.contingency import contingency, count_matches

table_module = importlib.import_module("nucleist.ops.contingency")

SCORES = {
    "map": mean_average_precision,
    "map inclusive": lambda t, p: mean_average_precision(t, p, inclusive=True),
    "aji": aggregated_jaccard_index,
    "aji hungarian": lambda t, p: aggregated_jaccard_index(t, p, "hungarian"),
    "ncs": normalized_coverage_score,
    "precision": lambda t, p: precision_recall(t, p).precision,
    "recall": lambda t, p: precision_recall(t, p).recall,
    "f1": lambda t, p: precision_recall(t, p).f1,
    "pq": lambda t, p: panoptic_quality(t, p).pq,
    "sq": lambda t, p: panoptic_quality(t, p).sq,
    "rq": lambda t, p: panoptic_quality(t, p).rq,
    "f1 mean": mean_f1,
    "pixel iou": lambda t, p: pixel_overlap(t, p).iou,
    "pixel dice": lambda t, p: pixel_overlap(t, p).dice,
}


def f1_by_definition(true, pred, thresholds=TENTHS):
    """Mean of 2 TP / (2 TP + FP + FN) with TP found by trying all assignments at IoU >= t."""
    total = len(oracles.masks(true)) + len(oracles.masks(pred))
    if not total:
        return 1.0
    found = [oracles.matches(true, pred, t, inclusive=True) for t in thresholds]
    return float(np.mean([2 * tp / total for tp in found]))


def overlap_by_definition(true, pred):
    """IoU and Dice of the foregrounds, pixel by pixel."""
    pixels = [(a > 0, b > 0) for a, b in zip(true.ravel(), pred.ravel(), strict=True)]
    both, either = sum(a and b for a, b in pixels), sum(a or b for a, b in pixels)
    return (both / either, 2 * both / (both + either)) if either else (1.0, 1.0)


ORACLES = {
    "map": oracles.mean_average_precision,
    "map inclusive": lambda t, p: oracles.mean_average_precision(t, p, inclusive=True),
    "aji": oracles.aggregated_jaccard_index,
    "ncs": oracles.normalized_coverage_score,
    "precision": lambda t, p: oracles.precision_recall(t, p)[0],
    "recall": lambda t, p: oracles.precision_recall(t, p)[1],
    "pq": oracles.panoptic_quality,
    "f1 mean": f1_by_definition,
    "pixel iou": lambda t, p: overlap_by_definition(t, p)[0],
    "pixel dice": lambda t, p: overlap_by_definition(t, p)[1],
}
EVERY = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
SMALL_MAPS = arrays(np.int32, (2, 5, 6), elements=st.integers(0, 4))


def squares(*corners, side=10, shape=(32, 64)):
    """A label map of squares with these (row, column) corners, labelled 1, 2, ..."""
    labels = np.zeros(shape, np.int32)
    for i, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = i
    return labels


@EVERY
def test_the_truth_itself_scores_exactly_one(score):
    true = squares((0, 0), (0, 10), (15, 40))  # two of them touch
    assert score(true, true) == 1.0


@EVERY
def test_predictions_beside_all_nuclei_score_exactly_zero(score):
    assert score(squares((0, 0)), squares((0, 10), (20, 0))) == 0.0


@EVERY
def test_nothing_to_find_and_nothing_found_is_one(score):
    empty = squares()
    assert score(empty, empty) == 1.0


@EVERY
def test_one_empty_map_is_zero_whichever_it_is(score):
    empty, one = squares(), squares((3, 3))
    assert score(one, empty) == 0.0
    assert score(empty, one) == 0.0


@EVERY
@pytest.mark.parametrize("seed", range(6))
def test_ids_and_types_of_labels_do_not_matter(score, seed):
    true, pred = oracles.random_maps(seed)
    expected = score(true, pred)
    grow = np.arange(60) * 1_000_003  # same order, far apart: the table cannot be dense
    assert score(grow[true], grow[pred]) == pytest.approx(expected)
    assert score(torch.from_numpy(true), torch.from_numpy(pred)) == expected
    assert score(true.astype(np.uint8), pred.astype(np.uint16)) == expected


@pytest.mark.parametrize("name", [n for n in SCORES if "aji" not in n])
@pytest.mark.parametrize("seed", range(6))
def test_order_of_labels_does_not_matter(name, seed):
    true, pred = oracles.random_maps(seed)
    shuffle = np.append(0, np.random.default_rng(seed).permutation(np.arange(1, 60)))
    score = SCORES[name]
    assert score(shuffle[true], shuffle[pred]) == pytest.approx(score(true, pred))


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(25))
def test_random_nuclei_agree_with_the_definition(name, seed):
    true, pred = oracles.random_maps(seed)
    assert SCORES[name](true, pred) == pytest.approx(ORACLES[name](true, pred), abs=1e-12)


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=60, deadline=None)
@given(maps=SMALL_MAPS)
def test_arbitrary_labels_agree_with_the_definition(name, maps):
    # scattered pixels: ties, empty maps and many overlaps of one nucleus, which rectangles lack
    assert SCORES[name](*maps) == pytest.approx(ORACLES[name](*maps), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(maps=SMALL_MAPS)
def test_hungarian_aji_is_one_of_the_optimal_pairings(maps):
    possible = oracles.aggregated_jaccard_index_optimal(*maps)
    value = aggregated_jaccard_index(*maps, matching="hungarian")
    assert min(abs(value - p) for p in possible) < 1e-9


@settings(max_examples=60, deadline=None)
@given(maps=SMALL_MAPS, k=st.integers(0, 20), inclusive=st.booleans())
def test_matches_below_one_half_are_still_one_to_one(maps, k, inclusive):
    threshold = Fraction(k, 20)
    if k == 0 and inclusive:  # IoU >= 0 would pair nuclei that do not even touch
        threshold = Fraction(1, 10_000)
    found = count_matches(contingency(*maps), [threshold], inclusive)
    assert found.tolist() == [oracles.matches(*maps, threshold, inclusive)]


def test_an_iou_of_exactly_one_half_is_not_a_match_unless_inclusive():
    # 10 x 12 pixels shifted by 4 columns: 80 shared of 160, IoU = 1/2
    true, pred = np.zeros((2, 10, 20), int)
    true[:, 0:12] = 1
    pred[:, 4:16] = 1
    assert precision_recall(true, pred) == (0.0, 0.0, 0.0)
    assert precision_recall(true, pred, inclusive=True) == (1.0, 1.0, 1.0)
    assert mean_average_precision(true, pred) == 0.0
    assert mean_average_precision(true, pred, inclusive=True) == pytest.approx(0.1)
    assert panoptic_quality(true, pred) == (0.0, 0.0, 0.0)


def test_two_ten_pixel_squares_shifted_by_five_overlap_by_a_third():
    # 50 shared of 150: no match from 0.5 on, one below 1/3
    true, pred = squares((0, 0)), squares((0, 5))
    assert contingency(true, pred).iou.tolist() == [1 / 3]
    assert mean_average_precision(true, pred) == 0.0
    assert precision_recall(true, pred, threshold=0.33).recall == 1.0
    assert aggregated_jaccard_index(true, pred) == pytest.approx(1 / 3)
    assert normalized_coverage_score(true, pred) == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", range(10, 20))
def test_ties_at_every_threshold_are_exact(k):
    # k of 20 pixels: IoU k/20, which 0.05 steps in floating point miss on either side
    true, pred = np.zeros((2, 1, 20), int)
    true[0, :] = 1
    pred[0, :k] = 1
    steps = np.arange(0.5, 1.0, 0.05)  # the 3rd is 0.6000000000000001
    assert count_matches(contingency(true, pred), steps).sum() == k - 10
    assert count_matches(contingency(true, pred), steps, inclusive=True).sum() == k - 9


def test_both_halves_of_a_nucleus_count_once_when_inclusive():
    # each half has IoU 50 / 100; only one may take the nucleus
    true, pred = squares((0, 0)), squares((0, 0))
    pred[0:10, 5:10] = 2
    assert precision_recall(true, pred, inclusive=True) == (0.5, 1.0, pytest.approx(2 / 3))


def test_average_precision_of_a_found_a_missed_and_a_false_nucleus():
    # IoU 90/100 is above 0.50 ... 0.85: TP 1, FP 1, FN 1 at 8 of 10 thresholds, TP 0 at 2
    true, pred = squares((0, 0), (15, 0)), squares((0, 0), (15, 40))
    pred[0:10, 9] = 0
    assert mean_average_precision(true, pred) == pytest.approx(0.8 / 3)
    assert mean_average_precision(true, pred, [0.75]) == pytest.approx(1 / 3)
    assert mean_average_precision(true, pred, inclusive=True) == pytest.approx(0.9 / 3)


def test_aji_charges_missed_nuclei_and_leftover_predictions():
    # found: 50 shared, union 150; missed: 100; left over: 100
    true, pred = squares((0, 0), (20, 0)), squares((0, 5), (20, 40))
    assert aggregated_jaccard_index(true, pred) == pytest.approx(50 / (150 + 100 + 100))


def test_greedy_aji_depends_on_the_order_of_true_labels_hungarian_does_not():
    # One prediction over columns 0-9; truth A has columns 0-3, truth B columns 4-9.
    # A first: 40 shared, (40 + 60 + 100 - 40) below; B first: 60 / (200 - 60).
    pred = squares((0, 0))
    true = pred.copy()
    true[0:10, 4:10] = 2
    other = np.array([0, 2, 1])[true]
    assert aggregated_jaccard_index(true, pred) == pytest.approx(40 / 160)
    assert aggregated_jaccard_index(other, pred) == pytest.approx(60 / 140)
    for maps in ((true, pred), (other, pred)):
        assert aggregated_jaccard_index(*maps, matching="hungarian") == pytest.approx(60 / 140)


@pytest.mark.parametrize("seed", range(6))
def test_greedy_aji_ignores_ids_of_predictions_without_ties(seed):
    true, pred = oracles.random_maps(seed)
    table = contingency(true, pred)
    assert len(set(zip(table.true_index, table.iou, strict=True))) == len(table.iou)  # no ties
    shuffle = np.append(0, np.random.default_rng(seed).permutation(np.arange(1, 60)))
    expected = aggregated_jaccard_index(true, pred)
    assert aggregated_jaccard_index(true, shuffle[pred]) == expected


def test_ncs_lets_one_prediction_serve_two_nuclei():
    # the prediction covers both squares: IoU 100 / 200 with each
    true, pred = squares((0, 0), (0, 10)), squares((0, 0), (0, 10))
    pred[pred > 0] = 1
    assert normalized_coverage_score(true, pred) == 0.5
    assert normalized_coverage_score(true, pred + 5 * squares((20, 0))) == 0.5  # no punishment


def test_mean_f1_of_a_found_a_missed_and_a_false_nucleus():
    # IoU 90/100 is at 0.1 ... 0.9: TP 1, FP 1, FN 1, F1 = 1/2; at 1.0 TP 0
    true, pred = squares((0, 0), (15, 0)), squares((0, 0), (15, 40))
    pred[0:10, 9] = 0
    assert mean_f1(true, pred) == pytest.approx(0.45)
    assert mean_f1(true, pred, [0.5]) == 0.5
    assert mean_f1(true, pred, [0.9], inclusive=False) == 0.0  # exactly 9/10


def test_a_nucleus_with_two_candidates_counts_once_in_mean_f1():
    # Halves of IoU 1/2 with one nucleus: at 0.1 ... 0.5 one match of three objects, F1 = 2/3
    true, pred = squares((0, 0)), squares((0, 0))
    pred[0:10, 5:10] = 2
    assert mean_f1(true, pred) == pytest.approx(5 / 10 * 2 / 3)


@settings(max_examples=100, deadline=None)
@given(maps=SMALL_MAPS)
def test_matches_at_tenths_take_no_short_cut(maps):
    table = contingency(*maps)
    expected = count_matches(table, TENTHS, inclusive=True)
    assert count(table).matched_tenths.tolist() == expected.tolist()


def test_pixel_overlap_ignores_which_nucleus():
    # 80 shared pixels of 120, cut into other nuclei
    true, pred = squares((0, 0)), squares((0, 2))
    pred[0:5, 2:12] = 7
    assert pixel_overlap(true, pred) == (pytest.approx(80 / 120), pytest.approx(160 / 200))


def test_panoptic_quality_is_its_two_factors():
    true, pred = squares((0, 0), (15, 0)), squares((0, 2), (15, 40))
    pq, sq, rq = panoptic_quality(true, pred)  # IoU 80 / 120; TP 1, FP 1, FN 1
    assert (sq, rq) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert pq == pytest.approx(sq * rq)
    assert rq == precision_recall(true, pred).f1


@pytest.mark.parametrize("seed", range(8))
def test_erasing_predictions_equals_counting_again(seed):
    true, pred = oracles.random_maps(seed)
    table = contingency(true, pred)
    keep = np.random.default_rng(seed).random(len(table.pred_ids)) < 0.5
    again = contingency(true, np.where(np.isin(pred, table.pred_ids[keep]), pred, 0))
    for ours, theirs in zip(table.keep_predictions(keep), again, strict=True):
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_dense_and_sorted_tables_are_identical(seed, monkeypatch):
    true, pred = oracles.random_maps(seed)
    dense = contingency(true, pred)
    monkeypatch.setattr(table_module, "DENSE_CELLS", 0)
    for a, b in zip(dense, contingency(true, pred), strict=True):
        assert (a.dtype, a.tolist()) == (b.dtype, b.tolist()) and a.dtype == np.int64


def test_table_of_a_hand_made_overlap():
    true = np.array([[3, 3, 0, 8, 8, 8]])
    pred = np.array([[5, 5, 5, 5, 2, 0]])
    table = contingency(true, pred)
    assert table.true_ids.tolist() == [3, 8] and table.true_areas.tolist() == [2, 3]
    assert table.pred_ids.tolist() == [2, 5] and table.pred_areas.tolist() == [1, 4]
    pairs = table.true_index, table.pred_index, table.intersection, table.union
    # 3 with 5: 2 of 4; 8 with 2: 1 of 3; 8 with 5: 1 of 6
    assert list(zip(*(p.tolist() for p in pairs), strict=True)) == [
        (0, 1, 2, 4),
        (1, 0, 1, 3),
        (1, 1, 1, 6),
    ]


def test_bad_maps_are_refused_with_what_was_given():
    ok = squares((0, 0))
    with pytest.raises(TypeError, match=r"integer label map.*but got float64"):
        contingency(ok.astype(float), ok)
    with pytest.raises(TypeError, match="but got bool"):
        contingency(ok, ok > 0)
    with pytest.raises(ValueError, match=r"one shape.*\(32, 64\) and pred \(2, 2\)"):
        contingency(ok, np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="labels >= 0 in `pred`, but got -1"):
        contingency(ok, ok - 1)
    with pytest.raises(ValueError, match="thresholds"):
        mean_average_precision(ok, ok, [1.5])
    with pytest.raises(ValueError, match="thresholds"):
        mean_average_precision(ok, ok, [])
    with pytest.raises(ValueError, match="greedy"):
        aggregated_jaccard_index(ok, ok, "optimal")
    with pytest.raises(ValueError, match="bool of shape"):
        contingency(ok, ok).keep_predictions(np.ones(3, bool))
