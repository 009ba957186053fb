"""What happens around training: the warm-up of the centre head, progress, logging to W&B."""

import netrc
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar, RichProgressBar

from nucleist.types import UserError

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
        if mode not in ("zero", "skip"):
            raise UserError(f"callbacks.warmup.mode={mode} is unknown; use zero or skip")
        self.steps, self.losses, self.mode = steps, tuple(losses), mode

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a net without a centre head: none of its losses would act."""
        if self.losses == CENTER_LOSSES and not hasattr(pl_module.net, "center_losses"):
            raise UserError("callbacks=warmup is for model=mask_rcnn_pa; use callbacks=default")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the task's phase from the step alone, so that a resumed run is in the right one."""
        active = trainer.global_step < self.steps
        task: Any = pl_module
        task.only_losses = self.losses if active else None
        task.skip_others = active and self.mode == "skip"


class PlainProgress(ProgressBar):
    """One line a validation, for logs and pipes."""

    def disable(self) -> None:
        """Nothing to switch off: it prints a few lines only."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the step, the loss and mAP."""
        seen = trainer.callback_metrics
        loss = float(seen.get("train/loss", float("nan")))
        score = float(seen.get("val/map_pooled", float("nan")))
        best = float(seen.get("val/map_best_threshold", float("nan")))
        print(
            f"step {trainer.global_step}/{trainer.max_steps}  loss {loss:.3f}  "
            f"mAP {score:.3f} (at the best threshold {best:.3f})",
            file=sys.stderr,
            flush=True,
        )


def progress_bar() -> ProgressBar:
    """A bar with the remaining time on a terminal, plain lines elsewhere."""
    return RichProgressBar(leave=False) if sys.stderr.isatty() else PlainProgress()


BEST_AND_LAST = ("map_pooled", "map_best_threshold", "aji_pooled", "ncs_pooled")
"""Validation scores of which a W&B run's summary has the best (`.max`) and the last (`.last`)."""


def wandb_logger(
    project: str,
    save_dir: str,
    runs: str | None = None,
    experiment: str = "",
    group: str | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A Weights & Biases logger that needs no account.

    Without an API key it logs offline and prints the command that uploads the run later; it
    never asks for a key. Curves are against the optimiser step.

    Args:
        project: The W&B project.
        save_dir: The run folder; its name is the id of the W&B run, so that a run that goes on
            stays one run.
        runs: The folder that holds all runs; that of a sweep has `sweep.json`.
        experiment: Name of the run.
        group: Runs that belong together; None for the sweep's folder name, without a sweep for
            the experiment.
        about: `net` and `images` (dotted names, of which the last word counts), `seed`, and what
            is labelled: `annotation_fraction`, `exemplars`, `crop_fraction`. They become tags
            and settings of the W&B run.
        options: For `wandb.init`.

    Raises:
        UserError: If wandb is not installed.
    """
    if find_spec("wandb") is None:
        raise UserError("logger=wandb needs wandb; install it with pip install 'nucleist[wandb]'")
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    wandb.finish()  # of an earlier training in this process, which is a run of its own
    offline = os.environ.get("WANDB_MODE") == "offline" or not _has_key()
    folder = Path(save_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sweep = None if runs is None else Path(runs).absolute()
    if group is None:
        group = sweep.name if sweep and (sweep / "sweep.json").exists() else experiment
    known = _known(about or {})
    options = {"id": folder.name, "name": f"{experiment} {folder.name}".strip(), **options}
    options = {"config": known, "tags": _tags(known), **options}
    logger = WandbLogger(
        project=project, group=group, save_dir=str(folder), offline=offline, **options
    )
    run = logger.experiment
    step = "trainer/global_step"
    run.define_metric(step)
    for names in ("train/*", "val/*", "test/*"):
        run.define_metric(names, step_metric=step)
    for name in BEST_AND_LAST:
        run.define_metric(f"val/{name}", step_metric=step, summary="max,last")
    if offline:
        print(f"W&B is offline; upload later with: wandb sync {run.dir}/..", file=sys.stderr)
    return logger


def _known(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is about in short words: `{"net": "mask_rcnn_pa", "labels": "25 %", ...}`."""
    found = {key: str(about[key]).rpartition(".")[2] for key in ("net", "images") if key in about}
    share = about.get("annotation_fraction")
    labels = None if share is None else f"{100 * share:g} %"
    if about.get("crop_fraction") is not None:
        labels = f"{100 * about['crop_fraction']:g} % of the area"
    if about.get("exemplars") is not None:
        labels = f"{about['exemplars']} an image"
    rest = {"labels": labels, "seed": about.get("seed")}
    return found | {key: value for key, value in rest.items() if value is not None}


def _tags(known: Mapping[str, Any]) -> list[str]:
    """The same as tags: `["mask_rcnn_pa", "BBBC038", "labels 25 %", "seed 0"]`."""
    return [str(v) if key in ("net", "images") else f"{key} {v}" for key, v in known.items()]


def tell_wandb(loggers: Iterable[Any], summary: Mapping[str, Any]) -> None:
    """Put a run's summary beside its curves, for the table of runs: `test.map.pooled`, ...

    Args:
        loggers: Of a trainer; those that take images, W&B's, are told.
        summary: As in `summary.json`.
    """
    for logger in loggers:
        if hasattr(logger, "log_image"):
            logger.experiment.summary.update(dict(summary))


def _has_key() -> bool:
    """Whether wandb would find a key: in the environment, or where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(str(host)) is not None
    except (OSError, netrc.NetrcParseError):
        return False
