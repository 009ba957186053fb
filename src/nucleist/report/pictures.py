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
from nucleist.report.settings import is_partial
from nucleist.report.table import Column, Row, Table, shortened
from nucleist.training.finished import APART, LABELLED, Run, number

WIDTH = 1200
"""Largest width of a picture on the page, in pixels."""

SHOWN = {"map": "mAP", "aji": "AJI", **LABELLED}
STANDS = {"labelled_nuclei": "labelled nuclei", "unjudged": "detections not judged"}
COUNTED = {"nuclei": "nuclei", "detections": "detections", **STANDS}
"""Columns of a row of `per_image.csv` that are shown, with their names in print."""

FIGURES = {
    "overlays": "Images, kept labels, ground truth and prediction (Figs. 3 and 6)",
    "center_map": "Centre scores of a training image (Fig. 2)",
    "attention_map": "Attention of the labelled nuclei of a training image (Fig. 1)",
    "canonical_shape": "The canonical shape that was learned, its outline and a circle as large",
}


PARTLY = {"overlays": "Images, labelled nuclei (held-out ones outlined alone) and what was found"}
"""Words where images are not complete."""


class Example(NamedTuple):
    """A test image of a run with its row of `per_image.csv`; `rank` is `best` or `worst`.

    Of a run without a test it is a validation image.
    """

    rank: str
    row: dict[str, Any]
    run: Run

    @property
    def picture(self) -> Path:
        """Where the test of a run writes the overlay."""
        return self.folder / f"{self.row['image']}_overlay.png"

    @property
    def folder(self) -> Path:
        """For overlays of test images, or of validation images of a run without a test."""
        return self.run.folder / "figures" / ("test" if self.run.has_test else "validation")


def examples(group: RunGroup) -> list[Example]:
    """Best and worst images of the first seed that has any, at its calibrated threshold."""
    for run in group.runs:
        rows = run.images("test_calibrated") or run.images("test") or run.images(*APART)
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
        *(Column(name, title, dash=True) for name, title in SHOWN.items()),
        *(Column(name, title, digits=0, dash=True) for name, title in COUNTED.items()),
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
    tested = any(run.has_test for group in benchmark.groups for run in group.runs)
    return Table(
        f"examples_{benchmark.key}",
        f"Best and worst {'test' if tested else 'validation'} images",
        columns,
        tuple(rows),
        tuple(notes),
        headline=False,
        commands=tuple(commands),
    ).without_empty_columns()


def _row(group: RunGroup, example: Example) -> Row:
    figures = [number(example.row.get(key)) for key in (*SHOWN, *COUNTED)]
    names = (group.title, example.run.seed, example.rank, str(example.row["image"]))
    return Row((*names, *figures), group.key)


def _command(missing: Sequence[Example]) -> str:
    ids = [str(example.row["image"]) for example in missing]
    words = [str(missing[0].run.folder), *ids, "-o", str(missing[0].folder), "only=overlay"]
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
            for name, words in (FIGURES | (PARTLY if is_partial(first) else {})).items()
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
    whole = [n for n in SHOWN if n not in LABELLED and n in row]
    known = [f"{SHOWN[name]} {row[name]:.3f}" for name in whole]
    if "labelled_recall_50" in row:
        share, nuclei = row["labelled_recall_50"], row.get("labelled_nuclei", 0)
        known.append(f"{share * nuclei:.0f} of {nuclei:.0f} labelled nuclei found at IoU > 0.5")
        known.append(f"{row.get('unjudged', 0):.0f} detections not judged")
    image = shortened(str(row["image"]))
    return f"{example.rank.capitalize()}: {image}, {', '.join(known)}, seed {example.run.seed}"


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
