r"""The measures of the NuSeT paper (Yang et al., PLoS Comput Biol 2020), which count errors.

Splits and merges follow the scheme the paper cites for its names (Moen et al., DeepCell, 2019).
:math:`G_j` are the true nuclei, :math:`S_k` the predicted ones. Where the paper and its code do not
define something, the card of the metric does.
"""

from typing import NamedTuple

from nucleist.metrics.counts import LabelMap
from nucleist.metrics.nuset_counts import NUSET_SCORES, DetectionErrors, count_nuset, errors_of
from nucleist.ops.contingency import contingency


class MissedAndSpurious(NamedTuple):
    """Result of `missed_and_spurious`: shares of the number of true nuclei."""

    missed_rate: float
    spurious_rate: float


class PixelClasses(NamedTuple):
    """Result of `pixel_classes`: numbers in [0, 1]."""

    mean_iu: float
    mean_f1: float
    accuracy: float
    rmse: float


def detection_errors(true: LabelMap, pred: LabelMap) -> DetectionErrors:
    r"""Correct objects, and the errors by kind: missed, gained, split, merge, catastrophe.

    Pairs of IoU above 0.6 are correct. The other objects are joined where their IoU is at least
    0.1, and each group of joined objects is one event: one true nucleus alone is missed, one
    prediction alone is gained, one of each is one missed and one gained; one true nucleus with
    several predictions is a split; one prediction with several true nuclei is a merge; several of
    both are a catastrophe. `incorrect` are all predictions that are not correct.

    Metric:
        Names: correct, incorrect, missed, gained, split, merge, catastrophe
        Matching: one to one; above an IoU of 0.6 no nucleus has two partners
        Threshold: correct at IoU > 0.6, strict; joined at IoU >= 0.1, not strict; in integers
        Averages: none, numbers over all images
        Empty: all 0
        Range: 0 and up; lower is better, except for correct
        Source: Yang et al., PLoS Comput Biol 2020, after Moen et al., DeepCell, 2019

    Examples:
        >>> import numpy as np
        >>> true = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 2]])
        >>> pred = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 3]])
        >>> errors = detection_errors(true, pred)
        >>> errors.correct, errors.incorrect, errors.split
        (1, 2, 1)
    """
    return errors_of(contingency(true, pred))


def missed_and_spurious(true: LabelMap, pred: LabelMap) -> MissedAndSpurious:
    r"""Nuclei of which no prediction covers 70 %, and predictions of which no nucleus does.

    .. math:: missed = \frac{|\{j : \max_k |G_j \cap S_k| < 0.7 |G_j|\}|}{n_{true}}, \quad
              spurious = \frac{|\{k : \max_j |G_j \cap S_k| < 0.7 |S_k|\}|}{n_{true}}

    Both are divided by the number of true nuclei, as in the paper, so the second may exceed 1.
    The paper does not define what the second 70 % are a share of; here it is the prediction, so
    that a prediction over two nuclei is spurious.

    Metric:
        Names: missed_rate, spurious_rate
        Matching: none; one object may cover several
        Threshold: covered at a share >= 0.7, not strict, compared in integers
        Averages: pooled (over the nuclei of all images, the paper's) and per image
        Empty: 0 if both maps are empty, 1 if one is
        Range: 0 to 1, spurious_rate 0 and up; lower is better
        Source: Yang et al., PLoS Comput Biol 2020

    Examples:
        >>> import numpy as np
        >>> true = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
        >>> pred = np.array([[1, 1, 1, 0, 3, 0, 0, 4]])
        >>> missed_and_spurious(true, pred)
        MissedAndSpurious(missed_rate=0.5, spurious_rate=0.5)
    """
    counts = count_nuset(true, pred)
    return MissedAndSpurious(*(float(NUSET_SCORES[n](counts)) for n in MissedAndSpurious._fields))


def touching_separated(true: LabelMap, pred: LabelMap) -> float:
    r"""Share of the touching nuclei that have a prediction of their own.

    The paper does not define touching and separated. Here a nucleus touches each nucleus that has
    a pixel at most 2 pixels from one of its own (Euclidean). It is separated if the prediction that
    shares most pixels with it (ties: lowest label) covers half of it or more, and is not the one
    that shares most with a nucleus it touches.

    Metric:
        Names: touching_separated
        Matching: each true nucleus takes the prediction with the largest overlap
        Threshold: half of the nucleus is covered, not strict, compared in integers
        Averages: pooled (over the touching nuclei of all images, the paper's) and per image
        Empty: 1 if no nuclei touch; 0 if some do and there is no prediction
        Range: 0 to 1, higher is better
        Source: Yang et al., PLoS Comput Biol 2020

    Examples:
        >>> import numpy as np
        >>> true = np.array([[1, 1, 2, 2, 0, 0, 0, 3]])
        >>> pred = np.array([[1, 1, 1, 0, 0, 0, 0, 2]])
        >>> touching_separated(true, pred)  # 1 and 2 have the same prediction, 3 touches none
        0.0
    """
    return float(NUSET_SCORES["touching_separated"](count_nuset(true, pred)))


def pixel_classes(true: LabelMap, pred: LabelMap) -> PixelClasses:
    r"""Foreground and background as two classes: mean IU, mean F1, accuracy, RMSE.

    .. math:: mIU = \frac{1}{2} \cdot \sum_c \frac{TP_c}{TP_c + FP_c + FN_c}, \quad
              F_1 = \frac{1}{2} \cdot \sum_c \frac{2\,TP_c}{2\,TP_c + FP_c + FN_c}, \quad
              RMSE = \sqrt{1 - accuracy}

    A class that is absent from both maps scores 1. The paper's code pools the mean IU.

    Metric:
        Names: pixel_mean_iu, pixel_mean_f1, pixel_accuracy, pixel_rmse
        Matching: none, pixels are compared
        Threshold: none
        Averages: pooled (one count over the pixels of all images) and per image (the paper's)
        Empty: 1 and RMSE 0 if both maps are empty; the formula if one is
        Range: 0 to 1, higher is better, RMSE lower
        Source: Yang et al., PLoS Comput Biol 2020

    Examples:
        >>> import numpy as np
        >>> scores = pixel_classes(np.array([[1, 1, 2, 0]]), np.array([[0, 5, 5, 5]]))
        >>> scores.mean_iu, scores.accuracy  # foreground 2 of 4, background 0 of 2
        (0.25, 0.5)
    """
    counts = count_nuset(true, pred)
    return PixelClasses(
        *(float(NUSET_SCORES[f"pixel_{name}"](counts)) for name in PixelClasses._fields)
    )
