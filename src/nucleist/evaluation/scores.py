"""Scores of a model or of label images, and the files they are written to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleist.files import make_folder, write_json
from nucleist.training.summary import write_curve, write_rows
from nucleist.training.task import TestScores


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on a data set, or of label images.

    Attributes:
        summary: As `summary.json`: of a model `test`, `test_calibrated` and, where there is mAP,
            `test_best_threshold`, each with every metric that is defined, pooled and as the mean
            over images; of label images the metrics themselves.
        images: Scores of each image.
        curve: Scores at every score threshold; None for label images, which have no scores.
        checkpoint: The checkpoint that was scored; None for label images.
    """

    summary: Mapping[str, Any]
    images: Sequence[dict[str, Any]]
    curve: TestScores | None = None
    checkpoint: Path | None = None

    def write(self, folder: str | Path) -> Path:
        """Write `summary.json`, `per_image.csv` and, of a model, `thresholds.csv`.

        Raises:
            UserError: If a file cannot be written.
        """
        output = make_folder(folder)
        write_json(output / "summary.json", self.summary)
        write_rows(output / "per_image.csv", self.images)
        if self.curve is not None:
            write_curve(output / "thresholds.csv", self.curve)
        return output
