"""How good an annotation is: recall, precision and mean IoU at an IoU above 1/2."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.bootstrapping.annotator import overlaps
from experiments.bootstrapping.truth import Truth
from nucleist.annotation.things import Thing


class Found(NamedTuple):
    """Counts of one image.

    Attributes:
        nuclei: True ones.
        outlines: Those that count.
        matched: Pairs with an IoU above 1/2; outlines that overlap pair with one nucleus once.
        iou: Sum over the pairs.
    """

    nuclei: int
    outlines: int
    matched: int
    iou: float


def found_in(things: Mapping[str, Thing], truth: Truth, threshold: float | None) -> Found:
    """Count the labelled outlines of an image.

    Args:
        things: What lies on it, by id.
        truth: Its nuclei.
        threshold: Proposals of at least this score count too; None for none.
    """
    best: dict[int, float] = {}
    count = 0
    for one in things.values():
        shown = one.state == "proposed" and threshold is not None and one.score >= threshold
        if not one.is_label and not shown:
            continue
        count += 1
        for number, iou in overlaps(one, truth):
            if iou > 0.5:
                best[number] = max(best.get(number, 0.0), iou)
    return Found(len(truth.nuclei), count, len(best), sum(best.values()))


def added(found: Iterable[Found]) -> dict[str, float]:
    """Recall, precision and mean IoU, the counts of all images added."""
    nuclei, outlines, matched, iou = np.sum([list(one) for one in found], 0)
    return {
        "recall": round(float(matched / nuclei), 5),
        "precision": round(float(matched / outlines), 5) if outlines else 1.0,
        "mean_iou": round(float(iou / matched), 5) if matched else 0.0,
    }
