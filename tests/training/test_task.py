"""Parameter groups of the task, and that it refuses to train without an optimiser."""

import pytest
import torch

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.models import Net
from nucleist.training.task import ScoresAt, SegmentationTask, TestScores
from nucleist.types import UserError

pytestmark = pytest.mark.slow


class Linear(Net):
    """A weight and a bias."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, images, targets=None):
        return []


def test_the_paper_s_biases_have_twice_the_rate_and_no_decay() -> None:
    net = Linear()
    sgd = build(compose("train", ["optim=sgd"]).optim.optimizer)
    task = SegmentationTask(net, sgd, None, bias_lr_factor=2.0)
    weights, biases = task.configure_optimizers().param_groups
    assert (weights["lr"], weights["weight_decay"]) == (0.01, 1e-4)
    assert (biases["lr"], biases["weight_decay"]) == (0.02, 0.0)
    assert biases["params"] == [net.layer.bias]


def test_a_task_for_evaluation_does_not_train() -> None:
    with pytest.raises(UserError, match="give it an optimizer"):
        SegmentationTask(Linear()).configure_optimizers()


def test_the_best_point_of_a_curve_has_the_highest_map() -> None:
    points = tuple(ScoresAt(t, {"map_pooled": v}) for t, v in ((0.1, 0.2), (0.5, 0.4), (0.9, 0.3)))
    assert TestScores(points[0], points[0], points, []).best is points[1]


class Two(Linear):
    """The same with batch normalisation."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def test_what_is_frozen_is_not_trained_and_keeps_its_statistics() -> None:
    net = Two()
    task = SegmentationTask(net, torch.optim.SGD, frozen=["body"])
    groups = task.configure_optimizers().param_groups
    assert [p for g in groups for p in g["params"]] == [net.layer.weight, net.layer.bias]
    task.eval()
    task.train()
    assert net.layer.training and not net.body[1].training


def test_what_is_frozen_has_to_be_there() -> None:
    with pytest.raises(UserError, match=r"frozen=bdy: .* it has layer, body, body\.0, body\.1"):
        SegmentationTask(Two(), frozen=["bdy"])
