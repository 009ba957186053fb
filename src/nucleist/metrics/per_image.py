"""Scores of single images: the row of a table, and which images went best and worst."""

from collections.abc import Sequence
from typing import Any

from nucleist.metrics.counts import SCORES, LabelMap, count
from nucleist.metrics.labelled_counts import labelled_scores
from nucleist.metrics.nuset_counts import count_nuset, errors_of, nuset_row
from nucleist.metrics.partial import Area, is_complete_somewhere, within
from nucleist.ops.contingency import contingency

EACH = 2
"""Best and worst images that are chosen, at most, of each."""


def per_image_scores(
    true: LabelMap, pred: LabelMap, area: Area = None, known: LabelMap | None = None
) -> dict[str, float]:
    """One row of a table: all scores of one image that are defined for it.

    Args:
        true: `(H, W)` integer label map, 0 background, with all nuclei of the complete area.
        pred: `(H, W)` integer label map of the detections that count.
        area: `(H, W)` `bool`, where the image is complete; None if it is everywhere.
        known: `(H, W)` integer label map of further labelled nuclei, which are not scored.

    Returns:
        Every score of `SCORES` with `nuclei` and `detections`, unless the image is complete
        nowhere; the measures of NuSeT, if it is complete everywhere, else the scores at labelled
        nuclei.

    Examples:
        >>> import numpy as np
        >>> row = per_image_scores(np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]))
        >>> row["recall"], row["precision"], row["nuclei"], row["detections"]
        (0.5, 1.0, 2.0, 1.0)
    """
    row: dict[str, float] = {}
    table = contingency(true, pred)
    if is_complete_somewhere(area):
        counts = count(within(table, true, pred, area))
        row = {name: float(score(counts)) for name, score in SCORES.items()}
        row |= {"nuclei": float(counts.n_true), "detections": float(counts.n_pred)}
    if area is None:
        return row | nuset_row(count_nuset(true, pred, table), errors_of(table))
    return row | labelled_scores(true, pred, area, known)


def extremes(rows: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows with the highest and with the lowest mAP, at most `EACH` of both, none twice.

    Without any mAP the recall at labelled nuclei takes its place.

    Args:
        rows: Scores of single images, each with `image`; those without a score are left out.

    Returns:
        Pairs of `best` or `worst` and a row; each kind begins with its most extreme row.

    Examples:
        >>> rows = [{"image": name, "map": score} for name, score in (("a", 0.1), ("b", 0.9))]
        >>> [(rank, row["image"]) for rank, row in extremes(rows)]
        [('best', 'b'), ('worst', 'a')]
    """
    key = "map" if any("map" in row for row in rows) else "labelled_recall"
    ordered = sorted((r for r in rows if key in r), key=lambda row: (-row[key], row["image"]))
    best = ordered[: min(EACH, -(-len(ordered) // 2))]
    worst = ordered[::-1][: min(EACH, len(ordered) // 2)]
    return [*(("best", row) for row in best), *(("worst", row) for row in worst)]
