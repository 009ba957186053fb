"""Scores of single images: the row of a table, and which images went best and worst."""

from collections.abc import Sequence
from typing import Any

from nucleist.metrics.counts import SCORES, LabelMap, count
from nucleist.ops.contingency import contingency

EACH = 2
"""Best and worst images that are chosen, at most, of each."""


def per_image_scores(true: LabelMap, pred: LabelMap) -> dict[str, float]:
    """One row of a table: all scores of one image, and `nuclei` and `detections`.

    Args:
        true: `(H, W)` integer label map with all nuclei, 0 background.
        pred: `(H, W)` integer label map of the detections that count.

    Examples:
        >>> import numpy as np
        >>> row = per_image_scores(np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]))
        >>> row["recall"], row["precision"], row["nuclei"], row["detections"]
        (0.5, 1.0, 2.0, 1.0)
    """
    counts = count(contingency(true, pred))
    scores = {name: float(score(counts)) for name, score in SCORES.items()}
    return scores | {"nuclei": float(counts.n_true), "detections": float(counts.n_pred)}


def extremes(rows: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows with the highest and with the lowest mAP, at most `EACH` of both, none twice.

    Args:
        rows: Scores of single images, each with `image` and `map`.

    Returns:
        Pairs of `best` or `worst` and a row; each kind begins with its most extreme row.

    Examples:
        >>> rows = [{"image": name, "map": score} for name, score in (("a", 0.1), ("b", 0.9))]
        >>> [(rank, row["image"]) for rank, row in extremes(rows)]
        [('best', 'b'), ('worst', 'a')]
    """
    ordered = sorted(rows, key=lambda row: (-row["map"], row["image"]))
    best = ordered[: min(EACH, -(-len(ordered) // 2))]
    worst = ordered[::-1][: min(EACH, len(ordered) // 2)]
    return [*(("best", row) for row in best), *(("worst", row) for row in worst)]
