"""What a stored configuration may call: nucleist's own constructors, and packages you trust.

A configuration from a checkpoint or a run folder may come from somebody else. Its `_target_` keys
name the functions that are called when it is built, so only known names are allowed.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from nucleist.types import UserError

Trust = str | Sequence[str]
"""Package or packages whose constructors may be called too: `"mypackage"`."""


def check_targets(config: Any, where: str | Path, trust: Trust = ()) -> None:
    """Refuse a configuration that would call anything unknown.

    A target is known if the configuration files of nucleist call it in the same part: a model may
    be any net of theirs, but not a data set or an optimiser.

    Args:
        config: Plain dicts and lists; the keys of its first level name the parts.
        where: File that the configuration comes from, for the message.
        trust: Packages whose constructors may be called too.

    Raises:
        UserError: For the first target that is not known.
    """
    packages = trusted(trust)
    for part, node in config.items():
        for target in targets_in(node):
            if target in known_targets(part) or is_trusted(target, packages):
                continue
            package = target.partition(".")[0]
            raise UserError(
                f"{where}: calls {target!r} as {part}, which is not nucleist's own; "
                f"if you trust that code, add trust={package}"
            )


def trusted(trust: Trust) -> list[str]:
    """The packages that `trust` names."""
    return [trust] if isinstance(trust, str) else list(trust)


def is_trusted(target: str, packages: Sequence[str]) -> bool:
    """Whether a dotted name lies in one of some packages."""
    return any(target.startswith(f"{package}.") for package in packages)


def targets_in(node: Any) -> Iterator[str]:
    """Every `_target_` in nested dicts and lists."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from targets_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets_in(value)


@lru_cache
def known_targets(part: str) -> frozenset[str]:
    """Targets that nucleist's configuration files have in a part: `model`, `data`, `optim`, ..."""
    found: set[str] = set()
    for part_of_file, node in _parts():
        if part_of_file == part:
            found.update(targets_in(node))
    for inner in ("augment", "normalize"):  # a stored data set contains both
        if part == "data":
            found |= known_targets(inner)
    return frozenset(found)


@lru_cache
def _parts() -> tuple[tuple[str, Any], ...]:
    """Every part of every configuration file, with its content."""
    top = Path(str(files("nucleist.conf")))
    parts: list[tuple[str, Any]] = []
    for path in sorted(top.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) or {}
        if "@package _global_" in text or path.parent == top:
            parts += content.items()
        else:
            parts.append((path.parent.name, content))
    return tuple(parts)
