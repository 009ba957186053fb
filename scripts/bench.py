"""What the partial-annotation module costs: training step and inference beside the baseline.

    python scripts/bench.py --output runs/bench.json
    python scripts/bench.py --baseline BASELINE.ckpt --pa PA.ckpt

Compact nets on karyon's own drawn nuclei, two image sizes and two numbers of nuclei, and the
scores of one map of 1000 nuclei. Every figure is the median of several runs after a warm-up,
with the fastest and the slowest; the two models take turns, so that a busy machine slows both. A
training step is forward, backward and optimiser on a batch of whole images; inference is one
image. Its time depends on what is found: without checkpoints the nets have seen a few dozen steps
only and outline hundreds of things that are none. The number of detections is printed beside it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from karyon import metrics
from karyon.cli.checkpoint import load
from karyon.cli.config import build, compose
from karyon.cli.train import build_data
from karyon.data.module import to_target, to_tensor
from karyon.data.synthetic import Synthetic
from karyon.metrics import InstanceScores
from karyon.ops.normalize import Percentile
from karyon.runs import write_text
from karyon.types import Target

MODELS = {"baseline": "mask_rcnn", "PA": "mask_rcnn_pa"}
CELLS = [(size, nuclei) for size in (256, 360) for nuclei in (10, 100)]
BATCH = 2
SCORES = (
    "mean_average_precision",
    "aggregated_jaccard_index",
    "normalized_coverage_score",
    "precision_recall",
    "panoptic_quality",
)


@dataclass(frozen=True)
class Time:
    """Milliseconds of one run: median, fastest, slowest, and how many were timed."""

    median_ms: float
    min_ms: float
    max_ms: float
    runs: int

    def __str__(self) -> str:
        shown = (self.median_ms, self.min_ms, self.max_ms)
        return "{} ({} to {})".format(*(f"{x:.0f}" if x >= 100 else f"{x:.3g}" for x in shown))


def timed(takes: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, Time]:
    """Time functions in turns, after one call of each."""
    spent: dict[str, list[float]] = {name: [] for name in takes}
    for turn in range(runs + 1):
        for name, take in takes.items():
            started = time.perf_counter()
            take()
            if turn:
                spent[name].append(1000 * (time.perf_counter() - started))
    return {
        name: Time(statistics.median(ms), min(ms), max(ms), len(ms)) for name, ms in spent.items()
    }


def draw(size: int, nuclei: int) -> tuple[list[torch.Tensor], list[Target]]:
    """A batch of whole images with a number of nuclei each, and its targets."""
    source = Synthetic(size=(size, size), count=(nuclei, nuclei), radius=(7.0, 9.0))
    records = [source.read(f"synthetic-train-{i:04d}") for i in range(BATCH)]
    normalize = Percentile()
    images = [to_tensor(normalize(record.image)) for record in records]
    return images, [to_target(record.labels) for record in records]


def build_net(model: str, checkpoint: Path | None) -> torch.nn.Module:
    """The compact net as `karyon train` builds it, or as it was trained."""
    if checkpoint is not None:
        return load(checkpoint).net
    config = compose("train", ["data=synthetic", f"model={model}"])
    build_data(config)  # PA asks for the median box
    torch.manual_seed(0)
    return build(config.model).to(memory_format=torch.channels_last)


def train_step(
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[torch.Tensor],
    targets: list[Target],
) -> None:
    """One step as in training."""
    net.train()
    optimizer.zero_grad()
    sum(net(images, targets).values()).backward()
    optimizer.step()


@torch.inference_mode()
def predict(net: torch.nn.Module, image: torch.Tensor) -> int:
    """Outline one image; gives the number of detections."""
    net.eval()
    return len(net([image])[0]["scores"])


def measure_nets(
    nets: Mapping[str, torch.nn.Module], lr: float, runs: int, progress: Progress
) -> list[dict[str, Any]]:
    """A row for each cell and model: all training steps first, then all inference."""
    task = progress.add_task("nets", total=2 * len(CELLS))
    optimizers = {name: torch.optim.AdamW(net.parameters(), lr) for name, net in nets.items()}
    drawn = {cell: draw(*cell) for cell in CELLS}
    train, test = {}, {}
    for cell, batch in drawn.items():
        steps = {n: partial(train_step, net, optimizers[n], *batch) for n, net in nets.items()}
        train[cell] = timed(steps, runs)
        progress.advance(task)
    rows = []
    for cell, (images, targets) in drawn.items():
        takes = {name: partial(predict, net, images[0]) for name, net in nets.items()}
        test[cell] = timed(takes, runs)
        for name in nets:
            rows.append(
                {
                    "size_px": cell[0],
                    "nuclei": sum(len(target["boxes"]) for target in targets) / BATCH,
                    "model": name,
                    "train": train[cell][name],
                    "train_to_baseline": _ratio(train[cell], name),
                    "test": test[cell][name],
                    "test_to_baseline": _ratio(test[cell], name),
                    "detections": takes[name](),
                }
            )
        progress.advance(task)
    return rows


def _ratio(times: Mapping[str, Time], name: str) -> float:
    return times[name].median_ms / times["baseline"].median_ms


def measure_metrics(runs: int) -> tuple[int, dict[str, Time]]:
    """Each score of a map of 1000 x 1000 px with some 1000 nuclei against itself, shifted."""
    source = Synthetic(size=(1000, 1000), count=(1000, 1000), radius=(8.0, 9.0), overlap=0.1)
    true = source.read("synthetic-train-0000").labels
    pred = np.roll(true, (2, 1), (0, 1))
    target, truth = to_target(pred), torch.from_numpy(true)
    count = len(target["labels"])
    prediction: Any = {**target, "scores": torch.linspace(1, 0, count)}
    thresholds = [i / 20 for i in range(1, 20)]

    def update() -> None:
        every = InstanceScores(thresholds)
        every.update([prediction], [truth])
        every.compute()

    takes: dict[str, Callable[[], Any]] = {
        name: partial(getattr(metrics, name), true, pred) for name in SCORES
    }
    takes[f"InstanceScores, {len(thresholds)} score thresholds"] = update
    return count, timed(takes, runs)


def environment(trained: bool) -> dict[str, Any]:
    """What the times depend on."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "trained": trained,
    }


