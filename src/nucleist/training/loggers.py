"""Where the numbers of a training go: a CSV file that a resumed run continues, and W&B."""

import csv
import netrc
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from nucleist.files import replacing
from nucleist.types import UserError


class MetricsFile(Logger):
    """Every logged value in `metrics.csv`, complete at any moment; a resumed run continues it.

    Lightning's CSV logger deletes the file of an earlier start.

    Args:
        path: The file.
        flush_every: Rows that are kept in memory at most.
    """

    def __init__(self, path: str, flush_every: int = 10):
        super().__init__()
        self.path, self.flush_every = Path(path), flush_every
        self.rows = _read_rows(self.path)
        self._unsaved = 0

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Empty: the folder identifies the run."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Add a row; `step` counts from 0."""
        row = {k: str(v.item() if isinstance(v, torch.Tensor) else v) for k, v in metrics.items()}
        self.rows.append(row | {"step": str(step)})
        self._unsaved += 1
        if self._unsaved >= self.flush_every:
            self.save()

    def rewind(self, step: int) -> None:
        """Drop the rows of this step and of those after it."""
        kept = [row for row in self.rows if int(row["step"]) < step]
        self._unsaved += len(self.rows) - len(kept)
        self.rows = kept

    @rank_zero_only
    def save(self) -> None:
        """Write the whole file again."""
        if not self._unsaved:
            return
        columns = sorted({key for row in self.rows for key in row})
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(self.rows)
        self._unsaved = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the rows that are still in memory."""
        self.save()


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        for row in rows:
            int(row["step"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of metrics; remove it and start again") from error
    return rows


BEST_AND_LAST = (
    *("map_pooled", "map_best_threshold", "aji_pooled", "ncs_pooled"),
    *("labelled_recall_pooled", "labelled_recall_50_pooled", "labelled_score_best_threshold"),
)
"""Validation scores of which a W&B run's summary has the best (`.max`) and the last (`.last`).

Those that a validation does not give have no entry: the first four where an image is complete
nowhere, the others where every image is complete.
"""


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
        save_dir: The run folder; its name is the id of the W&B run, so that a resumed run
            stays one W&B run.
        runs: The folder that holds all runs; that of a sweep has `sweep.json`.
        experiment: Name of the run.
        group: Runs that belong together; None for the sweep's folder name, without a sweep for
            the experiment.
        about: `net` and `images` (dotted names, of which only the last word is used), `seed`,
            and how much is labelled: `annotation_fraction`, `exemplars`, `crop_fraction`. They
            become tags and settings of the W&B run.
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
    """The properties of a run in short words: `{"net": "mask_rcnn_pa", "labels": "25 %", ...}`."""
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


def image_loggers(loggers: Iterable[Any]) -> list[Any]:
    """The loggers that take pictures, W&B's."""
    return [logger for logger in loggers if hasattr(logger, "log_image")]


def log_summary(loggers: Iterable[Any], summary: Mapping[str, Any]) -> None:
    """Put a run's summary beside its curves, for the table of runs: `test.map.pooled`, ...

    What the run does not have (`test` without test images) is not there either.

    Args:
        loggers: Of a trainer; W&B's get the summary.
        summary: As in `summary.json`.
    """
    for logger in image_loggers(loggers):
        logger.experiment.summary.update(dict(summary))


def _has_key() -> bool:
    """Whether there is an API key in the environment or where `wandb login` stores it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(str(host)) is not None
    except (OSError, netrc.NetrcParseError):
        return False
