"""Words for images in which some nuclei have no label, and how many detections are not judged.

There a label map is no ground truth: a detection on no labelled nucleus may well be right.
"""

from collections.abc import Sequence

import numpy as np

from nucleist.metrics.labelled_counts import labelled_scores


def is_partial(complete: np.ndarray | None) -> bool:
    """Whether nuclei without a label may be in an image.

    Args:
        complete: `(H, W)` `bool`, where every nucleus is labelled; None: everywhere.
    """
    return complete is not None and not complete.all()


def where_words(complete: np.ndarray | None) -> str:
    """Where an image is complete; empty if it is everywhere.

    Examples:
        >>> where_words(np.array([[True, False]])), where_words(None)
        ('complete only inside the green outline', '')
    """
    if complete is None or complete.all():
        return ""
    return "complete only inside the green outline" if complete.any() else "not complete"


def labelled_words(labelled: int, held: int = 0, left_out: int = 0) -> str:
    """How many nuclei are labelled, and what of them training did not see.

    Examples:
        >>> labelled_words(10), labelled_words(8, 2), labelled_words(4, 1, 5)
        ('labelled: 10', '8 labelled, 2 held out', '4 labelled, 1 held out, 5 left out')
    """
    if not held and not left_out:
        return f"labelled: {labelled}"
    more = [f", {count} {word}" for count, word in ((held, "held out"), (left_out, "left out"))]
    return f"{labelled} labelled" + "".join(m for m in more if not m.startswith(", 0 "))


def counted_words(found: int, unjudged: int) -> str:
    """How many nuclei were found, and of how many nobody knows whether they are right.

    Examples:
        >>> counted_words(188, 171), counted_words(3, 0)
        ('found: 188, 171 of them not judged', 'found: 3')
    """
    return f"found: {found}" + (f", {unjudged} of them not judged" if unjudged else "")


def unjudged(
    known: Sequence[np.ndarray], prediction: np.ndarray, complete: np.ndarray | None
) -> int:
    """Number of detections on no labelled nucleus and outside of the complete area.

    Args:
        known: `(H, W)` integer label maps; a nucleus has the same number in all that have it.
        prediction: `(H, W)` integer label map of the detections.
        complete: `(H, W)` `bool`, where every nucleus is labelled; None: everywhere.
    """
    labels = np.zeros(prediction.shape, np.int32)
    for one in known:
        labels = np.where(labels > 0, labels, one)
    return int(labelled_scores(labels, prediction, complete)["unjudged"])
