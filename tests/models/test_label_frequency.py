"""Losses that know that a negative may be a nucleus which nobody labelled."""

import math

import pytest
import torch

from karyon.types import UserError

CERTAIN = 30.0
"""Logit of a net that calls everything a nucleus."""


def test_classifier_loss_of_a_net_that_calls_everything_a_nucleus(make_net, make_batch):
    net = make_net(pa=True, label_frequency=0.4).train()
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


def test_objectness_loss_is_bounded_where_nobody_labelled(make_net, make_batch):
    net = make_net(pa=True, label_frequency=0.4).train()
    torch.nn.init.zeros_(net.rpn.head.cls_logits.weight)
    torch.nn.init.constant_(net.rpn.head.cls_logits.bias, CERTAIN)
    loss = net(*make_batch((64, 64)))["loss_objectness"].item()
    low, high = -math.log(0.6), -math.log(0.4)
    assert low < loss < high  # of negatives and of positives; without it CERTAIN a negative


def test_a_frequency_of_one_is_the_loss_without_it(make_net, make_batch):
    batch = make_batch((64, 64))
    losses = []
    for frequency in (1.0, 1 - 1e-7):
        net = make_net(pa=True, label_frequency=frequency).train()
        torch.manual_seed(0)
        losses.append(net(*batch))
    for name, loss in losses[0].items():
        assert loss.item() == pytest.approx(losses[1][name].item(), rel=1e-4), name


@pytest.mark.parametrize("frequency", [0.0, -0.1, 1.5, float("nan")])
def test_other_frequencies_are_refused(make_net, frequency):
    with pytest.raises(UserError, match=r"model\.label_frequency"):
        make_net(pa=True, label_frequency=frequency)
