"""Which of two checkpoints a run recommends: the last, or the best of the validations before it.

A score at few labelled nuclei is mostly chance, and recall alone rises with every false detection.
So `best` is recommended only if its validation score is higher by more than one standard error of
the difference. That score is `labelled_score`, which falls with the number of detections, where the
validation is not complete; where it is, mAP, and then the higher one is taken.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """What is recommended.

    Attributes:
        checkpoint: `best` or `last`.
        why: In a few words.
    """

    checkpoint: str
    why: str


def choose(best: Mapping[str, float] | None, last: Mapping[str, float]) -> Choice:
    """Choose by validation scores, each at its own calibrated score threshold.

    Args:
        best: Scores of `best.ckpt`, as `ScoresAt.scores`; None if there is none, or none apart from
            the test.
        last: Scores of the last weights on the same images.
    """
    if best is None:
        return Choice("last", "there is no other that was validated apart from the test images")
    if "labelled_score" not in last:
        better = best.get("map_pooled", 0.0) > last.get("map_pooled", 0.0)
        how = "higher" if better else "not higher"
        return Choice("best" if better else "last", f"mAP of best in validation is {how}")
    if best.get("map_pooled", 0.0) < last.get("map_pooled", 0.0):
        return Choice("last", "mAP of best in the complete areas is lower")
    what = "better at the labelled nuclei of the validation by more than chance"
    if standard_errors(best, last) > 1:
        return Choice("best", what)
    return Choice("last", f"best is not {what}")


def standard_errors(best: Mapping[str, float], last: Mapping[str, float]) -> float:
    """By how many standard errors the logarithm of `labelled_score` differs; above 0: best is.

    `labelled_score` is the mean of R_t^2 n / d over the IoU thresholds t. R, the mean of R_t, is
    that of n nuclei of the share of thresholds at which each is found. Such a share lies in [0, 1],
    so it varies at most as a yes or no of the same mean does, and the variance of log R is at most
    (1 - R) / (n R). That bound is taken; the variance of d, the number of detections, is neglected.
    """
    scores = [one["labelled_score"] for one in (best, last)]
    if not all(map(math.isfinite, scores)) or scores[0] <= 0:
        return -math.inf
    if scores[1] <= 0:
        return math.inf
    variance = 0.0
    for one in (best, last):
        recall, nuclei = one["labelled_recall_pooled"], one["labelled_nuclei"]
        # As if at least half a nucleus were missed: none of a few is no proof of certainty.
        missed = max(1 - recall, 0.5 / nuclei)
        variance += 4 * missed / (nuclei * max(recall, 0.5 / nuclei))
    return math.log(scores[0] / scores[1]) / math.sqrt(variance)


def as_json(choice: Choice) -> dict[str, Any]:
    """Its part of `summary.json`."""
    return {"checkpoint": choice.checkpoint, "why": choice.why}
