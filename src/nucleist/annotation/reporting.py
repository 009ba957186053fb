"""What a training tells the page: step, time left, score on held-out labels."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from nucleist.files import read_json_if_there, write_json

EVERY = 1.0
"""Seconds between two reports."""

SCORES = {
    "val/labelled_recall_50_pooled": "of the held-out outlines found",
    "val/map_pooled": "mAP on held-out images",
}
"""What is told of a validation, the first that there is, and its name. mAP needs images of which
every nucleus is outlined."""


class StepReport(Callback):
    """Writes where the training is into `status.json`.

    Args:
        folder: Of the round.
    """

    def __init__(self, folder: str):
        self._path = Path(folder) / "status.json"
        self._began, self._last = 0.0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure the time."""
        self._began = time.monotonic()
        self._tell(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Report about once a second."""
        if time.monotonic() - self._last > EVERY:
            self._tell(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the score."""
        self._tell(trainer)

    def _tell(self, trainer: pl.Trainer) -> None:
        self._last = time.monotonic()
        step, steps = trainer.global_step, trainer.max_steps
        left = (self._last - self._began) / step * (steps - step) if step else None
        metrics = trainer.callback_metrics
        name = next((name for name in SCORES if name in metrics), "")
        score = float(metrics[name]) if name else None
        told: dict[str, Any] = {"step": step, "steps": steps, "seconds_left": left}
        told |= {"score": score, "score_of": SCORES.get(name)}
        write_json(self._path, {**read_json_if_there(self._path), **told})
