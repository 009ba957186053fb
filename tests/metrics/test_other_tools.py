"""Cellpose and StarDist, where their definitions agree with ours: `pip install nucleist[oracles]`.

Both match at IoU >= t in floating point, so they are asked here at t minus or plus a hair, which
separates exact ties cleanly: below t is our `inclusive=True`, above t is our strict default.
"""

import warnings

import numpy as np
import pytest
from support import oracles

from nucleist.metrics.functional import (
    IOU_THRESHOLDS,
    aggregated_jaccard_index,
    mean_average_precision,
    panoptic_quality,
    precision_recall,
)

STEPS = np.array([float(t) for t in IOU_THRESHOLDS])
HAIR = 1e-6  # IoUs of maps this small differ from a multiple of 1/20 by 1e-5 at least, or not


def maps(seed):
    """Random label maps with the labels 1, 2, ... that these tools expect."""
    return tuple(
        np.unique(np.append(m, 0), return_inverse=True)[1][:-1].reshape(m.shape)
        for m in oracles.random_maps(seed, size=40, nuclei=12)
    )


PAIRS = [maps(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def cellpose():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their imports
        return pytest.importorskip("cellpose.metrics", reason="needs nucleist[oracles]")


@pytest.fixture(scope="module")
def stardist():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("stardist.matching", reason="needs nucleist[oracles]")


@pytest.mark.parametrize("inclusive", [False, True])
def test_map_equals_cellpose(cellpose, inclusive):
    for true, pred in PAIRS:
        theirs, *_ = cellpose.average_precision(true, pred, STEPS + (-HAIR if inclusive else HAIR))
        ours = mean_average_precision(true, pred, inclusive=inclusive)
        assert ours == pytest.approx(theirs.mean(), abs=1e-6)  # theirs is float32


@pytest.mark.parametrize("inclusive", [False, True])
def test_map_precision_and_recall_equal_stardist(stardist, inclusive):
    for true, pred in PAIRS:
        steps = STEPS + (-HAIR if inclusive else HAIR)
        theirs = [stardist.matching(true, pred, thresh=t) for t in steps]
        ours = mean_average_precision(true, pred, inclusive=inclusive)
        assert ours == pytest.approx(np.mean([m.accuracy for m in theirs]))
        half = theirs[0].precision, theirs[0].recall, theirs[0].f1
        assert precision_recall(true, pred, inclusive=inclusive) == pytest.approx(half)


def test_panoptic_quality_equals_stardist(stardist):
    for true, pred in PAIRS:
        theirs = stardist.matching(true, pred, thresh=0.5 + HAIR)
        ours = panoptic_quality(true, pred).pq
        assert ours == pytest.approx(theirs.panoptic_quality, abs=1e-6)


def test_aji_equals_cellpose_where_each_prediction_touches_one_nucleus(cellpose):
    # three squares, shifted by 0, 1 and 2 columns: every overlap is a matched one, so the union
    # of the foregrounds, their denominator, is the sum of the pairs' unions, ours
    true, pred = np.zeros((2, 60, 20), int)
    for i in range(3):
        true[20 * i : 20 * i + 10, 0:10] = i + 1
        pred[20 * i : 20 * i + 10, i : 10 + i] = i + 1
    (theirs,) = cellpose.aggregated_jaccard_index([true], [pred])
    # (100 + 90 + 80) / (100 + 110 + 120)
    assert aggregated_jaccard_index(true, pred) == pytest.approx(270 / 330)
    assert theirs == pytest.approx(270 / 330)


def test_aji_of_cellpose_is_higher_where_a_nucleus_was_split(cellpose):
    # one nucleus of 100 pixels predicted as 60 + 40: the 60 are matched, the 40 left over. The
    # published denominator adds them, 100 + 40; the union of the foregrounds stays 100.
    true, pred = np.zeros((2, 10, 12), int)
    true[:, :10] = 1
    pred[:, :6], pred[:, 6:10] = 1, 2
    (theirs,) = cellpose.aggregated_jaccard_index([true], [pred])
    assert aggregated_jaccard_index(true, pred) == pytest.approx(60 / 140)
    assert theirs == pytest.approx(60 / 100)
