"""Times and memory of a run, through a real trainer on a net whose pace is known."""

import resource
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from support.processes import linux
from torch import nn
from torch.utils.data import DataLoader

from nucleist.training.speed import MB, Speed, peak_memory

STEP, IMAGE, VALIDATION = 0.03, 0.02, 0.2


class Slow(nn.Module):
    """Takes `STEP` seconds in training and `IMAGE` seconds an image in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
        time.sleep(STEP if self.training else IMAGE * len(images))
        return self.weight * len(images)


class Task(pl.LightningModule):
    """Scoring takes far longer than the net, in validation and in the test."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Slow()

    def training_step(self, batch, batch_idx):
        return self.net(batch)

    def validation_step(self, batch, batch_idx):
        self.net(batch)
        time.sleep(VALIDATION)

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def loader(images: int) -> DataLoader:
    return DataLoader([torch.zeros(1)] * images, batch_size=2, collate_fn=list)


@pytest.fixture
def trainer(tmp_path: Path) -> pl.Trainer:
    def make(speed: Speed, steps: int, **options) -> pl.Trainer:
        return pl.Trainer(
            accelerator="cpu", max_steps=steps, val_check_interval=1, num_sanity_val_steps=0,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, callbacks=[speed], **options,
        )  # fmt: skip

    return make


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_step_is_timed_without_validation(trainer) -> None:
    """Five steps of 30 ms with a validation of 200 ms after each."""
    speed = Speed()
    trainer(speed, 5).fit(Task(), loader(20), loader(2))
    found = speed.measured(torch.device("cpu"))
    assert len(speed.steps) == 5
    assert STEP <= found["seconds_per_step"] < VALIDATION
    assert "seconds_per_image" not in found


def test_gathered_gradients_are_one_step(trainer) -> None:
    """Three batches of 30 ms a step: at least 90 ms."""
    speed = Speed()
    trainer(speed, 2, accumulate_grad_batches=3, limit_val_batches=0).fit(Task(), loader(20))
    assert len(speed.steps) == 2
    assert all(seconds >= 3 * STEP for seconds in speed.steps)


def test_the_net_is_timed_without_scoring(trainer) -> None:
    """Batches of two images, 40 ms in the net and 200 ms of scoring; then no hook is left."""
    speed, task = Speed(), Task()
    trainer(speed, 1).test(task, loader(4), verbose=False)
    found = speed.measured(torch.device("cpu"))
    assert len(speed.images) == 4
    assert IMAGE <= found["seconds_per_image"] < VALIDATION / 2
    assert "seconds_per_step" not in found
    assert not task.net._forward_hooks and not task.net._forward_pre_hooks


@linux
def test_memory_is_the_peak_of_this_process() -> None:
    """A block of 200 MB more than was ever held counts, given back or not, and just once."""
    cpu = torch.device("cpu")
    before = peak_memory(cpu) or 0
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    block = torch.ones((before - held + 200 * MB) // 4)
    del block
    after = peak_memory(cpu) or 0
    assert 50 * MB < before < 5000 * MB
    assert before + 199 * MB <= after <= before + 210 * MB  # the system counts by some pages


def test_a_run_says_what_it_was_measured_on() -> None:
    found = Speed().measured(torch.device("cpu"))
    assert found["measured_by"] == "run"
    assert found["device"].endswith(f", {torch.get_num_threads()} threads")
    assert found["peak_memory_mb"] == pytest.approx(
        (peak_memory(torch.device("cpu")) or 0) / MB, rel=0.1
    )
