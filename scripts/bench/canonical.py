"""Time and memory of the two forms of the canonical-shape net's maximum over slots.

    nice -n 15 python -m scripts.bench.canonical             two cores, some minutes
    python -m scripts.bench.canonical --runs 5 --threads 2 --batch 8

The plain form evaluates every slot at every point and keeps what the gradient needs. The two-pass
form first finds the slot with the largest value (`nucleist.models.canonical.shape.combine`). Values
and gradients are equal. Each case has a process of its own. Prints a Markdown table.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nucleist.models import canonical_shape, resnet_body
from nucleist.types import BinaryTarget
from scripts.bench.meter import Meter

SIDE, NUCLEI, SLOTS = 128, 12, 128
PATIENCE = 60.0
"""Seconds after which a case ends with the steps done so far."""


class Case(NamedTuple):
    """What is measured in a process.

    Attributes:
        form: `plain`, `two passes` or `encoder alone`.
        point_px: Distance of the points at which the shape is evaluated, pixels.
        batch: Patches of a step.
        runs: Maximum number of timed steps.
        threads: Threads of torch.
        backbone: Name of the encoder.
    """

    form: str
    point_px: int
    batch: int
    runs: int
    threads: int
    backbone: str


class Result(NamedTuple):
    """Median seconds of a training step, and its peak memory without the net's own, in MB.

    On a busy machine CPU time (`cpu`) is more reliable than elapsed time (`wall`).
    """

    wall: float
    cpu: float
    memory_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser("python -m scripts.bench.canonical")
    parser.add_argument("--batch", type=int, default=8, help="patches a step")
    parser.add_argument(
        "--runs", type=int, default=3, help="maximum number of timed steps after a first one"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backbone", default="resnet18")
    given = parser.parse_args(arguments)
    print(
        f"{given.batch} patches of {SIDE} px, {given.backbone}, CPU, {given.threads} thread(s), "
        f"torch {torch.__version__}, median of up to {given.runs} steps (forward and backward)\n"
    )
    print(
        "| form | px a point | points x slots a patch | s a step | CPU s a step | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|")
    for form, point_px in (
        ("encoder alone", 0),
        ("plain", 4),
        ("two passes", 4),
        ("plain", 1),
        ("two passes", 1),
    ):
        case = Case(form, point_px, given.batch, given.runs, given.threads, given.backbone)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(measure, (case,))
        points = f"{(SIDE // point_px) ** 2 * SLOTS:,}" if point_px else "-"
        print(
            f"| {form} | {point_px or '-'} | {points} | {result.wall:.2f} "
            f"| {result.cpu:.2f} | {result.memory_mb:.0f} |",
            flush=True,
        )


def measure(case: Case) -> Result:
    """Time some training steps in this process."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    net = canonical_shape(
        resnet_body(case.backbone),
        point_px=case.point_px or 4,
        two_pass=case.form != "plain",
    ).train()
    images, targets = patches(case.batch)

    def step() -> None:
        net.zero_grad()
        if case.form == "encoder alone":
            torch.stack([part.sum() for part in net.slots(images)]).sum().backward()
        else:
            losses: dict[str, Tensor] = net(images, targets)  # type: ignore[assignment]
            torch.stack(list(losses.values())).sum().backward()

    meter, wall, cpu = Meter("cpu"), [], []
    for _ in range(case.runs + 1):
        started = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
        if len(wall) > 1 and sum(wall) > PATIENCE:
            break
    return Result(statistics.median(wall[1:]), statistics.median(cpu[1:]), meter.peak_mb())


def patches(count: int) -> tuple[list[Tensor], list[BinaryTarget]]:
    """Images of noise with bright discs, and the union of the discs as target."""
    generator = torch.Generator().manual_seed(0)
    rows, cols = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    images: list[Tensor] = []
    targets: list[BinaryTarget] = []
    for _ in range(count):
        x, y, radius = torch.rand(3, NUCLEI, 1, 1, generator=generator)
        away = (cols - SIDE * x) ** 2 + (rows - SIDE * y) ** 2
        mask = (away < (6 + 9 * radius) ** 2).any(0)
        images.append(0.2 * torch.rand(3, SIDE, SIDE, generator=generator) + 0.6 * mask)
        targets.append({"mask": mask.to(torch.uint8), "count": torch.tensor(NUCLEI)})
    return images, targets


if __name__ == "__main__":
    main()
