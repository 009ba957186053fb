"""How long a training will take and how large its folder will be, from earlier runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nucleist.files import read_json_if_there

KIND = (
    "model._target_",
    "model.backbone._target_",
    "model.backbone.name",
    "model.transform.min_size",
    "data.batch_size",
    "data.augment.crop",
    "trainer.accelerator",
    "data.source._target_",
)
"""Settings that decide how long a step takes: model, preset, batch, device; data last."""


@dataclass(frozen=True)
class Cost:
    """Time and size of a finished run.

    Attributes:
        run: Its folder.
        seconds_per_step: Validations included.
        size: Bytes of its folder.
    """

    run: Path
    seconds_per_step: float
    size: int


def kind_of(config: DictConfig) -> tuple[Any, ...]:
    """The settings that two runs with the same time a step have in common."""
    found = dict(zip(KIND, (OmegaConf.select(config, key) for key in KIND), strict=True))
    if found["trainer.accelerator"] == "auto":
        found["trainer.accelerator"] = "gpu" if torch.cuda.is_available() else "cpu"
    return tuple(found.values())


def costs_of(runs: Path) -> dict[tuple[Any, ...], Cost]:
    """The cost of each kind of run below a folder, as its latest finished run measured it.

    Without its last part, the data, a kind has the cost of the latest on any data.
    """
    latest = sorted(_summaries(runs), key=lambda found: found[0].stat().st_mtime)
    costs = {}
    for path, summary in latest:
        try:
            kind = kind_of(OmegaConf.load(path.parent / "config.yaml"))  # type: ignore[arg-type]
            seconds = float(summary["train_seconds"]) / int(summary["steps"])
        except (OSError, OmegaConfBaseException, KeyError, TypeError, ValueError, ArithmeticError):
            continue  # not a run folder, or nothing was trained in it
        size = sum(part.stat().st_size for part in path.parent.rglob("*") if part.is_file())
        costs[kind] = costs[kind[:-1]] = Cost(path.parent, seconds, size)
    return costs


def _summaries(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in runs.rglob("summary.json"):
        content = read_json_if_there(path)
        if "train_seconds" in content:
            yield path, content


def size(count: float) -> str:
    """`58 MB`, `1.6 GB`."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
