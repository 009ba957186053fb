import numpy as np
import pytest
from support.drawn import disc

from nucleist.ops.votes import vote


def one(mask, score):
    """A map with one nucleus, its score and its box."""
    rows, cols = np.nonzero(mask)
    box = [[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]]
    return mask.astype(np.int32), np.array([score]), np.array(box, float)


def test_pixels_are_those_of_more_than_half_and_the_score_is_the_mean_of_all():
    big, small = disc((20, 20), (10, 10), 7), disc((20, 20), (10, 10), 5)
    empty = np.zeros((20, 20), np.int32), np.zeros(0), np.zeros((0, 4))
    maps, scores, boxes = zip(one(big, 0.9), one(big, 0.6), one(small, 0.7), empty, strict=True)
    votes = vote(maps, scores, boxes)
    assert (votes.labels == big).all()
    assert votes.scores[0] == pytest.approx((0.9 + 0.6 + 0.7) / 4)
    assert votes.votes.tolist() == [3]
    iou = small.sum() / big.sum()
    assert votes.agreement[0] == pytest.approx((1 + 1 + iou) / 3)
    assert votes.boxes[0] == pytest.approx((2 * boxes[0][0] + boxes[2][0]) / 3)


def test_nuclei_that_overlap_little_stay_two_and_the_surer_is_on_top():
    left, right = disc((20, 30), (10, 10), 7), disc((20, 30), (10, 20), 7)
    votes = vote(*zip(one(left, 0.4), one(right, 0.8), strict=True))
    assert votes.scores.tolist() == pytest.approx([0.4, 0.2])
    assert (votes.labels == 1).sum() == right.sum()
    assert (votes.labels == 2).sum() == (left & ~right.astype(bool)).sum()


def test_two_of_one_map_are_never_merged():
    labels = disc((20, 30), (10, 8), 5) + 2 * disc((20, 30), (10, 20), 5)
    boxes = np.array([[3, 5, 13, 15], [15, 5, 25, 15]], float)
    votes = vote([labels] * 3, [np.array([0.5, 0.9])] * 3, [boxes] * 3)
    assert votes.votes.tolist() == [3, 3]
    assert votes.scores.tolist() == pytest.approx([0.9, 0.5])
    assert (votes.labels == np.array([0, 2, 1])[labels]).all()
    assert votes.agreement.tolist() == [1, 1]


def test_detections_without_a_pixel_and_maps_without_a_nucleus_do_not_count():
    empty = np.zeros((5, 5), np.int32)
    votes = vote([empty] * 2, [np.array([0.9]), np.zeros(0)], [np.zeros((1, 4)), np.zeros((0, 4))])
    assert len(votes.scores) == 0 and not votes.labels.any()
    assert votes.boxes.shape == (0, 4)
