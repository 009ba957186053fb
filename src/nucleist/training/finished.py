"""What a finished run left in its folder: scores, curves, single images, settings."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nucleist.report.comparison import read_summary
from nucleist.types import UserError

Line = list[tuple[float, float]]

METRICS = {
    "map": "mAP",
    "aji": "AJI",
    "ncs": "NCS",
    "precision": "precision",
    "recall": "recall",
}
"""Columns of the paper's tables and Fig. 4, and their names in print."""

MORE_METRICS = {
    "f1_50": "F1, IoU ≥ 0.5",
    "f1_mean": "F1, mean over IoU",
    "pixel_iou": "foreground IoU",
    "pixel_dice": "foreground Dice",
}
"""Columns of Table 1b, which the paper does not have."""

AVERAGES = {"pooled": "pooled", "per_image": "mean over images"}
PARTS = {
    "test": "fixed score threshold",
    "test_calibrated": "calibrated score threshold",
    "test_best_threshold": "best score threshold",
}
"""Parts of a summary, and what their score threshold is."""

NEEDED = ("experiment", "seed", "labelled_nuclei", "test")
BEST_CAPPED = ("best_checkpoint", "capped")


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
    def seeds(self) -> tuple[str, str, str]:
        """What its chance depends on: the seed, and those of kept labels and of the order."""
        own = str(self.summary["seed"])
        others = (self.get("data.annotation_seed"), self.get("data.seed"))
        labels, order = (own if s in (None, "${seed}") else str(s) for s in others)
        return own, labels, order

    @property
    def seed(self) -> str:
        """The seed in words, with those of labels and order where they are others."""
        own, labels, order = self.seeds
        words = [own] + ([f"labels {labels}"] if labels != own else [])
        return ", ".join([*words, f"order {order}"] if order != own else words)

    @property
    def is_repeat(self) -> bool:
        """Whether `nucleist reproduce` made it, after another run."""
        words = str(self.environment.get("command", "")).split()
        return words[1:2] == ["reproduce"]

    def capped(self, checkpoint: str = "last") -> dict[str, int]:
        """Limits that cut what the net found in the test, with the number of images."""
        parts = (self.summary, "capped") if checkpoint == "last" else (self.summary, *BEST_CAPPED)
        found = _at(*parts)
        counts = found if isinstance(found, dict) else {}
        return {str(name): int(number(count) or 0) for name, count in counts.items()}

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

    def remarks(self) -> Iterator[str]:
        """One line on each file that should be there and is not, and on limits that were met."""
        for name, what in (
            ("metrics.csv", "not in the curves against iteration"),
            ("thresholds.csv", "not in the curves against score threshold"),
            ("per_image.csv", "not in the tables and pictures of single images"),
        ):
            if not read_rows(self.folder / name):
                yield f"{self.folder}: no {name}, or nothing in it; {what}"
        for checkpoint in ("last", "best"):
            if capped := self.capped(checkpoint):
                words = caps_in_words(capped)
                yield (
                    f"{self.folder}: a limit cut what the {checkpoint} checkpoint found in the "
                    f"test: {words}; its figures may be too low"
                )


def caps_in_words(capped: Mapping[str, int]) -> str:
    """Limits that were met, and in how many images.

    >>> caps_in_words({"pre_nms_top_n=2000": 2, "detections_per_img=100": 1})
    'pre_nms_top_n=2000 in 2 images, detections_per_img=100 in 1 image'
    """
    return ", ".join(
        f"{name} in {count} image{'' if count == 1 else 's'}" for name, count in capped.items()
    )


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
    return Run(folder, summary, config, text, read_json(folder / "environment.json"))


def read_json(path: Path) -> dict[str, Any]:
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
