"""The end of a run: its own facts, calibration, and the best weights beside the last."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.lines import Lines
from support.runs import PA, train

import nucleist
from nucleist.models import Net
from nucleist.training.summary import facts

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


class Plain(Net):
    """Without facts of its own."""

    def forward(self, images, targets=None):
        return []


def test_the_summary_has_the_net_s_own_facts(canonical: Path) -> None:
    summary = json.loads((canonical / "summary.json").read_text())
    net: Any = nucleist.load(canonical, device="cpu").net
    assert summary["angular_deviation"] == pytest.approx(net.angular_deviation(), abs=2e-6)
    assert summary["outline_radius"] == pytest.approx(net.outline_radius(), abs=2e-6)
    assert facts(Plain()) == {}
    net.shape.last.weight.data.zero_()  # the same everywhere: no outline
    assert facts(net) == {"outline_radius": None, "angular_deviation": None}


def test_binary_supervision_leaves_the_threshold_uncalibrated(canonical: Path) -> None:
    """Comparing with the training's single nuclei would give 0.5 at most."""
    summary = json.loads((canonical / "summary.json").read_text())
    assert summary["test_calibrated"] == summary["test"]
    assert summary["test"]["score_threshold"] == 0.6
    assert nucleist.load(canonical, device="cpu").threshold == 0.6


def test_the_best_weights_are_tested_where_they_were_chosen_on_other_images(
    pa: Path, tmp_path: Path
) -> None:
    """After one step mAP is as good as after two, so the first validation is the best."""
    assert "best_checkpoint" not in json.loads((pa / "summary.json").read_text())
    other = train(tmp_path / "other", *PA, "data.splits.val=train")
    summary = json.loads((other / "summary.json").read_text())
    best = summary.pop("best_checkpoint")
    assert best["step"] == 1 and summary["steps"] == 2
    for part in ("test", "test_calibrated", "test_best_threshold", "validation"):
        assert set(best[part]) == set(summary[part])
    assert best["validation"]["map"] == summary["validation"]["map"]
    why = "mAP of best in validation is not higher"
    assert summary["recommended"] == {"checkpoint": "last", "why": why}
    assert nucleist.load(other, device="cpu").path == other / "checkpoints" / "last.ckpt"

    # The best is calibrated on its own, and scores what the summary has.
    model = nucleist.load(other / "checkpoints" / "best.ckpt", device="cpu")
    assert model.threshold == best["test_calibrated"]["score_threshold"]
    found = nucleist.evaluate(model, progress=Lines(), overrides=["trainer=cpu"])
    assert {part: found.summary[part] for part in ("test", "test_calibrated")} == {
        part: best[part] for part in ("test", "test_calibrated")
    }
    # The last weights are back in the end: everything else is theirs.
    first = json.loads((pa / "summary.json").read_text())
    assert "validation" not in first and first["recommended"]["checkpoint"] == "last"
    assert all(summary[part] == first[part] for part in ("test", "test_calibrated"))
    stored = [torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (other, pa)]
    assert all(
        torch.equal(v, stored[1]["state_dict"][k]) for k, v in stored[0]["state_dict"].items()
    )


@pytest.mark.parametrize(
    ("words", "steps"),
    [(["test_best=true"], 1), (["data.splits.val=train", "test_best=false"], None)],
    ids=["asked for", "declined"],
)
def test_the_best_weights_are_tested_as_asked(words, steps, tmp_path: Path) -> None:
    summary = json.loads((train(tmp_path, *PA, *words) / "summary.json").read_text())
    assert summary.get("best_checkpoint", {}).get("step") == steps
