"""Losses that know that a negative may be a nucleus which nobody labelled."""

import math

import pytest
import torch

from nucleist.models.rcnn.label_frequency import label_frequency
from nucleist.types import UserError

CERTAIN = 30.0
"""Logit of a net that calls everything a nucleus."""


def target(labelled, found=()):
    boxes = torch.tensor([*labelled, *found], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([1] * len(labelled) + [-1] * len(found))
    return {"boxes": boxes, "labels": labels}


def test_frequency_by_hand():
    """3 labelled; of 4 found boxes one is on a labelled nucleus (IoU 0.8), one half on it (0.4)."""
    first = target(
        [(0, 0, 10, 10), (20, 0, 30, 10)], [(0, 0, 10, 8), (20, 0, 30, 4), (50, 50, 60, 60)]
    )
    second = target([(0, 0, 10, 10)], [(40, 40, 50, 50)])
    assert label_frequency([first, second], 0.2) == pytest.approx(4 / (4 + 0.2 * 3))
    assert label_frequency([first], 0.5) == pytest.approx(3 / (3 + 0.5 * 2))
    assert label_frequency([first], 0.5, left_out=False) == pytest.approx(3 / (3 + 1.5 * 2))


def test_frequency_is_one_where_nothing_unlabelled_is_found():
    boxes = [(0, 0, 10, 10), (20, 0, 30, 10)]
    for case in (target(boxes), target(boxes, boxes), target([])):
        assert label_frequency([case], 0.2) == 1.0
    assert label_frequency([target(boxes, [(50, 50, 60, 60)])], 0.0) == 1.0


def test_frequency_without_a_labelled_nucleus_still_teaches_the_background():
    found = [(20 * i, 0, 20 * i + 10, 10) for i in range(10)]
    assert label_frequency([target([], found)], 0.2) == pytest.approx(1 / 3)


@pytest.fixture
def at_frequency(make_net, monkeypatch):
    """A net in training whose batches all have the same frequency."""

    def make(frequency):
        for module in ("partial_rpn", "partial_roi"):
            name = f"nucleist.models.rcnn.{module}.label_frequency"
            monkeypatch.setattr(name, lambda *_: frequency)
        return make_net(pa=True, missed_ratio=0.2).train()

    return make


def test_classifier_loss_of_a_net_that_calls_everything_a_nucleus(at_frequency, make_batch):
    net = at_frequency(0.4)
    score = net.roi_heads.box_predictor.cls_score
    torch.nn.init.zeros_(score.weight)
    score.bias.data = torch.tensor([-CERTAIN / 2, CERTAIN / 2])
    sampled = []
    subsample = net.roi_heads.subsample

    def noted(labels):
        picked = subsample(labels)
        sampled.extend(label[p] for label, p in zip(labels, picked, strict=True))
        return picked

    net.roi_heads.subsample = noted
    found = net(*make_batch((64, 64), (64, 96)))["loss_classifier"].item()
    labels = torch.cat(sampled)
    positive, negative = int((labels == 1).sum()), int((labels == 0).sum())
    assert positive and negative
    total = -positive * math.log(0.4) - negative * math.log(0.6)
    assert found == pytest.approx(total / len(labels), rel=1e-5)


def test_objectness_loss_is_bounded_where_nobody_labelled(at_frequency, make_batch):
    net = at_frequency(0.4)
    torch.nn.init.zeros_(net.rpn.head.cls_logits.weight)
    torch.nn.init.constant_(net.rpn.head.cls_logits.bias, CERTAIN)
    loss = net(*make_batch((64, 64)))["loss_objectness"].item()
    low, high = -math.log(0.6), -math.log(0.4)
    assert low < loss < high  # of negatives and of positives; without it CERTAIN a negative


def test_a_frequency_of_one_is_the_loss_without_it(at_frequency, make_batch):
    batch = make_batch((64, 64))
    losses = []
    for frequency in (1.0, 1 - 1e-7):
        torch.manual_seed(0)
        net = at_frequency(frequency)
        torch.manual_seed(0)
        losses.append(net(*batch))
    for name, loss in losses[0].items():
        assert loss.item() == pytest.approx(losses[1][name].item(), rel=1e-4), name


def test_a_step_counts_what_its_centre_head_found(make_net, make_batch):
    """With no boxes found the frequency is 1, and is logged; with many it is not."""
    for threshold, is_one in ((1.0, True), (0.4, False)):
        net = make_net(pa=True, missed_ratio=0.2, center={"threshold": threshold}).train()
        net(*make_batch((64, 64), (64, 96)))
        counted = net.step_counts()["label_frequency"].item()
        assert counted == pytest.approx(net.roi_heads.label_frequency)
        assert counted == pytest.approx(net.rpn.label_frequency)
        assert (counted == 1.0) is is_one
        assert (net.step_counts()["found_boxes"].item() == 0) is is_one


@pytest.mark.parametrize("ratio", [-0.1, float("inf"), float("nan")])
def test_other_ratios_are_refused(make_net, ratio):
    with pytest.raises(UserError, match=r"model\.missed_ratio"):
        make_net(pa=True, missed_ratio=ratio)
