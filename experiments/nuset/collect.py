"""The table and the pictures of touching nuclei, from what `run.py` has left.

python experiments/nuset/collect.py RUNS TARGET   # results.md, results.csv, touching.png
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rows import ROWS, Row
from score import data_of

from nucleist import load
from nucleist.files import read_json
from nucleist.metrics.nuset_counts import touching_pairs
from nucleist.plots.contours import draw_contours, to_display
from nucleist.report.table import OverSeeds

PAPER_SECONDS = 1.98
POOLED = {"touching_separated": "touching separated", "missed_rate": "F.N. rate"}
POOLED |= {"spurious_rate": "F.P. rate"}
NUMBERS = {"correct": "correct", "incorrect": "incorrect", "split": "splits", "merge": "merges"}
NUMBERS |= {"catastrophe": "catastrophes", "missed": "missed", "gained": "gained"}
PIXELS = {"pixel_mean_iu": "mean IU", "pixel_mean_f1": "mean F1", "pixel_rmse": "RMSE"}
PIXELS |= {"pixel_accuracy": "accuracy"}
ALSO = {"map": "mAP", "aji": "AJI"}
PLACES, SIDE, ZOOM = 5, 56, 4
"""Pictures, their side in pixels, and how much they are enlarged."""


def entries(runs: Path, row: Row) -> dict[str, dict[str, Any]]:
    """What was measured of a row, by seed."""
    found = {}
    for path in sorted(runs.glob(f"{row.training}_*.json")):
        seed = path.stem.removeprefix(f"{row.training}_")
        if seed.isdigit():
            whole = read_json(path, "score it again")
            found[seed] = {**whole, **whole["rows"][row.title]}
    return found


def numbers_of(entry: dict[str, Any]) -> dict[str, float]:
    """Every score by its name in print."""
    scores = entry["scores"]
    row = {title: scores[name]["pooled"] for name, title in (POOLED | ALSO).items()}
    row |= {title: entry["numbers"][name] for name, title in NUMBERS.items()}
    row |= {title: scores[name]["per_image"] for name, title in PIXELS.items()}
    return row


def columns() -> list[str]:
    return [*ALSO.values(), *POOLED.values(), *NUMBERS.values(), *PIXELS.values()]


def table(runs: Path) -> list[str]:
    """The table in Markdown."""
    speed = read_json(runs / "speed.json", "measure it again")
    unit = speed.get("Mask R-CNN, compact")
    heads = ["", *columns(), "steps", "parameters", "s/Mpx", "of Mask R-CNN"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in ROWS:
        found = entries(runs, row)
        if not found:
            continue
        each = [numbers_of(entry) for entry in found.values()]
        cells = [row.title]
        for column in columns():
            digits = 0 if column in NUMBERS.values() else 3
            cells.append(str(OverSeeds(tuple(float(one[column]) for one in each), digits)))
        for key in ("steps", "parameters"):
            cells.append(str(OverSeeds(tuple(float(e[key]) for e in found.values()), 0)))
        own = speed.get(row.title)
        cells.append("" if own is None else f"{own:.2f}")
        cells.append("" if own is None or not unit else f"{own / unit:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def notes(runs: Path) -> list[str]:
    """What was chosen on the validation images, and the coarse masks."""
    lines = []
    for row in ROWS:
        for seed, entry in entries(runs, row).items():
            chosen = entry["chosen"]
            words = ", ".join(f"{key}={value}" for key, value in chosen["options"].items())
            words = ", ".join(filter(None, [words, f"threshold {chosen['score_threshold']:.2f}"]))
            coarse = entry.get("coarse")
            more = f"; mean IU of the coarse mask {coarse['per_image']:.3f}" if coarse else ""
            lines.append(f"- {row.title}, seed {seed}: {words}{more}")
    return lines


def write_rows(runs: Path, path: Path) -> None:
    """A line for each row and seed."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "seed", *columns(), "steps", "train_seconds", "parameters"])
        for row in ROWS:
            for seed, entry in entries(runs, row).items():
                own = numbers_of(entry)
                values = [round(own[column], 6) for column in columns()]
                about = [entry[key] for key in ("steps", "train_seconds", "parameters")]
                writer.writerow([row.title, seed, *values, *about])


