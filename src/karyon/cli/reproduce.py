"""`karyon reproduce`: do a run again from its folder, and say what came out differently."""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from karyon.cli.train import train
from karyon.models.weights import read_file
from karyon.runs import environment
from karyon.types import UserError

NOT_RESULTS = ("train_seconds", "speed")


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns 1 if the results differ."""
    parser = argparse.ArgumentParser(
        "karyon reproduce",
        description="Train again what a run folder describes, in a new folder beside it, and "
        "compare kept labels, weights and every score.",
        epilog="exit status: 0 all equal (within the tolerance), 1 not, 2 the run is unusable. "
        "On the CPU with the same versions and threads everything repeats exactly.",
    )
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--runs", help="where the new run goes (default: where the old one is)")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="difference allowed in each score (default 0)"
    )
    options = parser.parse_args(arguments)
    run: Path = options.run.resolve()
    config = stored_config(run)
    scores, labels = _json(run / "summary.json"), _json(run / "manifest.json")
    for line in version_changes(_json(run / "environment.json"), dict(environment())):
        print(line)
    with open_dict(config):
        config.runs = options.runs or str(run.parents[len(Path(config.name).parts)])
        if config.data.manifest is not None:  # that file may be gone, this one says the same
            config.data.manifest = str(run / "manifest.json")
    again = train(config)
    differences = list(label_changes(labels, _json(again / "manifest.json")))
    differences += compare(scores, _json(again / "summary.json"), options.tolerance)
    print("\n".join(differences) or "kept labels and scores are equal")
    print(f"weights: {_weights(run, again)}")
    print(again)
    return 1 if differences else 0


def stored_config(run: Path) -> DictConfig:
    """The configuration of a run, if it calls nothing but what karyon's own files call.

    Raises:
        UserError: If there is none, or it would run something else.
    """
    path = run / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a configuration"
        raise UserError(f"{path}: {reason}; give the folder of a run") from error
    if not isinstance(config, DictConfig) or not {"name", "model", "data"} <= set(config):
        raise UserError(f"{path}: not the configuration of a run; give the folder of a run")
    known = set(targets_of_package())
    for target in _targets(OmegaConf.to_container(config)):
        if target not in known:
            raise UserError(
                f"{path}: calls {target!r}, which no configuration of karyon does; if you trust "
                "it, start it with the command in environment.json"
            )
    return config


def targets_of_package() -> Iterator[str]:
    """Everything that karyon's configuration files call."""
    for path in Path(str(files("karyon.conf"))).rglob("*.yaml"):
        yield from _targets(OmegaConf.to_container(OmegaConf.load(path)))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def version_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line for each version that has changed; they explain differences, and are none."""
    for name in old | new:
        if name != "command" and old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)} then, {new.get(name)} now"


def label_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line if other labels were kept: the data have changed, or the way they are chosen."""
    first, second = old.get("images", {}), new.get("images", {})
    changed = [name for name in first | second if first.get(name) != second.get(name)]
    if changed:
        yield f"kept labels: different in {len(changed)} images, {changed[0]!r} for one"


def compare(old: Any, new: Any, tolerance: float = 0.0, name: str = "") -> Iterator[str]:
    """A line for each value that differs, by its path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            if key not in NOT_RESULTS:
                where = f"{name}/{key}" if name else key
                yield from compare(old.get(key), new.get(key), tolerance, where)
    elif isinstance(old, float | int) and isinstance(new, float | int):
        same = old == new or (math.isnan(old) and math.isnan(new))
        if not (same or abs(old - new) <= tolerance):
            yield f"{name}: {old} then, {new} now"
    elif old != new:
        yield f"{name}: {_short(old)} then, {_short(new)} now"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."


def _weights(old: Path, new: Path) -> str:
    """How far the last weights are apart, in words."""
    parts = []
    for run in (old, new):
        path = run / "checkpoints" / "last.ckpt"
        if not path.is_file():
            return f"not compared, {path} is missing"
        parts.append(read_file(path)["state_dict"])
    first, second = parts
    if first.keys() != second.keys() or any(first[k].shape != second[k].shape for k in first):
        return "of another net"
    if all(torch.equal(first[key], second[key]) for key in first):
        return "equal"
    apart = max(float((first[k].double() - second[k].double()).abs().max()) for k in first)
    return f"up to {apart:.2g} apart"


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the folder of a finished run") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON; give the folder of a finished run") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a record of a run; give the folder of a finished run")
    return content
