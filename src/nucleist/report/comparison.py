"""Runs side by side: curves, tables and the figures beside them, from run folders alone."""

import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.types import UserError

SCORES = ("map", "aji", "ncs", "precision", "recall", "pq")
Line = list[tuple[float, float]]


def read_summary(run: Path) -> dict[str, Any]:
    """The `summary.json` of a finished run.

    Raises:
        UserError: If the run is not finished or the file is damaged.
    """
    path = run / "summary.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: not there; is the run finished?") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON; run the training again") from error


def read_curve(run: Path, column: str = "val/map_pooled") -> Line:
    """A column of `metrics.csv` against the number of steps done."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(column)]
    return [(float(row["step"]) + 1, float(row[column])) for row in rows]


def read_thresholds(run: Path, column: str = "map_pooled") -> Line:
    """A column of `thresholds.csv` against the score threshold."""
    with (run / "thresholds.csv").open(newline="") as file:
        return [(float(r["score_threshold"]), float(r[column])) for r in csv.DictReader(file)]


def spread(values: Sequence[float]) -> str:
    """`mean ± half the range` of a few seeds, the mean alone of one."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {(max(values) - min(values)) / 2:.3f}"


def markdown_table(
    runs: Mapping[str, Sequence[Path]], part: str = "test", average: str = "pooled"
) -> str:
    """One row a model, one column a metric.

    Args:
        runs: Run folders of each model, one a seed.
        part: `test` (fixed threshold), `test_calibrated` or `test_best_threshold`.
        average: `pooled` or `per_image`.
    """
    head = ["model", "labelled nuclei", "score threshold", *SCORES]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, folders in runs.items():
        found = [read_summary(folder) for folder in folders]
        cells = [name, "/".join(dict.fromkeys(str(s["labelled_nuclei"]) for s in found))]
        cells.append(spread([s[part]["score_threshold"] for s in found]))
        cells += [spread([s[part][score][average] for s in found]) for score in SCORES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
