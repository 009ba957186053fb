"""Time nucleist and stock torchvision: `make bench`, `make bench-quick`.

    python -m scripts.bench                          everything, some 12 minutes on two cores
    python -m scripts.bench --quick                  smaller images, fewer runs, 2 minutes
    python -m scripts.bench --parts training --sizes 1000 --nuclei 1000 --preset resnet18
    python -m scripts.bench --baseline runs/NAME/ID --pa runs/NAME/ID

Prints Markdown, and writes it to `bench.md` and all numbers to `bench.json` in `--output`.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from nucleist.files import write_text
from nucleist.training.run import environment
from scripts.bench import bookkeeping, loading, scores, steps
from scripts.bench.report import markdown
from scripts.bench.settings import PARTS, Settings
from scripts.bench.verdicts import overhead, per_nucleus, targets

MEASURES = {
    "bookkeeping": bookkeeping.measure,
    "training": steps.measure_training,
    "inference": steps.measure_inference,
    "metrics": scores.measure,
    "loading": loading.measure,
}
FULL: dict[str, Any] = {"sizes": (256, 360, 1000), "nuclei": (10, 100, 500, 1000), "runs": 5}
QUICK: dict[str, Any] = {"sizes": (256, 512), "nuclei": (100, 400), "runs": 2}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print Markdown and write the files."""
    options = _parser().parse_args(arguments)
    if bool(options.baseline) != bool(options.pa):
        _parser().error("give both --baseline and --pa, or neither")
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_from(options, Path(folder))
        result = measure(settings)
    content = json.dumps(result, indent=1, default=asdict)
    text = markdown(result)
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "bench.json", content + "\n")
    write_text(options.output / "bench.md", text)
    print(text, end="")
    print(options.output / "bench.json", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m scripts.bench", description="Time nucleist.")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer sizes and runs")
    add("--sizes", type=int, nargs="+", help="sides of the images, pixels")
    add("--nuclei", type=int, nargs="+", help="nuclei in an image")
    add("--runs", type=int, help="maximum number of timed runs of a case")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    add("--preset", default="compact", help="preset of the nets (default compact)")
    add("--device", choices=("cpu", "cuda"), help="(default: a GPU if there is one)")
    add("--no-large", action="store_true", help="leave out torchvision where it needs 10 to 20 GB")
    add("--baseline", type=Path, help="run or checkpoint of a trained baseline")
    add("--pa", type=Path, help="run or checkpoint of a trained PA net")
    add("--output", type=Path, default=Path("runs/bench"), help="folder (default runs/bench)")
    return parser


def settings_from(options: argparse.Namespace, folder: Path) -> Settings:
    """Settings from the command line."""
    usual = QUICK if options.quick else FULL
    return Settings(
        sizes=tuple(sorted(options.sizes or usual["sizes"])),
        nuclei=tuple(sorted(options.nuclei or usual["nuclei"])),
        runs=options.runs or usual["runs"],
        parts=tuple(part for part in PARTS if part in options.parts),
        preset=options.preset,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        large=not options.no_large,
        baseline=options.baseline,
        pa=options.pa,
        folder=folder,
    )


def measure(settings: Settings) -> dict[str, Any]:
    """Measure all parts, one after the other."""
    started, load = time.monotonic(), os.getloadavg()[0]
    console = Console(stderr=True)
    result: dict[str, Any] = {"header": {}}
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        for part in settings.parts:
            task = progress.add_task(part, total=None)

            def tick(doing: str, task: Any = task) -> None:
                progress.update(task, description=doing)

            result[part] = list(MEASURES[part](settings, tick))
            progress.update(task, total=1, completed=1)
    result["overhead"] = overhead(result)
    result["per_nucleus"] = per_nucleus(result)
    result["targets"] = targets(result)
    result["header"] = header(settings, load, time.monotonic() - started)
    return result


def header(settings: Settings, load: float, seconds: float) -> dict[str, Any]:
    """What the measurements depend on: versions, machine, load, options."""
    found: dict[str, Any] = {**environment(), **_versions("torchmetrics", "cellpose", "stardist")}
    found["command"] = "python -m scripts.bench " + shlex.join(sys.argv[1:])
    found["cpu"] = f"{_line('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores"
    found["memory"] = _line("/proc/meminfo", "MemTotal")
    found["threads"] = torch.get_num_threads()
    found["device"] = settings.device
    if settings.device.startswith("cuda"):
        found["device"] = torch.cuda.get_device_name(0)
    found["load before and after"] = f"{load:.1f}, {os.getloadavg()[0]:.1f}"
    found["minutes"] = round(seconds / 60, 1)
    found["preset"] = settings.preset
    found["checkpoints"] = [str(p) for p in (settings.baseline, settings.pa) if p]
    out = ", ".join(f"{nuclei} in {size} px" for size, nuclei in settings.left_out)
    found["left out, nuclei do not fit"] = out or "none"
    return found


def _versions(*packages: str) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _line(file: str, key: str) -> str:
    try:
        rows = Path(file).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((row.split(":")[1].strip() for row in rows if row.startswith(key)), "unknown")


if __name__ == "__main__":
    main()
