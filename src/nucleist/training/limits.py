"""Limits at inference that cut what a net found: counted over all processes, and warned of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nucleist.files import read_json_if_there
from nucleist.models.net import Net


def limits_reached(net: Net) -> dict[str, int]:
    """Number of images in which each limit was reached, over all processes; no entry for none."""
    parts: list[Any] = [dict(net.limits_reached)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = parts * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, parts[0])
    total: dict[str, int] = {}
    for part in parts:
        for name, images in part.items():
            total[name] = total.get(name, 0) + int(images)
    return {name: images for name, images in sorted(total.items()) if images}


def limits_in(run: Path) -> dict[str, int]:
    """Images in which each limit was reached, in the test of a run's last or best weights."""
    summary = read_json_if_there(run / "summary.json")
    best = summary.get("best_checkpoint") or {}
    reached: dict[str, int] = {}
    for part in (summary, best):
        found: Mapping[str, int] = part.get("limits_reached") or {}
        for name, count in found.items():
            reached[name] = max(count, reached.get(name, 0))
    return reached
