"""The median time of a training step on this machine, seconds of one core.

python experiments/nuset/seconds.py key=value ...

Loading, augmentation and the drawing of synthetic images are included, as in training. Reading
images from disk is not, because a run reads its training images before its first step. Seconds are
those of the process, of one thread and no loaders: what else the machine does hardly matters.
"""

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import pytorch_lightning as pl

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.training.isolation import quiet
from nucleist.training.train import build_data, build_task

STEPS, FIRST = 20, 3
"""Steps that are timed, and steps before them, which allocate memory for the first time."""


class Clock(pl.Callback):
    """The time of the process at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *of: Any) -> None:
        self.times.append(time.process_time())


def seconds_a_step(settings: Sequence[str]) -> float:
    """Train `FIRST + STEPS` steps without validation."""
    quiet()
    config = compose("train", [*settings, f"steps={FIRST + STEPS}", "val_every=1000000"])
    data, clock = build_data(config), Clock()
    for _ in data.kept_targets():  # reads the training images
        pass
    pl.seed_everything(config.seed, verbose=False)
    task = build_task(config, build(config.model))
    quietly = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    trainer = build(config.trainer, callbacks=[clock], limit_val_batches=0, **quietly)
    trainer.fit(task, datamodule=data)
    done = clock.times[FIRST - 1 :]
    return median(after - before for before, after in pairwise(done))


if __name__ == "__main__":
    print(f"{seconds_a_step(sys.argv[1:]):.4f}")
