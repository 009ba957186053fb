"""Reads the folder of a finished run: scores, curves, scores of single images, settings."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nucleist.files import read_json, read_json_if_there
from nucleist.types import UserError

Line = list[tuple[float, float]]
"""Points (x, value), x ascending."""

METRICS = {
    "map": "mAP",
    "aji": "AJI",
    "ncs": "NCS",
    "precision": "precision",
    "recall": "recall",
}
"""Columns of the paper's tables and of its Fig. 4, with their names in print."""

MORE_METRICS = {
    "f1_50": "F1, IoU ≥ 0.5",
    "f1_mean": "F1, mean over IoU",
    "pixel_iou": "foreground IoU",
    "pixel_dice": "foreground Dice",
}
"""Columns of Table 1b, which is not in the paper, with their names in print."""

LABELLED = {
    "labelled_recall_50": "labelled nuclei found, IoU > 0.5",
    "labelled_recall": "labelled recall, mean over IoU",
    "labelled_iou": "labelled IoU",
    "boundary_distance": "boundary distance, px",
}
"""Scores where images are not complete, with their names in print; they have both averages."""

EVIDENCE = {
    "labelled_nuclei": "labelled nuclei scored",
    "unjudged": "detections not judged",
    "complete_area": "complete share of the area",
    "complete_nuclei": "nuclei in the complete area",
}
"""What scores stand on where images are not complete, with the names in print; single numbers."""

AVERAGES = {"pooled": "pooled", "per_image": "mean over images"}
PARTS = {
    "test": "fixed score threshold",
    "test_calibrated": "calibrated score threshold",
    "test_best_threshold": "best score threshold",
}
"""Parts of a summary, with their kind of score threshold."""

APART = {"validation": "no test, validation at the calibrated threshold"}
"""What takes their place in runs without test images."""

