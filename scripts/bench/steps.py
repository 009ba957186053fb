"""A whole training step, and one image to a label map: torchvision, nucleist and nucleist's PA.

Torchvision gets a stack of masks, and its predicted masks are painted into a label map, higher
scores on top. The losses and label maps of torchvision and nucleist's baseline are compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucleist.models import Net
from nucleist.models.rcnn.net import with_classes
from nucleist.ops.labels import relabel
from scripts.bench.measure import LEFT_OUT, Case, Outcome, race
from scripts.bench.meter import Meter
from scripts.bench.nets import BASELINE, CHECK, PA, STOCK, configs, make
from scripts.bench.planted import plant, seed_sampling
from scripts.bench.settings import Settings, load, stack_of
from scripts.bench.stock import painted

Tick = Callable[[str], None]
Row = dict[str, Any]


def training_step(
    meter: Meter,
    kind: str,
    config: Mapping[str, Any],
    checkpoint: Path | None,
    files: Sequence[Path],
) -> Callable[[], dict[str, float]]:
    """Prepare a training step; a run returns the losses and the counts of the net."""
    size = load(files[0])[0].shape[-1]
    net = make(kind, config, checkpoint, size, meter.device).train()
    # A learning rate of 0 takes as long as any other, and every run has the same losses.
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.0)
    meter.start()
    drawn = [load(file, meter.device) for file in files]
    images, targets = [image for image, _ in drawn], [target for _, target in drawn]
    seed_sampling(net)
    if checkpoint is None:
        plant(net, [target["boxes"] for target in targets], size)
    given: list[Any] = list(targets)
    if kind == STOCK:
        given = [{**t, "masks": stack_of(t)} for t in with_classes(targets)]

    def step() -> dict[str, float]:
        optimizer.zero_grad()
        losses = net(images, given)
        sum(losses.values()).backward()
        optimizer.step()
        seen = {**losses, **(net.step_counts() if isinstance(net, Net) else {})}
        return {name: float(value.detach()) for name, value in seen.items()}

    return step


def inference(
    meter: Meter, kind: str, config: Mapping[str, Any], checkpoint: Path | None, file: Path
) -> Callable[[], tuple[int, np.ndarray]]:
    """Prepare an inference; a run returns the number of detections and the `(H, W)` label map."""
    size = load(file)[0].shape[-1]
    net = make(kind, config, checkpoint, size, meter.device).eval()
    meter.start()
    image, target = load(file, meter.device)
    if checkpoint is None:
        plant(net, [target["boxes"]], size)

    @torch.inference_mode()
    def outline() -> tuple[int, np.ndarray]:
        found = net([image])[0]
        labels = painted(found["masks"]) if kind == STOCK else found["label_map"]
        return len(found["scores"]), labels.cpu().numpy()

    return outline


def measure_training(settings: Settings, tick: Tick) -> Iterator[Row]:
    """A row for each size and number of nuclei."""
    models = configs(settings)
    for size, nuclei in settings.cells:
        batch = settings.batch(size)
        files = [settings.drawn(size, nuclei, index) for index in range(batch)]
        count = sum(len(load(file)[1]["boxes"]) for file in files) / batch
        tick(f"training step, {size} px, {nuclei} nuclei")
        found = _race(settings, models, training_step, {"files": files}, (size, nuclei))
        row = {"size": size, "nuclei": count, "batch": batch, **_timings(found)}
        theirs, ours = found[STOCK].result, found[CHECK].result
        if theirs and ours:
            row["loss_difference"] = max(difference(theirs[k], ours[k]) for k in theirs)
            row["losses"] = {STOCK: theirs, BASELINE: ours}
        seen = found[PA].result or {}
        row["found_boxes"] = seen.get("found_boxes", 0.0) / batch
        yield row


def measure_inference(settings: Settings, tick: Tick) -> Iterator[Row]:
    """A row for each size and number of nuclei."""
    models = configs(settings)
    for size, nuclei in settings.cells:
        file = settings.drawn(size, nuclei)
        tick(f"inference, {size} px, {nuclei} nuclei")
        found = _race(settings, models, inference, {"file": file}, (size, nuclei))
        row = {"size": size, "nuclei": len(load(file)[1]["boxes"]), **_timings(found)}
        row["detections"] = {kind: out.result[0] for kind, out in found.items() if out.result}
        theirs, ours = found[STOCK].result, found[CHECK].result
        if theirs and ours:
            row["pixels_differing"] = pixels_differing(theirs[1], ours[1])
        yield row


def difference(a: float, b: float) -> float:
    """Absolute difference of two losses, relative to the first where that is above 1."""
    return abs(a - b) / max(abs(a), 1.0)


def pixels_differing(a: np.ndarray, b: np.ndarray) -> int:
    """Number of pixels that differ between two label maps, both numbered in order of score."""
    first, second = (relabel(torch.from_numpy(m))[0] for m in (a, b))
    return int((first != second).sum())


def _race(
    settings: Settings,
    models: Mapping[str, Any],
    task: Any,
    options: Mapping[str, Any],
    cell: tuple[int, int],
) -> dict[str, Outcome]:
    """Run the three nets in turns, then once the baseline in torchvision's memory format."""

    def case(kind: str) -> Case:
        model = PA if kind == PA else BASELINE
        checkpoint = settings.pa if kind == PA else settings.baseline
        chosen = {"kind": kind, "config": models[model], "checkpoint": checkpoint}
        return Case(task, settings.device, {**chosen, **options})

    if settings.too_large(*cell):
        found = race({kind: case(kind) for kind in (BASELINE, PA)}, settings.runs)
        return {**found, STOCK: LEFT_OUT, CHECK: LEFT_OUT}
    found = race({kind: case(kind) for kind in (STOCK, BASELINE, PA)}, settings.runs)
    return {**found, **race({CHECK: case(CHECK)}, 0)}


def _timings(found: Mapping[str, Outcome]) -> Row:
    return {k: found[k].timing or found[k].problem for k in (STOCK, BASELINE, PA)}
