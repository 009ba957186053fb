"""Limits that cut what was found: counted, stored in the summary, warned of once."""

import json
from pathlib import Path

import pytest
import torch
from support.lines import Lines

from nucleist.inference.predict import warn_of_limits
from nucleist.models import Net
from nucleist.training.limits import limits_in, limits_reached

pytestmark = pytest.mark.slow


class Still(Net):
    """Does nothing."""

    def forward(self, images, targets=None):
        return []


def test_limits_without_an_image_are_left_out() -> None:
    net = Still()
    assert limits_reached(net) == {}
    net.limits_reached.update(b=2, a=0, c=1)
    assert limits_reached(net) == {"b": 2, "c": 1}
    net.limits_reached.clear()
    assert limits_reached(net) == {}
    assert not torch.distributed.is_initialized()


def test_a_run_has_those_of_the_last_and_of_the_best_weights(tmp_path: Path) -> None:
    assert limits_in(tmp_path) == {}
    summary = {
        "limits_reached": {"a": 3, "b": 1},
        "best_checkpoint": {"limits_reached": {"b": 4, "c": 2}},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert limits_in(tmp_path) == {"a": 3, "b": 4, "c": 2}
    (tmp_path / "summary.json").write_text(json.dumps({"best_checkpoint": None}))
    assert limits_in(tmp_path) == {}


def test_the_warning_is_one_line() -> None:
    lines = Lines()
    warn_of_limits({}, 3, lines)
    assert not lines.warnings
    reached = {"roi.detections_per_img=20": 2, "rpn.post_nms_top_n.testing=5": 1}
    warn_of_limits(reached, 3, lines)
    assert lines.warnings == [
        "nuclei were lost to a limit: roi.detections_per_img=20 in 2 of 3 images, "
        "rpn.post_nms_top_n.testing=5 in 1 of 3 images; raise it, for instance "
        "model.roi.detections_per_img=40 model.rpn.post_nms_top_n.testing=10"
    ]


def test_a_run_that_reached_a_limit_says_so(pa: Path) -> None:
    """The shared run may keep 20 detections an image, and finds more in both test images."""
    summary = json.loads((pa / "summary.json").read_text())
    assert summary["limits_reached"] == {"roi.detections_per_img=20": 2} == limits_in(pa)
