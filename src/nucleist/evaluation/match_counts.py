"""What a model finds in some images at many score thresholds, and the best of these."""

from collections.abc import Mapping, Sequence

from nucleist.data.sets import Whole
from nucleist.inference.load import Model
from nucleist.inference.outline import outline
from nucleist.metrics.counts import count
from nucleist.metrics.match_counts import MatchCounts, as_rows, map_of
from nucleist.metrics.partial import kept_at
from nucleist.ops.contingency import contingency

GRID = tuple(round(0.01 * i, 2) for i in range(1, 96))
"""Score thresholds to choose from: 0.01, 0.02, ..., 0.95."""


def match_counts(
    model: Model, images: Mapping[str, Whole], thresholds: Sequence[float]
) -> dict[float, dict[str, MatchCounts]]:
    """Predict each image once and count at every score threshold.

    Args:
        model: A trained model.
        images: Normalised images with all their labels, by id; complete everywhere.
        thresholds: Detections with a higher score count, in [0, 1].

    Returns:
        Counts by threshold and image.

    Raises:
        ValueError: If an image is not complete: what is not labelled is no false detection there.
    """
    found: dict[float, dict[str, MatchCounts]] = {threshold: {} for threshold in thresholds}
    for image_id, whole in images.items():
        if whole.complete is not None:
            raise ValueError(f"Expected complete images, but {image_id!r} is not")
        prediction = outline(model.net, whole.image)
        table = contingency(whole.labels, prediction["label_map"].cpu().numpy())
        choices = kept_at(table, prediction, thresholds)
        for threshold, kept in zip(thresholds, choices, strict=True):
            counts = count(table.keep_predictions(kept))
            found[threshold][image_id] = MatchCounts.of(counts)
    return found


def best_threshold(counts: Mapping[float, Mapping[str, MatchCounts]]) -> float:
    """The score threshold with the highest pooled mAP; of equal ones the middle one.

    Args:
        counts: Of validation images, as `match_counts` returns them.
    """
    scores = {t: float(map_of(as_rows(some.values()).sum(0))) for t, some in counts.items()}
    best = sorted(t for t, score in scores.items() if score == max(scores.values()))
    return best[len(best) // 2]
