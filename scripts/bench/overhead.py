"""The time that partial annotation adds to Mask R-CNN: `python -m scripts.bench.overhead`.

Both nets run in turns in one process, with the same planted proposals, and the CPU time of one
thread is measured. Other work on the machine disturbs it less than the times of `make bench`.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from scripts.bench.nets import BASELINE, PA, configs
from scripts.bench.settings import Settings
from scripts.bench.steps import inference, training_step

CELLS = ((360, 100), (1000, 100), (1000, 1000))


def in_turns(calls: dict[str, Callable[[], Any]], runs: int) -> dict[str, list[float]]:
    """CPU seconds of `runs` calls of each function, after a first one that does not count."""
    seconds: dict[str, list[float]] = {kind: [] for kind in calls}
    for run in range(runs + 1):
        for kind, call in calls.items():
            start = time.process_time()
            call()
            if run:
                seconds[kind].append(time.process_time() - start)
    return seconds


def main(runs: int = 9) -> None:
    """Print a Markdown table; each cell has the median and in brackets the minimum."""
    torch.set_num_threads(1)
    meter: Any = SimpleNamespace(device="cpu", start=lambda: None)
    print(f"CPU seconds of one thread, median of {runs} (least)\n")
    print("| px | nuclei | work | Mask R-CNN | PA | overhead |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        sizes, nuclei = (360, 1000), (100, 1000)
        settings = Settings(
            sizes, nuclei, runs, (), "compact", "cpu", False, None, None, Path(folder)
        )
        models = configs(settings)
        for size, count in CELLS:
            files = [settings.drawn(size, count, i) for i in range(settings.batch(size))]
            for work in ("training step", "inference"):
                calls = {
                    kind: training_step(meter, kind, models[kind], None, files)
                    if work == "training step"
                    else inference(meter, kind, models[kind], None, files[0])
                    for kind in (BASELINE, PA)
                }
                found = in_turns(calls, runs)
                one, other = ((statistics.median(v), min(v)) for v in found.values())
                cells = [f"{median:.2f} ({least:.2f})" for median, least in (one, other)]
                more = [f"{100 * (b / a - 1):+.0f} %" for a, b in zip(one, other, strict=True)]
                print(
                    f"| {size} | {count} | {work} | {' | '.join(cells)} | {more[0]} ({more[1]}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