NEEDED = ("experiment", "seed", "labelled_nuclei")
"""Keys that the summary of a run has at least."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its folder.
        summary: Content of `summary.json`.
        config: Content of `config.yaml` as plain values; references are not resolved.
        config_text: The text of `config.yaml`.
        environment: Content of `environment.json`, empty if there is none.
    """

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    config_text: str
    environment: dict[str, Any]

    @property
    def experiment(self) -> str:
        """Name of the experiment, which is also the name of the folder above."""
        return str(self.summary["experiment"])

    @property
    def seeds(self) -> tuple[str, str, str]:
        """The seed of the run, that of the kept labels and that of the order of images."""
        own = str(self.summary["seed"])
        others = (self.get("data.annotation_seed"), self.get("data.seed"))
        labels, order = (own if s in (None, "${seed}") else str(s) for s in others)
        return own, labels, order

    @property
    def seed(self) -> str:
        """The seed in words, followed by those of labels and order where they differ from it."""
        own, labels, order = self.seeds
        words = [own] + ([f"labels {labels}"] if labels != own else [])
        return ", ".join([*words, f"order {order}"] if order != own else words)

    @property
    def is_repeat(self) -> bool:
        """Whether it is the repetition of another run by `nucleist reproduce`."""
        words = str(self.environment.get("command", "")).split()
        return words[1:2] == ["reproduce"]

    def limits_reached(self, checkpoint: str = "last") -> dict[str, int]:
        """Limits on the number of detections that were reached in the test.

        Args:
            checkpoint: `last` or `best`.

        Returns:
            Number of images by the name of the limit: `{"detections_per_img=1000": 2}`.
        """
        part = () if checkpoint == "last" else ("best_checkpoint",)
        found = _at(self.summary, *part, "limits_reached")
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

    @property
    def has_test(self) -> bool:
        """Whether there were test images."""
        return any(part in self.summary for part in PARTS)

    @property
    def parts(self) -> list[str]:
        """The parts of the summary that have scores: those of the test, else the validation."""
        return [part for part in (PARTS if self.has_test else APART) if part in self.summary]

    def evidence(self, part: str, name: str) -> float | None:
        """What the scores of a part stand on, a key of `EVIDENCE`; None if it is not there."""
        return number(_at(self.summary, part, name))

    def score(self, part: str, metric: str, average: str = "pooled") -> float | None:
        """A score of the summary; None if it is not there.

        Args:
            part: A key of `PARTS` or `APART`.
            metric: A key of `METRICS`, `MORE_METRICS` or `LABELLED`, or another score.
            average: A key of `AVERAGES`.
        """
        return number(_at(self.summary, part, metric, average))

    def threshold(self, part: str) -> float | None:
        """The score threshold of a part of the summary; None if it is not there."""
        return number(_at(self.summary, part, "score_threshold"))

    def curve(self, column: str) -> Line:
        """A column of `metrics.csv` against the number of steps done.

        A step that was logged twice, after a resumed training, has its last value.
        """
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
        """Rows of `per_image.csv` at the score threshold of a part, with numbers as `float`.

        A row has only what is defined for its image; one without a score is left out.
        """
        wanted = self.threshold(part)
        if wanted is None:
            return []
        rows = [r for r in self._images if math.isclose(r.get("score_threshold", -1.0), wanted)]
        return [row for row in rows if {"aji", "map"} <= row.keys() or "labelled_recall" in row]

    @cached_property
    def _metrics(self) -> list[dict[str, str]]:
        return read_rows(self.folder / "metrics.csv")

    @cached_property
    def _steps(self) -> list[dict[str, str]]:
        return read_rows(self.folder / "thresholds.csv")

    @cached_property
    def _images(self) -> list[dict[str, Any]]:
        rows = read_rows(self.folder / "per_image.csv")
        found = [
            {key: value if key == "image" else number(value) for key, value in row.items()}
            for row in rows
            if row.get("image") and row.get("score_threshold")
        ]
        return [{k: v for k, v in row.items() if v is not None} for row in found]

    def remarks(self) -> Iterator[str]:
        """A line on each file that is missing or empty, and on limits that were reached."""
        for name, what in (
            ("metrics.csv", "the curves against iteration"),
            ("thresholds.csv", "the curves against score threshold"),
            ("per_image.csv", "the tables and pictures of single images"),
        ):
            if not read_rows(self.folder / name):
                yield f"{self.folder}: no {name}, or nothing in it; the run is not in {what}"
        for checkpoint in ("last", "best"):
            if reached := self.limits_reached(checkpoint):
                yield (
                    f"{self.folder}: the test of the {checkpoint} checkpoint reached a limit: "
                    f"{limits_in_words(reached)}; detections beyond it are missing, so its scores "
                    "may be too low"
                )


def limits_in_words(reached: Mapping[str, int]) -> str:
    """Limits that were reached, and in how many images.

    Examples:
        >>> limits_in_words({"pre_nms_top_n=2000": 2, "detections_per_img=100": 1})
        'pre_nms_top_n=2000 in 2 images, detections_per_img=100 in 1 image'
    """
    return ", ".join(
        f"{name} in {count} image{'' if count == 1 else 's'}" for name, count in reached.items()
    )


def read_run(folder: Path) -> Run:
    """Read the folder of a finished run.

    Args:
        folder: The folder with `config.yaml` and `summary.json`.

    Raises:
        UserError: If the run is not finished, or one of these two files is damaged.
    """
    path = folder / "summary.json"
    if not path.exists():
        raise UserError(f"{folder}: not finished (no summary.json); finish the training")
    summary = read_json(path, "run the training again")
    if missing := [key for key in NEEDED if key not in summary]:
        raise UserError(f"{path}: not the summary of a run (no key {missing[0]!r})")
    path = folder / "config.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable YAML ({_first_line(error)})") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds no settings")
    return Run(folder, summary, config, text, read_json_if_there(folder / "environment.json"))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by the names of its columns; none if it is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def number(value: Any) -> float | None:
    """A finite number from a number or its text; None for anything else."""
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
