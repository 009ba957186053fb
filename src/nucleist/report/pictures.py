"""Pictures from the run folders: the best and the worst test images, overlays, maps.

The test of a run leaves `figures/test/<image id>_overlay.png`; `nucleist figures` writes the same.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from nucleist.files import replacing
from nucleist.metrics.per_image import extremes
from nucleist.report.charts import Chart
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.table import Column, Row, Table, shortened
from nucleist.training.finished import Run, number

WIDTH = 1200
"""Largest width of a picture on the page, in pixels."""

FIGURES = {
    "overlays": "Images, kept labels, ground truth and prediction (Figs. 3 and 6)",
    "center_map": "Centre scores of a training image (Fig. 2)",
    "attention_map": "Attention of the labelled nuclei of a training image (Fig. 1)",
    "canonical_shape": "The canonical shape that was learned, its outline and a circle as large",
}


class Example(NamedTuple):
    """A test image of a run with its row of `per_image.csv`; `rank` is `best` or `worst`."""

    rank: str
    row: dict[str, Any]
    run: Run

    @property
    def picture(self) -> Path:
        """Where the test of a run writes the overlay."""
        return self.run.folder / "figures" / "test" / f"{self.row['image']}_overlay.png"


def examples(group: RunGroup) -> list[Example]:
    """Best and worst images of the first seed that has any, at its calibrated threshold."""
    for run in group.runs:
        rows = run.images("test_calibrated") or run.images("test")
        if found := [Example(rank, row, run) for rank, row in extremes(rows)]:
            return found
    return []


def example_table(benchmark: Benchmark) -> Table:
    """Best and worst images of every model, with a command where a picture is missing."""
    columns = (
        Column("model", "model"),
        Column("seed", "seed"),
        Column("rank", "rank"),
        Column("image", "image"),
        *(Column(name, title) for name, title in (("map", "mAP"), ("aji", "AJI"))),
        *(Column(name, name, digits=0) for name in ("nuclei", "detections")),
    )
    rows, commands = [], []
    for group in benchmark.groups:
        found = examples(group)
        rows += [_row(group, example) for example in found]
        missing = [example for example in found if not example.picture.is_file()]
        if missing:
            commands.append(_command(missing))
    notes = ["Calibrated score threshold, last checkpoint, the first seed of each model."]
    if commands:
        notes.append("Pictures are missing; draw them and make the report again:")
    return Table(
        f"examples_{benchmark.key}",
        "Best and worst test images",
        columns,
        tuple(rows),
        tuple(notes),
        headline=False,
        commands=tuple(commands),
    )


def _row(group: RunGroup, example: Example) -> Row:
    figures = [number(example.row.get(key)) for key in ("map", "aji", "nuclei", "detections")]
    names = (group.title, example.run.seed, example.rank, str(example.row["image"]))
    return Row((*names, *figures), group.key)


def _command(missing: Sequence[Example]) -> str:
    run = missing[0].run.folder
    ids = [str(example.row["image"]) for example in missing]
    words = [str(run), *ids, "-o", f"{run}/figures/test", "only=overlay"]
    return shlex.join(["nucleist", "figures", *words])


def pictures(
    benchmark: Benchmark, folder: Path, notes: list[str]
) -> list[tuple[RunGroup, list[Chart]]]:
    """Copies of the pictures of every model's runs, reduced to `WIDTH`.

    Args:
        benchmark: Models on the same images.
        folder: For the JPEG files.
        notes: A line on each picture that cannot be read is added.
    """
    found = []
    for group in benchmark.groups:
        jobs = [(e.picture, _caption(e), str(e.row["image"])) for e in examples(group)]
        first = group.runs[0]
        jobs += [
            (first.folder / "figures" / f"{name}.png", f"{words}, seed {first.seed}", "")
            for name, words in FIGURES.items()
        ]
        charts = []
        for source, words, full in jobs:
            target = folder / f"{group.key}_{source.stem}.jpg"
            if source.is_file() and _shrink(source, target, notes):
                charts.append(Chart(target, words, "", full))
        found.append((group, charts))
    return found


def _caption(example: Example) -> str:
    row = example.row
    scores = f"mAP {row['map']:.3f}, AJI {row['aji']:.3f}"
    image = shortened(str(row["image"]))
    return f"{example.rank.capitalize()}: {image}, {scores}, seed {example.run.seed}"


def _shrink(source: Path, target: Path, notes: list[str]) -> bool:
    try:
        with Image.open(source) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        notes.append(f"{source}: not a readable picture ({type(error).__name__}); left out")
        return False
    if small.width > WIDTH:
        height = max(round(small.height * WIDTH / small.width), 1)
        small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
    with replacing(target) as part:
        small.save(part, format="JPEG", quality=80, optimize=True)
    return True
