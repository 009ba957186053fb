"""What happens around the steps of a training: warm-up, progress, preview pictures."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar, RichProgressBar

from nucleist.inference.pictures import center_pictures, overlay_rows, shape_pictures
from nucleist.plots import LabelledImage, overlay_panel
from nucleist.progress import Console
from nucleist.training.loggers import image_loggers
from nucleist.types import Progress, UserError, one_of

CENTER_LOSSES = ("loss_centerness", "loss_center_box")


class WarmupPhase(Callback):
    """For the first steps only some losses act, by default the two of the centre head.

    Source: arXiv 1907.09738, row DH25-pa-warmup (500 steps); the authors' code multiplies the
    other losses by 0.

    Args:
        steps: Length of the phase W in optimiser steps.
        losses: Names of the losses that act from the beginning.
        mode: `"zero"` multiplies the other losses by 0. Nothing is frozen: weight decay and
            momentum still act on the parts that get no gradient. `"skip"` leaves them out of the
            step altogether (their gradient is None), which with DDP needs
            `trainer.strategy=ddp_find_unused_parameters_true`.
    """

    def __init__(self, steps: int, losses: tuple[str, ...] = CENTER_LOSSES, mode: str = "zero"):
        one_of("callbacks.warmup.mode", mode, ("zero", "skip"))
        self.steps, self.losses, self.mode = steps, tuple(losses), mode

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a net without a centre head: none of its losses would act."""
        task: Any = pl_module
        if self.losses == CENTER_LOSSES and not task.net.can.centers:
            raise UserError("callbacks=warmup is for model=mask_rcnn_pa; use callbacks=default")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the task's phase from the step alone, so that a resumed run is in the right one."""
        active = trainer.global_step < self.steps
        task: Any = pl_module
        task.only_losses = self.losses if active else None
        task.skip_others = active and self.mode == "skip"


class ReportedProgress(ProgressBar):
    """One line a validation.

    Args:
        progress: Takes the lines.
    """

    def __init__(self, progress: Progress):
        super().__init__()
        self.progress = progress

    def disable(self) -> None:
        """Nothing to switch off: there are only a few lines."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the step, the loss and mAP."""
        seen = trainer.callback_metrics
        loss = float(seen.get("train/loss", float("nan")))
        score = float(seen.get("val/map_pooled", float("nan")))
        best = float(seen.get("val/map_best_threshold", float("nan")))
        self.progress.note(
            f"step {trainer.global_step}/{trainer.max_steps}  loss {loss:.3f}  "
            f"mAP {score:.3f} (at the best threshold {best:.3f})"
        )


def progress_bar() -> ProgressBar:
    """A bar with the remaining time on a terminal, plain lines elsewhere."""
    return RichProgressBar(leave=False) if sys.stderr.isatty() else ReportedProgress(Console())


def without_bars(callbacks: Sequence[Callback], progress: Progress) -> list[Callback]:
    """The callbacks, without progress bars unless the console shows progress.

    A silent bar takes their place, or Lightning would add its own.
    """
    if isinstance(progress, Console):
        return list(callbacks)
    kept = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    return [*kept, ReportedProgress(progress)]


class PreviewImages(Callback):
    """After each validation, pictures to every logger that takes images (W&B).

    Args:
        count: Training and test images shown, each.
    """

    def __init__(self, count: int = 1):
        self.count = count

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log, on the first process only."""
        takers = image_loggers(trainer.loggers)
        if not takers or not trainer.is_global_zero:
            return
        task: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = overlay_rows(task.net, data, task.fixed_threshold, self.count)
        single = center_pictures(task.net, data) | shape_pictures(task.net)
        pictures: dict[str, Sequence[np.ndarray]] = {
            "overlays": [_panel(row) for row in rows],
            **{name: [picture] for name, picture in single.items()},
        }
        for logger in takers:
            for name, images in pictures.items():
                logger.log_image(f"val/{name}", list(images), step=trainer.global_step)


def _panel(row: LabelledImage) -> np.ndarray:
    return overlay_panel(row.image, row.kept, row.truth, row.prediction, row.title)
