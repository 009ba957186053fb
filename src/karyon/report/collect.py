"""Read run folders, whatever state they are in: what can be used, and a line on what cannot."""

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from karyon.comparison import read_summary
from karyon.types import UserError

Line = list[tuple[float, float]]

METRICS = {
    "map": "mAP",
    "aji": "AJI",
    "ncs": "NCS",
    "precision": "precision",
    "recall": "recall",
}
"""Columns of the paper's tables and Fig. 4, and their names in print."""

AVERAGES = {"pooled": "pooled", "per_image": "mean over images"}
PARTS = {
    "test": "fixed score threshold",
    "test_calibrated": "calibrated score threshold",
    "test_best_threshold": "best score threshold",
}
"""Parts of a summary, and what their score threshold is."""

NEEDED = ("experiment", "seed", "labelled_nuclei", "test")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it is.
        summary: Its `summary.json`.
        config: Its `config.yaml` as plain values, references not resolved.
        config_text: The same as it is written.
        environment: Its `environment.json`, empty if there is none.
    """

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    config_text: str
    environment: dict[str, Any]

    @property
    def experiment(self) -> str:
        """Name of the experiment, which is also that of the folder above."""
        return str(self.summary["experiment"])

    @property
    def seed(self) -> str:
        """The seed in words."""
        return str(self.summary["seed"])

    def get(self, key: str, default: Any = None) -> Any:
        """A setting by its dotted key: `data.crop_fraction`."""
        node: Any = self.config
        for word in key.split("."):
            if not isinstance(node, dict) or word not in node:
                return default
            node = node[word]
        return node

    def score(self, part: str, metric: str, average: str = "pooled") -> float | None:
        """A figure of the summary, None if it is not there."""
        return number(_at(self.summary, part, metric, average))

    def threshold(self, part: str) -> float | None:
        """The score threshold of a part of the summary."""
        return number(_at(self.summary, part, "score_threshold"))

    def curve(self, column: str) -> Line:
        """A column of `metrics.csv` against the steps done; of a repeated step the last."""
        found = {}
        for row in self._metrics:
            step, value = number(row.get("step")), number(row.get(column))
            if step is not None and value is not None:
                found[step + 1] = value
        return sorted(found.items())

    def thresholds(self, column: str) -> Line:
        """A column of `thresholds.csv` against the score threshold."""
        points = [(number(r.get("score_threshold")), number(r.get(column))) for r in self._steps]
        return sorted((x, y) for x, y in points if x is not None and y is not None)

    def images(self, part: str) -> list[dict[str, Any]]:
        """Rows of `per_image.csv` at the threshold of a part, numbers as numbers."""
        wanted = self.threshold(part)
        if wanted is None:
            return []
        rows = [r for r in self._images if math.isclose(r["score_threshold"] or -1.0, wanted)]
        return [row for row in rows if row.get("aji") is not None and row.get("map") is not None]

    @cached_property
    def _metrics(self) -> list[dict[str, str]]:
        return read_rows(self.folder / "metrics.csv")

    @cached_property
    def _steps(self) -> list[dict[str, str]]:
        return read_rows(self.folder / "thresholds.csv")

    @cached_property
    def _images(self) -> list[dict[str, Any]]:
        rows = read_rows(self.folder / "per_image.csv")
        return [
            {key: value if key == "image" else number(value) for key, value in row.items()}
            for row in rows
            if row.get("image") and row.get("score_threshold")
        ]

    def lacks(self) -> Iterator[str]:
        """One line on each file that should be there and is not."""
        for name, what in (
            ("metrics.csv", "not in the curves against iteration"),
            ("thresholds.csv", "not in the curves against score threshold"),
            ("per_image.csv", "not in the tables and pictures of single images"),
        ):
            if not read_rows(self.folder / name):
                yield f"{self.folder}: no {name}, or nothing in it; {what}"


def find_runs(arguments: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Finished runs in and below folders, and a line on each one that is left out.

    Args:
        arguments: Run folders, or folders that hold some at any depth.

    Returns:
        Runs in the order of their folders' names, each once.

    Raises:
        UserError: If an argument is not there or holds no run, or no run is finished.
    """
    runs: dict[Path, Run] = {}
    notes: list[str] = []
    for argument in arguments:
        folders = list(run_folders(argument))
        if not folders:
            raise UserError(
                f"{argument}: no run folder in it (one with config.yaml); "
                "give folders that karyon train wrote, or a folder that holds them"
            )
        notes += _unfinished_sweep(argument / "sweep.json")
        for folder in folders:
            if folder.resolve() not in runs:
                _read_into(runs, notes, folder)
    if not runs:
        raise UserError(f"{arguments[0]}: no finished run; {notes[0]}")
    return list(runs.values()), notes


def _unfinished_sweep(path: Path) -> list[str]:
    """A line if runs of a sweep are still to be done; those begun have a line of their own."""
    runs = _json(path).get("runs")
    if not isinstance(runs, list):
        return []
    missing = sum(not isinstance(run, dict) or run.get("status") != "done" for run in runs)
    return [f"{path}: {missing} of {len(runs)} runs of the sweep are not done"] if missing else []


def _read_into(runs: dict[Path, Run], notes: list[str], folder: Path) -> None:
    try:
        run = read_run(folder)
    except UserError as error:
        notes.append(f"{error}; left out")
        return
    runs[folder.resolve()] = run
    notes += run.lacks()


def run_folders(top: Path) -> Iterator[Path]:
    """Run folders at or below a folder, sorted; a run folder is not searched further.

    Raises:
        UserError: If it is no folder.
    """
    if not top.is_dir():
        raise UserError(f"{top}: no such folder; give a run folder or one that holds some")
    for place, folders, files in os.walk(top):
        folders.sort()
        if "config.yaml" in files:
            folders.clear()
            yield Path(place)


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        UserError: If the run is not finished, or a file that says what it is is damaged.
    """
    if not (folder / "summary.json").exists():
        raise UserError(f"{folder}: not finished (no summary.json)")
    summary = read_summary(folder)
    if not isinstance(summary, dict) or any(key not in summary for key in NEEDED):
        raise UserError(f"{folder / 'summary.json'}: not the summary of a run")
    path = folder / "config.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable YAML ({_first_line(error)})") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds no settings")
    return Run(folder, summary, config, text, _json(folder / "environment.json"))


def _json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, empty if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by column name; none if it is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _at(node: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
