"""Limits that cut what a net found: none may do so unseen.

A net keeps a dict `capped`: the name of a limit (`detections_per_img=1000`) and the number of
images in which it was reached. It is cleared before a test and read after it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn


def forget_caps(net: nn.Module) -> None:
    """Start counting anew."""
    getattr(net, "capped", {}).clear()


def caps_reached(net: nn.Module) -> dict[str, int]:
    """Number of images in which each limit was reached, over all processes; no entry for none."""
    parts = [dict(getattr(net, "capped", {}))]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = parts * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, parts[0])
    total: dict[str, int] = {}
    for part in parts:
        for name, images in part.items():
            total[name] = total.get(name, 0) + int(images)
    return {name: images for name, images in sorted(total.items()) if images}


def warn_of_caps(reached: Mapping[str, int], images: int) -> None:
    """Say in one line on stderr which limits were reached; nothing if none was."""
    if reached:
        told = ", ".join(f"{name} in {count} of {images} images" for name, count in reached.items())
        print(f"nucleist: warning: a limit cut what was found: {told}; raise it", file=sys.stderr)


def capped_in(run: Path) -> dict[str, int]:
    """Images in which each limit was reached, in the test of a run's last or best weights."""
    try:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    best = summary.get("best_checkpoint") or {}
    reached: dict[str, int] = {}
    for part in (summary, best):
        for name, count in (part.get("capped") or {}).items():
            reached[name] = max(count, reached.get(name, 0))
    return reached
