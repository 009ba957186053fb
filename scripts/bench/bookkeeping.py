"""The work of a training step besides the net, in torchvision and in nucleist, for one image.

It has four steps: boxes from the labels (torchvision needs a mask of each nucleus first), image and
labels resized to 0.8 of their short side, anchors matched to boxes, and masks projected onto 128
positive proposals. The anchors are the paper's: five levels of 8 to 128 px.
"""

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import masks_to_boxes

from nucleist.models.rcnn.net import with_classes
from nucleist.ops.labels import boxes_of
from nucleist.ops.masks import mask_targets
from scripts.bench.measure import LEFT_OUT, Case, race
from scripts.bench.meter import Meter
from scripts.bench.nets import BASELINE, MODELS, STOCK, make, preset
from scripts.bench.planted import SEED, jittered
from scripts.bench.settings import Settings, load, stack_of
from scripts.bench.stock import stock_rpn

STEPS = ("boxes", "resize", "match", "project")
POSITIVES = 128
SIDE = 28
Parts = dict[str, tuple[float, float]]


def bookkeeping(meter: Meter, kind: str, file: Any) -> Callable[[], list[Parts]]:
    """Prepare all steps; a run returns seconds and peak MB of each, a dict for every run so far."""
    image, target = load(file, meter.device)
    size, count = image.shape[-1], len(target["boxes"])
    transform, rpn, anchors = _parts(kind, size, meter.device)
    chosen = torch.arange(POSITIVES, device=meter.device) % count
    generator = torch.Generator().manual_seed(SEED)
    positives = jittered(target["boxes"][chosen].cpu(), 1, size, generator).to(meter.device)
    (classed,), label_map = with_classes([target]), target["label_map"]
    done: list[Parts] = []
    meter.start()

    def run() -> list[Parts]:
        parts: Parts = {}
        given: dict[str, Tensor] = {"labels": classed["labels"]}
        with meter.part("boxes", parts):
            if kind == STOCK:
                given["masks"] = stack_of(target)
                given["boxes"] = masks_to_boxes(given["masks"])
            else:
                given["label_map"] = label_map
                given["boxes"] = boxes_of(label_map, count)
        with meter.part("resize", parts):
            resized = transform([image], [given])
        with meter.part("match", parts):
            matched = rpn.assign_targets_to_anchors([anchors], [given])
        with meter.part("project", parts):
            if kind == STOCK:
                project_masks_on_boxes(given["masks"], positives, chosen, SIDE)
            else:
                mask_targets(label_map, positives, chosen, SIDE, "torchvision")
        del resized, matched
        done.append(parts)
        return done

    return run


def _parts(kind: str, size: int, device: str) -> tuple[Any, Any, Tensor]:
    """Transform and RPN of a net with the paper's anchors, and the anchors of an image."""
    config = preset("resnet18", MODELS[BASELINE])
    config["transform"]["min_size"] = round(0.8 * size)
    net = make(BASELINE, config, None, size, device).train()
    anchors = anchors_of(net, size)
    if kind != STOCK:
        return net.transform, net.rpn, anchors
    options = (config["transform"][k] for k in ("min_size", "max_size", "image_mean", "image_std"))
    return GeneralizedRCNNTransform(*options).train(), stock_rpn(net, config).train(), anchors


@torch.no_grad()
def anchors_of(net: Any, size: int) -> Tensor:
    """Anchors `(A, 4)` of an image of `size` pixels, padded as the transform pads it."""
    device = next(net.parameters()).device
    padded = -(-size // 32) * 32
    small = net.backbone(torch.zeros(1, 3, 64, 64, device=device))
    sides = [-(-padded * level.shape[-1] // 64) for level in small.values()]
    images = ImageList(torch.zeros(1, 3, padded, padded, device=device), [(size, size)])
    levels = [torch.zeros(1, 1, side, side, device=device) for side in sides]
    return net.rpn.anchor_generator(images, levels)[0]


def measure(settings: Settings, tick: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A row for each number of nuclei in the largest images."""
    size = settings.sizes[-1]
    for nuclei in (n for s, n in settings.cells if s == size):
        file = settings.drawn(size, nuclei)
        tick(f"bookkeeping, {size} px, {nuclei} nuclei")
        kinds = [STOCK, BASELINE][settings.too_large(size, nuclei) :]
        case = partial(Case, bookkeeping, settings.device)
        found = race({k: case({"kind": k, "file": file}) for k in kinds}, settings.runs)
        row: dict[str, Any] = {"size": size, "nuclei": len(load(file)[1]["boxes"])}
        for kind in (STOCK, BASELINE):
            outcome = found.get(kind, LEFT_OUT)
            row[kind] = outcome.timing or outcome.problem
            if outcome.timing:
                row[f"{kind} steps"] = _by_step(outcome.result)
        yield row


def _by_step(done: list[Parts]) -> dict[str, dict[str, float]]:
    """Median seconds of the runs after the first; peaks of the first, in fresh memory."""
    timed = done[1:] or done
    return {
        step: {
            "median_s": statistics.median(parts[step][0] for parts in timed),
            "peak_mb": done[0][step][1],
        }
        for step in STEPS
    }
