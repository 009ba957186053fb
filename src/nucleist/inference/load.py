"""A trained net back from a checkpoint, without running any code that the file could name."""

import copy
import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import get_object
from torch import nn

import nucleist.data
import nucleist.models
from nucleist.config.compose import build
from nucleist.data.sets import Normalize
from nucleist.models.weights.load import load_weights, read_file
from nucleist.types import UserError

BUILDERS = {
    *(f"nucleist.models.{name}" for name in nucleist.models.__all__),
    *(f"nucleist.data.{name}" for name in nucleist.data.__all__),
    "nucleist.ops.normalize.Percentile",
    "nucleist.ops.normalize.FullRange",
}
"""The only constructors that a checkpoint may ask for."""


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds.

    Attributes:
        net: The net in eval mode.
        normalize: The normalisation it was trained with.
        threshold: The calibrated score threshold, 0.5 if the run was cut before calibration.
        config: The configuration stored with it, with the model options that were asked for.
    """

    net: nn.Module
    normalize: Normalize
    threshold: float
    config: dict[str, Any]


def load(path: str | Path, options: Mapping[str, Any] | None = None) -> Trained:
    """Rebuild a net from a checkpoint that `nucleist train` wrote.

    Args:
        path: The file.
        options: Options of the model to be other than in training, such as
            `{"roi.score_thresh": 0.3}`; they must not change which weights there are.

    Raises:
        UserError: If the file is missing, damaged, holds code, or is not nucleist's; if the model
            has no such option, or the weights do not fit it any more.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint; give the .ckpt of a run's checkpoints folder")
    content = read_file(Path(path))
    content = content if isinstance(content, dict) else {}
    stored = content.get("nucleist")
    if not isinstance(stored, dict) or not {"model", "normalize"} <= set(stored.get("config", {})):
        raise UserError(
            f"{path}: not a checkpoint of nucleist; give the .ckpt of a run's checkpoints folder"
        )
    config = stored["config"]
    _check_targets(config, path)
    if options:
        config = {**config, "model": changed(config["model"], options)}
        _check_targets(config, path)
    try:
        net = build(config["model"])
    except UserError as error:
        if options:
            raise
        raise UserError(
            f"{path}: of another version of nucleist ({error}); use that version, or train again"
        ) from error
    load_weights(net, str(path), "", complete=True)
    threshold = stored.get("calibrated_threshold")
    net.eval().to(memory_format=torch.channels_last)
    return Trained(net, build(config["normalize"]), 0.5 if threshold is None else threshold, config)


def model_options(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Take the options of a trained net out of a command line.

    Returns:
        Values by dotted key, of the words `model.KEY=VALUE` that are no file; the other words.

    Raises:
        UserError: If a value cannot be read, or is a list of values to be tried.
    """
    options: dict[str, Any] = {}
    others: list[str] = []
    for word in words:
        if not re.match(r"model\.[^/]+=", word) or Path(word).exists():
            others.append(word)
            continue
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UserError(f"{word!r} is not an override; write model.KEY=VALUE") from error
        if override.is_sweep_override():
            raise UserError(f"{word!r} is a list of values; give one, and run again for each")
        options[override.key_or_group.removeprefix("model.")] = override.value()
    return options, others


def changed(model: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a model's configuration with some options changed.

    Args:
        model: The configuration of a model, as stored with its weights.
        options: Values by dotted key. A key is one that was stored or a parameter of the
            constructor, whose default acted when the net was trained.

    Raises:
        UserError: For any other key, with the nearest that exists.
    """
    model = copy.deepcopy(model)
    known = list(dict.fromkeys(_options(model)))
    for key, value in options.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, 0.5)
            rest = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            name = str(model.get("_target_")).rpartition(".")[2]
            raise UserError(f"model.{key}={value}: {name} has no such option; {rest}")
        *path, last = key.split(".")
        node = model
        for part in path:
            node = node[part]
        node[last] = value
    return model


def _options(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of what is stored, and of the named parameters of what is called."""
    if target := node.get("_target_"):
        for name, parameter in inspect.signature(get_object(target)).parameters.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                yield prefix + name
    for key, value in node.items():
        if not key.startswith("_"):
            yield prefix + key
            if isinstance(value, dict):
                yield from _options(value, f"{prefix}{key}.")


def _check_targets(node: Any, path: str | Path) -> None:
    """Refuse a configuration that would call anything but nucleist's own constructors."""
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
