"""What happens around the steps of a training: warm-up, progress, preview pictures."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar
from rich.console import Console as Terminal
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from nucleist.inference.pictures import center_pictures, overlay_rows, shape_pictures
from nucleist.plots.overlay import LabelledImage, overlay_panel
from nucleist.progress import Console, duration
from nucleist.training.closing import counted_nuclei
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


SECONDS = 60
"""At least so often there is a line where no bar can be shown."""


class ReportedProgress(ProgressBar):
    """A line after each validation and at least once a minute; on a terminal one bar instead.

    Args:
        progress: Takes the lines.
        bar: Show a bar for the whole training.
    """

    def __init__(self, progress: Progress, bar: bool = False):
        super().__init__()
        self.progress, self.bar = progress, bar
        self._first, self._started, self._last = 0, 0.0, 0.0
        self._shown: tuple[Bar, TaskID] | None = None

    def disable(self) -> None:
        """Nothing to switch off: there are only a few lines."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure the time, and show the bar."""
        self._first, self._started = trainer.global_step, time.monotonic()
        self._last = self._started
        if self.bar:
            columns = (TextColumn("{task.description}"), BarColumn())
            shown = Bar(*columns, console=Terminal(stderr=True), transient=True)
            task = shown.add_task("training", total=trainer.max_steps, completed=self._first)
            self._shown = (shown, task)
            shown.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Move the bar, or report that there was no line for a minute."""
        since = time.monotonic() - self._last
        if self._shown and since > 1:  # to read the loss more often would slow a GPU down
            self._last += since
            shown, task = self._shown
            shown.update(task, completed=trainer.global_step, description=self._line(trainer))
        elif not self._shown and since > SECONDS:
            self._report(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report step, time, loss and scores, where there is no bar."""
        if not self._shown:
            self._report(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away; its last state stays as a line."""
        if self._shown:
            self._hide()
            self._report(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away."""
        self._hide()

    def _hide(self) -> None:
        if self._shown:
            self._shown[0].stop()
            self._shown = None

    def _report(self, trainer: pl.Trainer) -> None:
        self._last = time.monotonic()
        self.progress.note(self._line(trainer))

    def _line(self, trainer: pl.Trainer) -> str:
        """`step 240/600, 1.2 s a step, 7 min left, loss 0.41, mAP 0.30`: what is known of it."""
        step, parts = trainer.global_step, [f"step {trainer.global_step}/{trainer.max_steps}"]
        if self._started and step > self._first:  # with the validations
            each = (time.monotonic() - self._started) / (step - self._first)
            parts.append(f"{each:.2g} s a step")
            left = trainer.max_steps - step
            parts += [f"{duration(each * left)} left"] if left > 0 else []
        for key, words in SEEN.items():
            value = float(trainer.callback_metrics.get(key, math.nan))
            parts += [] if math.isnan(value) else [words.format(value, nuclei=_nuclei(trainer))]
        return ", ".join(parts)


def _nuclei(trainer: pl.Trainer) -> str:
    """What a validation stands on: `16 held-out nuclei`; empty if all images are complete."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    count = int(trainer.callback_metrics.get("val/labelled_nuclei", 0))
    return counted_nuclei(count, "held-out" if data and data.holds_out else "labelled")


SEEN = {
    "train/loss": "loss {:.3f}",
    "val/labelled_recall_50_pooled": "found {:.2f} of the {nuclei}",
    "val/map_pooled": "mAP {:.3f}",
    "val/map_best_threshold": "at the best threshold {:.3f}",
}
"""Logged values that a line of progress shows, in words."""


def progress_bar() -> ProgressBar:
    """A bar with the remaining time on a terminal, plain lines elsewhere."""
    return ReportedProgress(Console(), bar=sys.stderr.isatty())


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
    return overlay_panel(
        row.image,
        row.kept,
        row.truth,
        row.prediction,
        row.title,
        held=row.held,
        complete=row.complete,
    )
