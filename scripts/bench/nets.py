"""The nets that are compared, all with the same weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nucleist.config.build import build, plain
from nucleist.config.compose import compose
from nucleist.inference.load import load
from scripts.bench.settings import SIDE, Settings
from scripts.bench.stock import stock_of

STOCK, BASELINE, PA = "torchvision", "nucleist", "nucleist PA"
CHECK = "nucleist as torchvision"
"""The baseline in torchvision's memory format, to compare its results with torchvision's."""

MODELS = {BASELINE: "mask_rcnn", PA: "mask_rcnn_pa"}


def configs(settings: Settings) -> dict[str, dict[str, Any]]:
    """Configurations of the baseline and the partial-annotation net.

    Images keep their scale, except as a checkpoint was trained. No nucleus is dropped because
    others cover it, since torchvision has no such rule, and masks are aligned as torchvision's.
    """
    found = {}
    for kind, checkpoint in ((BASELINE, settings.baseline), (PA, settings.pa)):
        if checkpoint is not None:
            config = load(checkpoint, device="cpu").config["model"]
        else:
            config = preset(settings.preset, MODELS[kind])
        config["transform"]["max_lost"] = 1.0
        config["mask_alignment"] = "torchvision"
        if kind == PA:
            config["certain_background"] = False  # as if labels were partial: found boxes count
        found[kind] = config
    return found


def preset(name: str, model: str) -> dict[str, Any]:
    """Configuration of a net for images at their own scale, with masks as torchvision's."""
    overrides = ["data=synthetic", f"model={model}", f"preset={name}"]
    overrides.append("model.mask_alignment=torchvision")
    if model == MODELS[PA]:
        overrides.append(f"model.center.anchor_size=[{SIDE},{SIDE}]")
    config = plain(compose("train", [*overrides, "model.transform.min_size=null"]).model)
    assert isinstance(config, dict)
    return config


def make(
    kind: str, config: Mapping[str, Any], checkpoint: Path | None, size: int, device: str
) -> nn.Module:
    """A net with initial weights or those of a checkpoint.

    Args:
        kind: `STOCK`, `BASELINE`, `PA` or `CHECK`.
        config: Configuration of nucleist's net.
        checkpoint: Run folder or checkpoint with weights of nucleist's net, or None.
        size: Side of the images, pixels.
        device: Device of the net. Nucleist's nets are in channels last, as in its training.
    """
    torch.manual_seed(0)
    net = build(config)
    # A trained RPN classifies most anchors as background, an untrained one half of them.
    torch.nn.init.constant_(net.rpn.head.cls_logits.bias, -4.0)
    if checkpoint is not None:
        net.load_state_dict(load(checkpoint, device="cpu").net.state_dict())
    if kind == STOCK:
        net = stock_of(net, config, size)
    net.to(device)
    return net if kind in (STOCK, CHECK) else net.to(memory_format=torch.channels_last)
