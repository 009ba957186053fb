"""Calibration with a net whose detections and scores are known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.sources import InMemory, grid, make_data
from torch import nn

from nucleist.models import Capabilities, Net
from nucleist.training.calibration import calibrate, found_scores, labelled_scores
from nucleist.training.summary import calibrate_on_kept
from nucleist.training.task import SegmentationTask


def squares(*corners, side=4, size=(32, 32)):
    """Squares at `(row, column)`, numbered from 1."""
    label_map = torch.zeros(size, dtype=torch.int32)
    for i, (row, col) in enumerate(corners):
        label_map[row : row + side, col : col + side] = i + 1
    return label_map


def prediction(label_map, *scores):
    count = int(label_map.max())
    return {
        "boxes": torch.zeros(count, 4),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "label_map": label_map,
    }


class Fixed(Net):
    """Returns the predictions it was given, one a call."""

    def __init__(self, *predictions):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))  # where its device is
        self.predictions = list(predictions)

    def forward(self, images, targets=None):
        assert not torch.is_grad_enabled() and len(images) == 1
        return [self.predictions.pop(0)]


IMAGE = torch.zeros(3, 32, 32)


def test_the_score_of_a_labelled_nucleus_is_that_of_the_detection_on_it():
    # Detection 1 is on the first nucleus; 2 is 2 px off the second: IoU 8 / 24 = 1/3, not on
    # it; 3 is 1 px off the third: IoU 12 / 20 = 0.6; 4 is on a nucleus nobody labelled.
    kept = squares((0, 0), (10, 10), (20, 20))
    found = prediction(squares((0, 0), (10, 12), (20, 21), (0, 20)), 0.9, 0.8, 0.6, 0.5)
    np.testing.assert_allclose(labelled_scores(found, kept), [0.9, 0.0, 0.6])


def test_exactly_half_is_not_on_it():
    # 3 x 4 and 4 x 4 px with 3 x 4 shared would be 0.75; two thirds shared: 8 / 16 = 1/2
    kept = torch.zeros(32, 32, dtype=torch.int32)
    kept[0:4, 0:4] = 1
    half = torch.zeros(32, 32, dtype=torch.int32)
    half[0:4, 0:2] = 1
    assert labelled_scores(prediction(half, 0.9), kept).tolist() == [0.0]
    half[0, 2] = 1  # 9 / 16
    assert labelled_scores(prediction(half, 0.9), kept).tolist() == [pytest.approx(0.9)]


def test_ids_of_the_labelled_nuclei_may_have_gaps():
    kept = squares((0, 0), (10, 10)) * 70_000
    found = prediction(squares((10, 10)), 0.7)
    np.testing.assert_allclose(labelled_scores(found, kept), [0.0, 0.7])


def test_the_threshold_is_half_the_mean_over_all_labelled_nuclei():
    first, second = squares((0, 0)), squares((0, 0), (10, 10), (20, 20))
    net = Fixed(prediction(first, 0.4), prediction(second, 0.9, 0.8, 0.1))
    # (0.4 + 0.9 + 0.8 + 0.1) / 4 / 2, each nucleus counting alike, not each image
    threshold = calibrate(net, [(IMAGE, first), (IMAGE, second)])
    assert threshold == pytest.approx(2.2 / 8)


def test_a_missed_nucleus_counts_as_0():
    net = Fixed(prediction(squares((0, 0)), 0.8))
    assert calibrate(net, [(IMAGE, squares((0, 0), (10, 10)))]) == pytest.approx(0.2)


@pytest.mark.parametrize("found", [squares((0, 0)), torch.zeros(32, 32, dtype=torch.int32)])
@pytest.mark.parametrize("kept", [squares((20, 20)), torch.zeros(32, 32, dtype=torch.int32)])
def test_with_nothing_labelled_or_found_it_stays_at_one_half(kept, found):
    net = Fixed(prediction(found, *[0.9] * int(found.max())))
    assert calibrate(net, [(IMAGE, kept)]) == 0.5


def test_no_image_at_all():
    assert calibrate(Fixed(), []) == 0.5


def at(*corners, side=4):
    """Boxes of squares at `(row, column)`."""
    rows = [[col, row, col + side, row + side] for row, col in corners]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_the_score_of_a_found_nucleus_is_the_best_of_the_detections_on_it():
    kept = squares((0, 0)) * 70_000
    found = at((0, 1), (10, 10), (20, 20), (0, 20))
    # The first found box has IoU 12 / 20 with the labelled nucleus: not a further one. On the
    # second are two detections; on the third one of IoU 8 / 24; on the fourth none.
    detections = {
        **prediction(torch.zeros(32, 32, dtype=torch.int32)),
        "boxes": at((0, 0), (10, 10), (10, 11), (20, 22)),
        "scores": torch.tensor([0.9, 0.3, 0.6, 0.8]),
    }
    assert found_scores(detections, kept, found).tolist() == [pytest.approx(0.6), 0.0, 0.0]
    nothing = squares() * 0
    assert len(found_scores(detections, nothing, found)) == 4
    assert found_scores(detections, kept, at()).shape == (0,)
    assert found_scores(prediction(nothing), kept, found).tolist() == [0.0, 0.0, 0.0]


class Finding(Fixed):
    """Also finds boxes, the same in every image."""

    can = Capabilities(centers=True)

    def found_boxes(self, image):
        return at((10, 10), (20, 20))


def test_found_nuclei_count_as_much_as_labelled_ones():
    # labelled: 0.9; found: one detected with 0.3, the other missed
    found = {**prediction(squares((0, 0), (10, 10)), 0.9, 0.3), "boxes": at((0, 0), (10, 10))}
    assert calibrate(Finding(found), [(IMAGE, squares((0, 0)))]) == pytest.approx(1.2 / 3 / 2)


def test_with_held_out_nuclei_found_ones_are_not_needed():
    """They are as nuclei that nobody labelled, but known: 0.5 and one that is missed."""
    kept = squares((0, 0), (20, 20))
    found = {**prediction(squares((0, 0), (10, 10)), 0.5, 0.3), "boxes": at((0, 0), (10, 10))}
    assert calibrate(Finding(found), [(IMAGE, kept)], held_out=True) == pytest.approx(0.5 / 2 / 2)
    # Without: labelled 0.5 and 0, found 0.3; the other found one is labelled.
    assert calibrate(Finding(found), [(IMAGE, kept)]) == pytest.approx(0.8 / 3 / 2)


def test_a_training_is_calibrated_on_what_it_did_not_see():
    """Detections of score 0.8 on seen nuclei and of 0.4 on held-out ones."""
    source = InMemory([grid(*range(1, 9), shape=(32, 64)), grid(3, shape=(32, 64))])
    data = make_data(source, held_out=0.4)
    hidden = data.train_set.held_out["train-0"]
    assert len(hidden) == 4 and data.train_set.validated == ["train-0"]  # 0.4 of 9
    labels = torch.from_numpy(source.records["train-0"].labels)
    found = prediction(labels, *[0.4 if i in hidden else 0.8 for i in range(1, 9)])
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda value: value))
    task = SegmentationTask(Fixed(found))
    calibrate_on_kept(task, data, trainer)
    assert task.calibrated_threshold == pytest.approx(0.2)
    # Where images validate, on the labels that it saw.
    other = make_data(InMemory([source.records["train-0"].labels], [grid(1)]))
    task = SegmentationTask(Fixed(found))
    calibrate_on_kept(task, other, trainer)
    assert task.calibrated_threshold == pytest.approx(0.6 / 2)


def test_a_real_net_can_be_calibrated(make_net, make_batch):
    images, targets = make_batch((64, 64), (48, 80))
    pairs = [(image, t["label_map"]) for image, t in zip(images, targets, strict=True)]
    for pa in (False, True):
        assert 0 < calibrate(make_net(pa=pa).eval(), pairs) <= 0.5


def test_scores_of_a_net_that_models_missing_labels_are_taken_as_they_are(make_net):
    kept = squares((0, 0))
    net = Fixed(prediction(kept, 0.6))
    assert calibrate(net, [(IMAGE, kept)]) == pytest.approx(0.3)
    net.can = Capabilities(models_missing_labels=True)
    assert calibrate(net, [(IMAGE, kept)]) == 0.5
    assert make_net(pa=True, missed_ratio=0.2).can.models_missing_labels
    assert not make_net(pa=True, missed_ratio=0.0).can.models_missing_labels