def places(records: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Image and corner of windows with most touching nuclei, one an image, sorted by name."""
    best = []
    for name, record in records.items():
        touching = np.unique(touching_pairs(record.labels))
        if not len(touching):
            continue
        inside = np.isin(record.labels, touching)
        ys, xs = (np.arange(0, max(side - SIDE, 1), 8) for side in inside.shape)
        counts = {
            (y, x): len(
                np.unique(
                    record.labels[y : y + SIDE, x : x + SIDE] * inside[y : y + SIDE, x : x + SIDE]
                )
            )
            for y in ys
            for x in xs
        }
        place = max(counts, key=lambda corner: (counts[corner], -corner[0], -corner[1]))
        best.append((counts[place], name, *map(int, place)))
    return sorted((name, y, x) for _, name, y, x in sorted(best, reverse=True)[:PLACES])


def picture(image: np.ndarray, labels: np.ndarray, y: int, x: int) -> np.ndarray:
    """A window with outlines, enlarged."""
    window = (slice(y, y + SIDE), slice(x, x + SIDE))
    shown, cut = (
        np.kron(a, np.ones((ZOOM, ZOOM), a.dtype)) for a in (image[window], labels[window])
    )
    return draw_contours(np.repeat(shown[..., None], 3, 2), cut)


def test_records(runs: Path) -> dict[str, Any]:
    """The test images, by name."""
    first = read_json(next(iter(sorted(runs.glob("*_[0-9]*.json")))), "score it again")
    data = data_of(load(first["run"], device="cpu"))
    return {name: data.record(name) for name in data.ids("test")}


def about(records: dict[str, Any]) -> str:
    """What the table stands on."""
    nuclei = sum(len(np.unique(record.labels)) - 1 for record in records.values())
    touching = sum(len(np.unique(touching_pairs(record.labels))) for record in records.values())
    return f"{len(records)} test images with {nuclei} nuclei, of which {touching} touch another."


def draw(runs: Path, records: dict[str, Any], path: Path) -> None:
    """A column for each place, a row for the truth and each method, of the first seed."""
    shown = [(i, row, min(entries(runs, row))) for i, row in enumerate(ROWS) if entries(runs, row)]
    chosen = places(records)
    gray = {name: to_display(records[name].image)[..., 0] for name, _, _ in chosen}
    lines = [("truth", [records[name].labels for name, _, _ in chosen])]
    for number, row, seed in shown:
        with np.load(runs / f"{row.training}_{seed}.npz") as arrays:
            lines.append((row.title, [arrays[f"{number}:{name}"] for name, _, _ in chosen]))
    side, gap, left = SIDE * ZOOM, 6, 260
    sheet = Image.new(
        "RGB", (left + len(chosen) * (side + gap), len(lines) * (side + gap)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for r, (title, maps) in enumerate(lines):
        pen.text((6, r * (side + gap) + side // 2), title, fill="black")
        for c, ((name, y, x), labels) in enumerate(zip(chosen, maps, strict=True)):
            tile = Image.fromarray(picture(gray[name], labels, y, x))
            sheet.paste(tile, (left + c * (side + gap), r * (side + gap)))
    sheet.save(path)


def main(runs: Path, target: Path) -> None:
    records, lines = test_records(runs), table(runs)
    seconds = f"s/Mpx: seconds of one core a megapixel; the paper's GPU takes {PAPER_SECONDS}."
    how = f"{about(records)} Mean over seeds ± half the range. {seconds}"
    chosen = ["Chosen on the validation images:", "", *notes(runs)]
    text = ["# NuSeT on BBBC038", "", *lines, "", how, "", *chosen]
    (target / "results.md").write_text("\n".join(text) + "\n")
    write_rows(runs, target / "results.csv")
    draw(runs, records, target / "touching.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
