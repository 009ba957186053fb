"""Checkpoints from which an interrupted run continues as if it had not been interrupted.

A checkpoint holds the weights, the optimiser, the trainer's counters and the state of the random
generators. It is taken between two steps, after validation and logging of the first and before
the second draws a random number, so on the CPU the rest of the run repeats bit for bit.
"""

import io
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nucleist.files import replacing
from nucleist.training.loggers import MetricsFile
from nucleist.types import UserError


class AtomicCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside the old one, and replace that once the new one is complete.

    Lightning's own writes to the system's temporary folder and moves the file; between file
    systems that is a copy, which can be interrupted.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: If it cannot be written; the old file is untouched.
        """
        content = io.BytesIO()  # torch.save hides the OSError of a file that it writes itself
        torch.save(checkpoint, content)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())


MONITOR = ("val/labelled_score_best_threshold", "val/map_pooled")
"""What the best checkpoint has the most of: where images are not complete it is the first."""


class Checkpoints(Checkpoint):
    """`last.ckpt` every few steps and on SIGTERM, `best.ckpt` after the best validation.

    When a run is resumed with several processes, all take the random state of rank 0.

    Args:
        folder: Where they are written.
        every: Steps between two `last.ckpt`.
        monitor: Names of scores; the highest value of the first one that the validation gives
            makes a checkpoint the best.

    Attributes:
        before: Seconds of training before the checkpoint that the run was resumed from.
    """

    def __init__(self, folder: str, every: int = 50, monitor: Sequence[str] = MONITOR):
        if every < 1:
            raise UserError(f"checkpoint_every={every} is not a number of steps; give 1 or more")
        self.folder, self.every = Path(folder), every
        self.monitor = [monitor] if isinstance(monitor, str) else list(monitor)
        self.best: float | None = None
        self._random: dict[str, Any] | None = None
        self._saved, self._between = 0, False
        self.before, self._started = 0.0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, in plain types and tensors."""
        seconds = self.before + time.monotonic() - self._started
        return {"best": self.best, "seconds": seconds, "random": random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it; the random state just before the first step."""
        self.best, self.before = state_dict["best"], state_dict["seconds"]
        self._random = state_dict["random"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let this trainer write every checkpoint with `AtomicCheckpoints`."""
        trainer.strategy.checkpoint_io = AtomicCheckpoints()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock of the training starts here."""
        self._started = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop what was logged after the checkpoint: those steps are repeated."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.rewind(trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Between two steps: save, or take up the random state of the checkpoint."""
        step = trainer.global_step
        if self._random is not None:
            set_random_state(self._random)
            self._random, self._saved = None, step
            trainer.fit_loop.epoch_loop._batches_that_stepped = step  # Lightning is unsure of it
        elif step % self.every == 0 and step != self._saved:
            self._between = True
            self._save(trainer, "last")
            self._between = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take back the count of the batch that is about to begin."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for part in ("total", "current"):
            progress[part]["ready"] -= self._between

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best."""
        given = [name for name in self.monitor if name in trainer.callback_metrics]
        if not given or trainer.state.fn != "fit":
            return
        score = trainer.callback_metrics[given[0]]
        if self.best is None or float(score) > self.best:
            self.best = float(score)
            self._save(trainer, "best")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """After SIGTERM between two steps, for instance from a scheduler, save: no step is lost.

        After SIGTERM in a validation the last regular checkpoint is all there is.
        """
        if isinstance(exception, SIGTERMException) and trainer.training:
            self._save(trainer, "last")

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        weights = [p.detach() for p in trainer.lightning_module.parameters()]
        if not torch.stack([w.isfinite().all() for w in weights]).all():
            raise UserError(
                f"the weights are not finite after step {trainer.global_step}; lower "
                "optim.optimizer.lr or raise the warm-up; the last checkpoint is kept"
            )
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / f"{name}.ckpt")
        if name == "last":
            self._saved = trainer.global_step


def random_state() -> dict[str, Any]:
    """State of the generators of Python, NumPy and torch, loadable without running code."""
    name, keys, *numbers = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *numbers],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the generators; those of GPUs that are not in the checkpoint stay as they are."""
    random.setstate(state["python"])
    name, keys, *numbers = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *numbers))
    torch.set_rng_state(state["torch"].cpu())
    for device, part in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(part.cpu(), device)


def seconds_before(trainer: pl.Trainer) -> float:
    """Seconds of training before the checkpoint that a trainer went on from; 0 for a new run."""
    saved = trainer.checkpoint_callback
    return saved.before if isinstance(saved, Checkpoints) else 0.0
