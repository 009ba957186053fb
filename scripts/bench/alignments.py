"""The time of mask targets and pasting by their alignment: `python -m scripts.bench.alignments`.

Both alignments run in turns in one process, on the same synthetic image and jittered true boxes,
and the CPU time of one thread is measured.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nucleist.ops.masks import ALIGNMENTS, mask_targets, paste_label_map
from scripts.bench.bookkeeping import POSITIVES, SIDE
from scripts.bench.overhead import in_turns
from scripts.bench.planted import SEED, jittered
from scripts.bench.settings import Settings, load

CELLS = ((360, 100), (1000, 100), (1000, 1000))
REPEATS = 5


def work_of(label_map: Tensor, boxes: Tensor) -> dict[str, Callable[[str], Any]]:
    """Targets of a training image and pasting of a prediction, as functions of the alignment."""
    size, count = label_map.shape[-1], len(boxes)
    generator = torch.Generator().manual_seed(SEED)
    chosen = torch.arange(POSITIVES) % count
    positives = jittered(boxes[chosen], 1, size, generator)
    found = jittered(boxes, 1, size, generator)
    numbers = torch.arange(count)
    masks = {way: mask_targets(label_map, found, numbers, SIDE, way)[:, None] for way in ALIGNMENTS}

    def targets(way: str) -> None:
        for _ in range(REPEATS):
            mask_targets(label_map, positives, chosen, SIDE, way)

    def paste(way: str) -> None:
        for _ in range(REPEATS):
            paste_label_map(masks[way], found, (size, size), alignment=way)

    return {f"targets of {POSITIVES} boxes": targets, f"pasting of {count} masks": paste}


def main(runs: int = 15) -> None:
    """Print a Markdown table: ms a call and the ratio, medians, and in brackets of the fastest."""
    torch.set_num_threads(1)
    print(f"CPU ms of one thread, median of {runs} (least)\n")
    print("| px | nuclei | work | torchvision | exact | ratio |\n|---|---|---|---|---|---|")
    sizes, nuclei = zip(*CELLS, strict=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            sizes, nuclei, runs, (), "compact", "cpu", False, None, None, Path(folder)
        )
        for size, count in CELLS:
            target = load(settings.drawn(size, count))[1]
            for name, work in work_of(target["label_map"], target["boxes"]).items():
                seconds = in_turns({way: partial(work, way) for way in ALIGNMENTS}, runs)
                ms = {way: [1000 * s / REPEATS for s in found] for way, found in seconds.items()}
                old, new = (
                    (statistics.median(v), min(v)) for v in (ms["torchvision"], ms["exact"])
                )
                cells = [f"{median:.2f} ({least:.2f})" for median, least in (old, new)]
                ratio = f"{new[0] / old[0]:.2f} ({new[1] / old[1]:.2f})"
                print(f"| {size} | {count} | {name} | {' | '.join(cells)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
