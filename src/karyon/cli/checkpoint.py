"""A trained net back from a checkpoint, without running any code that the file could name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import karyon.data
import karyon.models
from karyon.cli.config import build
from karyon.data.module import Normalize
from karyon.models.weights import load_weights, read_file
from karyon.types import UserError

BUILDERS = {
    *(f"karyon.models.{name}" for name in karyon.models.__all__),
    *(f"karyon.data.{name}" for name in karyon.data.__all__),
    "karyon.ops.normalize.Percentile",
    "karyon.ops.normalize.FullRange",
}
"""The only constructors that a checkpoint may ask for."""


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds.

    Attributes:
        net: The net in eval mode.
        normalize: The normalisation it was trained with.
        threshold: The calibrated score threshold, 0.5 if the run was cut before calibration.
        config: The configuration stored with it.
    """

    net: nn.Module
    normalize: Normalize
    threshold: float
    config: dict[str, Any]


def load(path: str | Path) -> Trained:
    """Rebuild a net from a checkpoint that `karyon train` wrote.

    Raises:
        UserError: If the file is missing, damaged, holds code, or is not karyon's.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint; give the .ckpt of a run's checkpoints folder")
    content = read_file(Path(path))
    content = content if isinstance(content, dict) else {}
    stored = content.get("karyon")
    if not isinstance(stored, dict) or not {"model", "normalize"} <= set(stored.get("config", {})):
        raise UserError(
            f"{path}: not a checkpoint of karyon; give the .ckpt of a run's checkpoints folder"
        )
    config = stored["config"]
    _check_targets(config, path)
    net = build(config["model"])
    load_weights(net, str(path), "", complete=True)
    threshold = stored.get("calibrated_threshold")
    net.eval().to(memory_format=torch.channels_last)
    return Trained(net, build(config["normalize"]), 0.5 if threshold is None else threshold, config)


def _check_targets(node: Any, path: str | Path) -> None:
    """Refuse a configuration that would call anything but karyon's own constructors."""
    if isinstance(node, dict):
        target = node.get("_target_")
        if target is not None and target not in BUILDERS:
            raise UserError(
                f"{path}: asks to call {target!r}, which no run does; do not trust this file"
            )
        for value in node.values():
            _check_targets(value, path)
    elif isinstance(node, list):
        for value in node:
            _check_targets(value, path)
