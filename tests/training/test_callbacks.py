"""The warm-up phase through a real trainer."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from nucleist.config.compose import build, compose
from nucleist.training.callbacks import WarmupPhase
from nucleist.training.task import SegmentationTask, cosine, ramp
from nucleist.training.train import build_data, build_task, quiet
from nucleist.types import UserError

HEAD = "roi_heads.box_head.fc6.weight"
CENTER = "rpn.center_head.logits.weight"
TRUNK = "rpn.head.conv.0.0.weight"


def trained(tmp_path: Path, steps: int, warmup: WarmupPhase) -> tuple[dict, dict]:
    """Weights before and after, on drawn nuclei."""
    quiet()
    small = ["data.source.n_train=2", "data.source.n_test=1", "data.source.size=[64,64]"]
    small += ["data.source.count=[3,4]", "data.batch_size=1", "augment.crop=48", f"steps={steps}"]
    config = compose("train", [*small, "name=warmup"])
    data = build_data(config)
    pl.seed_everything(0, verbose=False)
    task = build_task(config, build(config.model))
    before = {key: value.clone() for key, value in task.net.state_dict().items()}
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=steps, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[warmup], default_root_dir=tmp_path, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    return before, task.net.state_dict()


@pytest.mark.filterwarnings("ignore")
def test_skip_leaves_the_other_parts_exactly_alone(tmp_path: Path) -> None:
    before, after = trained(tmp_path, 2, WarmupPhase(2, mode="skip"))
    assert torch.equal(before[HEAD], after[HEAD])
    assert not torch.equal(before[CENTER], after[CENTER])
    assert not torch.equal(before[TRUNK], after[TRUNK])


@pytest.mark.filterwarnings("ignore")
def test_zero_gives_no_gradient_but_weight_decay_acts(tmp_path: Path) -> None:
    before, after = trained(tmp_path, 1, WarmupPhase(2, mode="zero"))
    # AdamW, first step: lr 0.001 / 30 times decay 0.02; the gradient is 0
    expected = before[HEAD] * (1 - 0.001 / 30 * 0.02)
    torch.testing.assert_close(after[HEAD], expected, rtol=1e-6, atol=1e-9)
    assert not torch.equal(before[CENTER], after[CENTER])


@pytest.mark.filterwarnings("ignore")
def test_after_the_phase_every_loss_acts(tmp_path: Path) -> None:
    before, after = trained(tmp_path, 2, WarmupPhase(1, mode="skip"))
    assert not torch.equal(before[HEAD], after[HEAD])


def test_an_unknown_mode_is_told() -> None:
    with pytest.raises(UserError, match="zero or skip"):
        WarmupPhase(1, mode="freeze")


def test_schedules_at_their_corners() -> None:
    assert ramp(0, 1000) == pytest.approx(1 / 3)
    assert ramp(250, 1000) == pytest.approx(2 / 3)
    assert ramp(500, 1000) == ramp(999, 1000) == 1
    assert cosine(0, 100, warmup=10) == pytest.approx(0.1)
    assert cosine(10, 100, warmup=10) == 1
    assert cosine(55, 100, warmup=10) == pytest.approx(0.5)
    assert cosine(100, 100, warmup=10) == pytest.approx(0)


def test_paper_groups_biases_twice_the_rate_without_decay() -> None:
    net = torch.nn.Linear(2, 2)
    sgd = build(compose("train", ["optim=sgd"]).optim.optimizer)
    task = SegmentationTask(net, sgd, None, bias_lr_factor=2.0)
    weights, biases = task.configure_optimizers().param_groups
    assert (weights["lr"], weights["weight_decay"]) == (0.01, 1e-4)
    assert (biases["lr"], biases["weight_decay"]) == (0.02, 0.0)
    assert biases["params"] == [net.bias]
