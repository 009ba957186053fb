"""Which checkpoint a run recommends: a gain that may be chance is none."""

import math

import numpy as np
import pytest
import torch
from support.scored import prediction

from nucleist.metrics import LabelledScores
from nucleist.training.choice import as_json, choose, standard_errors


def at_nuclei(recall, detections, nuclei, **more):
    """Scores of a validation at so many labelled nuclei, as if of one IoU threshold."""
    return {
        "labelled_recall_pooled": recall,
        "labelled_score": recall**2 * nuclei / detections if detections else 0.0,
        "labelled_nuclei": nuclei,
        **more,
    }


LAST = at_nuclei(0.6, 500, nuclei=200)


@pytest.mark.parametrize(
    ("best", "checkpoint"),
    [
        (at_nuclei(0.6, 1000, 200), "last"),  # as many nuclei found among twice the detections
        (at_nuclei(0.7, 1000, 200), "last"),  # more found, but because more is outlined
        (at_nuclei(0.8, 500, 200), "best"),
        (at_nuclei(0.6, 250, 200), "best"),  # as many found, without half of the others
        (at_nuclei(0.6, 500, 200), "last"),
        (at_nuclei(0.61, 500, 200), "last"),
        (at_nuclei(0.4, 500, 200), "last"),
        (at_nuclei(0.0, 0, 200), "last"),
    ],
)
def test_more_nuclei_count_and_more_outlines_do_not(best, checkpoint):
    assert choose(best, LAST).checkpoint == checkpoint


def test_one_nucleus_of_a_few_is_chance_and_the_same_share_of_many_is_not():
    for nuclei, checkpoint in ((5, "last"), (500, "best")):
        best, last = (at_nuclei(share, 4 * nuclei, nuclei) for share in (0.8, 0.6))
        assert choose(best, last).checkpoint == checkpoint


def test_a_gain_by_chance_is_rarely_recommended():
    """Of two checkpoints with the same recall: 2000 validations at 20 nuclei each.

    The normal distribution is above one standard error with a probability of 0.16.
    """
    rng = np.random.default_rng(0)
    found = rng.binomial(20, 0.6, (2000, 2)) / 20
    chosen = [choose(*(at_nuclei(r, 80, 20) for r in pair)).checkpoint for pair in found]
    assert 0.10 < chosen.count("best") / 2000 < 0.22


def test_the_standard_error_is_that_of_many_validations():
    """Of log R^2 at 100 nuclei: the variance of both sides is 4 (1 - R) / (n R) each."""
    rng = np.random.default_rng(1)
    found = rng.binomial(100, [0.7, 0.7], (4000, 2)) / 100
    logs = 2 * np.log(found[:, 0] / found[:, 1])
    one, other = at_nuclei(0.75, 400, 100), at_nuclei(0.7, 400, 100)
    expected = 2 * math.log(0.75 / 0.7) / logs.std()
    assert standard_errors(one, other) == pytest.approx(expected, rel=0.1)
    assert standard_errors(other, one) == pytest.approx(-standard_errors(one, other))


def test_a_nucleus_found_at_some_thresholds_varies_less_than_the_bound():
    """Each of 30 nuclei is found up to an IoU of its own, which differs less than all or none."""
    rng = np.random.default_rng(2)
    shares = rng.integers(3, 9, (4000, 2, 30)) / 10
    bars = np.arange(10)[:, None, None, None] / 10
    recalls = (shares > bars).mean(-1)  # (thresholds, runs, checkpoints)
    logs = np.log((recalls**2).mean(0))
    one, other = at_nuclei(0.56, 60, 30), at_nuclei(0.55, 60, 30)
    bound = math.log(0.56**2 / 0.55**2) / standard_errors(one, other)
    assert (logs[:, 0] - logs[:, 1]).std() < bound


def test_a_run_with_16_nuclei_whose_best_was_not_better():
    """As measured: mAP of all nuclei was 0.615 and 0.612; found at half overlap 15 and 14."""
    seen = ((0.59375, 0.9375, 0.024066), (0.53125, 0.875, 0.019033))
    best, last = (
        {
            "labelled_recall_pooled": recall,
            "labelled_recall_50_pooled": half,
            "labelled_score": score,
            "labelled_nuclei": 16,
        }
        for recall, half, score in seen
    )
    assert choose(best, last).checkpoint == "last"


def test_none_found_or_none_labelled():
    nothing = at_nuclei(0.0, 50, 40)
    assert standard_errors(nothing, LAST) == -math.inf
    assert standard_errors(LAST, nothing) == math.inf
    unknown = at_nuclei(math.nan, 50, 1)
    assert choose(unknown, unknown).checkpoint == "last"
    every = at_nuclei(1.0, 50, 40)  # no standard error of 0
    assert choose(at_nuclei(1.0, 49, 40), every).checkpoint == "last"
    assert choose(every, at_nuclei(0.5, 50, 40)).checkpoint == "best"


def test_where_an_area_is_complete_its_map_must_not_fall():
    better = {"recall": 0.9, "detections": 500, "nuclei": 200}
    last = LAST | {"map_pooled": 0.4}
    assert choose(at_nuclei(**better, map_pooled=0.39), last).checkpoint == "last"
    assert choose(at_nuclei(**better, map_pooled=0.4), last).checkpoint == "best"
    assert choose(at_nuclei(0.6, 500, 200, map_pooled=0.9), last).checkpoint == "last"


def test_where_all_is_complete_the_higher_map():
    for best, checkpoint in ((0.41, "best"), (0.4, "last"), (0.39, "last")):
        chosen = choose({"map_pooled": best}, {"map_pooled": 0.4})
        assert chosen.checkpoint == checkpoint and "mAP" in chosen.why
        assert as_json(chosen) == {"checkpoint": checkpoint, "why": chosen.why}


def test_without_another_validation_the_last():
    assert choose(None, LAST).checkpoint == choose(None, {}).checkpoint == "last"


def test_the_names_are_those_of_the_scores():
    """Two of three squares are found, and one detection more."""
    true, pred = np.zeros((2, 12, 30), np.int32)
    for number, column in enumerate((1, 11, 21), 1):
        true[2:9, column : column + 7] = number
    pred[2:9, 1:8], pred[2:9, 11:18], pred[10:, 20:] = 1, 2, 3
    metric = LabelledScores()
    nowhere = torch.zeros((12, 30), dtype=torch.bool)
    metric.update([prediction(pred, [0.9] * 3)], [torch.from_numpy(true)], [nowhere])
    scores = {name: value.item() for name, value in metric.compute().items()}
    expected = at_nuclei(2 / 3, 3, 3)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
