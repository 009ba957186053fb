"""The warm-up phase and the lines of progress through a real trainer."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from support.lines import Lines

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.progress import Console
from nucleist.training.callbacks import (
    PreviewImages,
    ReportedProgress,
    WarmupPhase,
    progress_bar,
    without_bars,
)
from nucleist.training.isolation import isolated
from nucleist.training.train import build_data, build_task
from nucleist.types import Progress, UserError

pytestmark = pytest.mark.slow

HEAD = "roi_heads.box_head.fc6.weight"
CENTER = "rpn.center_head.logits.weight"
TRUNK = "rpn.head.conv.0.0.weight"


def trained(tmp_path: Path, steps: int, *callbacks: pl.Callback, **options) -> tuple[dict, dict]:
    """Weights before and after, on drawn nuclei."""
    small = ["data.source.n_train=2", "data.source.n_test=1", "data.source.size=[64,64]"]
    small += ["data.source.count=[3,4]", "data.batch_size=1", "augment.crop=48", f"steps={steps}"]
    config = compose("train", [*small, "name=warmup"])
    with isolated():
        data = build_data(config)
        pl.seed_everything(0, verbose=False)
        task = build_task(config, build(config.model))
        before = {key: value.clone() for key, value in task.net.state_dict().items()}
        options = {"limit_val_batches": 0, "enable_progress_bar": False, **options}
        trainer = pl.Trainer(
            accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0, callbacks=list(callbacks),
            default_root_dir=tmp_path, use_distributed_sampler=False, **options,
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


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UserError, match="use one of zero, skip"):
        WarmupPhase(1, mode="freeze")


@pytest.mark.filterwarnings("ignore")
def test_a_validation_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    options = {"limit_val_batches": 1, "val_check_interval": 1, "enable_progress_bar": True}
    trained(tmp_path, 2, ReportedProgress(lines), **options)
    assert capfd.readouterr() == ("", "")
    assert [line[:8] for line in lines.notes] == ["step 1/2", "step 2/2"]
    assert all("loss " in line and "at the best threshold" in line for line in lines.notes)
    first, last = lines.notes
    assert " s a step, " in first and " s left, " in first and " left" not in last


@pytest.mark.filterwarnings("ignore")
def test_long_steps_are_lines_between_validations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nucleist.training.callbacks.SECONDS", 0)
    lines = Lines()
    trained(tmp_path, 2, ReportedProgress(lines), enable_progress_bar=True)
    assert [line[:8] for line in lines.notes] == ["step 1/2", "step 2/2"]


@pytest.mark.filterwarnings("ignore")
def test_on_a_terminal_one_bar_for_the_whole_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    monkeypatch.setenv("COLUMNS", "150")
    options = {"limit_val_batches": 1, "val_check_interval": 1, "enable_progress_bar": True}
    lines = Lines()
    trained(tmp_path, 2, ReportedProgress(lines, bar=True), **options)
    told = capfd.readouterr()
    assert told.out == "" and "training" in told.err and "Epoch" not in told.err
    assert [line[:8] for line in lines.notes] == ["step 2/2"]


def test_bars_are_for_the_console_only() -> None:
    """Without any bar among the callbacks Lightning would show its own."""
    others, bar = PreviewImages(), progress_bar()
    assert without_bars([bar, others], Console()) == [bar, others]
    for progress in (Progress(), Lines()):
        kept, own = without_bars([bar, others], progress)
        assert kept is others
        assert isinstance(own, ProgressBar) and isinstance(own, ReportedProgress)
        assert own.progress is progress