def table(result: Mapping[str, Any]) -> str:
    """The figures in Markdown."""
    where = ", ".join(f"{key} {value}" for key, value in result["environment"].items())
    head = f"image, nuclei, model, training step of {BATCH} images, to baseline".split(", ")
    head += "inference of 1 image, to baseline, detections".split(", ")
    lines = ["Milliseconds, median (fastest to slowest); compact nets", where, ""]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [
        f"| {row['size_px']} px | {row['nuclei']:g} | {row['model']} | {row['train']} "
        f"| {row['train_to_baseline']:.2f} | {row['test']} | {row['test_to_baseline']:.2f} "
        f"| {row['detections']} |"
        for row in result["nets"]
    ]
    lines += ["", f"| score, {result['nuclei']} nuclei on 1000 x 1000 px | ms |", "|---|---|"]
    lines += [f"| {name} | {taken} |" for name, taken in result["metrics"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print Markdown, write JSON."""
    parser = argparse.ArgumentParser(description="Time nets and metrics; see the top of this file.")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--runs", type=int, default=5, help="timed runs a figure (default 5)")
    parser.add_argument("--baseline", type=Path, help="checkpoint of a trained baseline")
    parser.add_argument("--pa", type=Path, help="checkpoint of a trained PA net")
    options = parser.parse_args()
    checkpoints = {"baseline": options.baseline, "PA": options.pa}
    trained = all(checkpoints.values())
    if any(checkpoints.values()) and not trained:
        parser.error("give both --baseline and --pa, or neither")
    where = environment(trained)
    nets = {name: build_net(model, checkpoints[name]) for name, model in MODELS.items()}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        # A rate of 0 takes as long, and trained weights stay as they are.
        rows = measure_nets(nets, 0.0 if trained else 1e-3, options.runs, progress)
        count, scores = measure_metrics(options.runs)
    result = {"environment": where, "nets": rows, "nuclei": count, "metrics": scores}
    print(table(result), end="")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.output, json.dumps(result, indent=1, default=asdict) + "\n")
        print(options.output, file=sys.stderr)


if __name__ == "__main__":
    main()
