r"""Scores of instance segmentation, each a function of two integer label maps.

:math:`G_j` are the true nuclei, :math:`S_k` the predicted ones,
:math:`IoU(G, S) = |G \cap S| / |G \cup S|`. **Edge cases of every score of this module:** if both
maps are empty the score is 1; if one of them is empty it is 0, also where the formula gives 0/0.

The part `Metric` of each docstring is the card of the metric, as `nucleist metrics NAME` prints it
together with the formula; `nucleist.metrics.cards` reads it there.
"""

from collections.abc import Sequence
from typing import NamedTuple

from nucleist.metrics.counts import (
    IOU_THRESHOLDS,
    SCORES,
    TENTHS,
    AjiMatching,
    LabelMap,
    count,
    f1,
    jaccard,
    nothing,
    ratio,
)
from nucleist.ops.contingency import Threshold, contingency, count_matches


class PrecisionRecallF1(NamedTuple):
    """Result of `precision_recall`: shares in [0, 1]."""

    precision: float
    recall: float
    f1: float


class PanopticQualityParts(NamedTuple):
    """Result of `panoptic_quality`: the quality and the two factors whose product it is."""

    pq: float
    sq: float
    rq: float


class PixelOverlap(NamedTuple):
    """Result of `pixel_overlap`: shares in [0, 1]."""

    iou: float
    dice: float


def mean_average_precision(
    true: LabelMap,
    pred: LabelMap,
    thresholds: Sequence[Threshold] = IOU_THRESHOLDS,
    inclusive: bool = False,
) -> float:
    r"""Mean over IoU thresholds of TP / (TP + FP + FN): the mAP of the 2018 Data Science Bowl.

    .. math:: mAP = \frac{1}{|T|} \cdot \sum_{t \in T} \frac{TP_t}{TP_t + FP_t + FN_t}

    This is not COCO's AP: scores are not ranked (see `coco_segm_ap`). `map_best_threshold` is
    the largest pooled value over score thresholds from 0.05 to 0.95. That threshold is chosen on
    the labels that the score is measured on, so it is an upper bound, not a result.

    Metric:
        Names: map, map_best_threshold
        Matching: one to one; above an IoU of 1/2 no nucleus has two partners
        Threshold: IoU > t, strict, compared in integers, for t = 0.50, 0.55, ..., 0.95
        Averages: pooled (TP, FP and FN of all images added at each t) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Caicedo et al., Nature Methods 2019

    Args:
        true: `(H, W)` integer, 0 background.
        pred: `(H, W)` integer, 0 background.
        thresholds: IoUs in [0, 1]. A float stands for the nearest fraction with a denominator
            up to 10 000, so 0.6000000000000001 is 3/5. Up to 1/2 as many pairs as possible are
            matched one to one.
        inclusive: Match at :math:`IoU \ge t`, as COCO, StarDist and Cellpose do.

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 30), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 2:12] = 1  # IoU 80 / 120: above 0.50, 0.55, 0.60, 0.65
        >>> mean_average_precision(true, pred)
        0.4
    """
    table = contingency(true, pred)
    matched = count_matches(table, thresholds, inclusive)
    return float(jaccard(matched, len(table.true_ids), len(table.pred_ids)).mean())


def aggregated_jaccard_index(
    true: LabelMap, pred: LabelMap, matching: AjiMatching = "greedy"
) -> float:
    r"""Aggregated Jaccard index of Kumar et al., each prediction used at most once.

    .. math:: AJI = \frac{\sum_j |G_j \cap S_{*}(j)|}
                         {\sum_j |G_j \cup S_{*}(j)| + \sum_{k \in U} |S_k|}

    :math:`S_{*}(j)` is the partner of nucleus j; a nucleus without a partner adds its area to the
    denominator. :math:`U` are the predictions without a partner. Cellpose divides by the union of
    the foregrounds, which gives larger values.

    Metric:
        Names: aji
        Matching: one to one; true nuclei in the order of their labels, each takes the free
            prediction of highest IoU (ties: lowest label), so the result depends a little
            on that order
        Threshold: none, any overlap counts
        Averages: pooled (pixels of all images added) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Kumar et al., IEEE TMI 2017

    Args:
        true: `(H, W)` integer, 0 background.
        pred: `(H, W)` integer, 0 background.
        matching: `greedy`, or `hungarian` for the largest sum of IoUs (AJI+).

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 30), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 5:15] = 1
        >>> pred[:, 20:25] = 2  # 50 / (150 + 50)
        >>> aggregated_jaccard_index(true, pred)
        0.25
    """
    return float(SCORES["aji"](count(contingency(true, pred), aji_matching=matching)))


def normalized_coverage_score(true: LabelMap, pred: LabelMap) -> float:
    r"""Best IoU of each true nucleus, weighted by area; extra predictions are not penalised.

    .. math:: NCS = \frac{\sum_j |G_j| \cdot \max_k IoU(G_j, S_k)}{\sum_j |G_j|}

    Metric:
        Names: ncs
        Matching: none; one prediction may serve several true nuclei
        Threshold: none, any overlap counts
        Averages: pooled (over the nuclei of all images) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Cicconet et al. 2017, as in eq. 4 of Feng et al., IEEE Access 2019

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> true[:, 20:40] = 2
        >>> pred[:, 0:10] = 1  # (100 * 1 + 200 * 0) / 300
        >>> round(normalized_coverage_score(true, pred), 3)
        0.333
    """
    return float(SCORES["ncs"](count(contingency(true, pred))))


def precision_recall(
    true: LabelMap, pred: LabelMap, threshold: Threshold = 0.5, inclusive: bool = False
) -> PrecisionRecallF1:
    r"""Shares of the predictions that are right and of the nuclei that are found, and their F1.

    .. math:: P = \frac{TP}{TP + FP}, \quad R = \frac{TP}{TP + FN}, \quad
              F_1 = \frac{2\,TP}{2\,TP + FP + FN}

    Where there are nuclei but no predictions, precision is 0; where there are predictions but no
    nuclei, recall is 0.

    Metric:
        Names: precision, recall, f1
        Matching: one to one; above an IoU of 1/2 no nucleus has two partners
        Threshold: IoU > 1/2, strict, compared in integers
        Averages: pooled (TP, FP and FN of all images added) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Feng et al., IEEE Access 2019, for precision and recall of nuclei

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> true[:, 20:40] = 2
        >>> pred[:, 0:10] = 1
        >>> precision, recall, f1 = precision_recall(true, pred)
        >>> precision, recall, round(f1, 3)
        (1.0, 0.5, 0.667)
    """
    counts = count(contingency(true, pred), (threshold,), inclusive)
    return PrecisionRecallF1(*(float(SCORES[name](counts)) for name in PrecisionRecallF1._fields))


def mean_f1(
    true: LabelMap,
    pred: LabelMap,
    thresholds: Sequence[Threshold] = TENTHS,
    inclusive: bool = True,
) -> float:
    r"""F1 of the nuclei, mean over IoU thresholds from 0.1 to 1.0.

    .. math:: F_1^{mean} = \frac{1}{10} \cdot \sum_t \frac{2\,TP_t}{2\,TP_t + FP_t + FN_t}

    At 1.0 only nuclei that agree in every pixel are matched. `f1_50` is the F1 of the threshold
    0.5, the paper's other figure; `f1` differs from it in pairs with an IoU of exactly 1/2, which
    it does not match. A patch without nuclei and without predictions scores 1 at every threshold,
    which raises the mean over patches.

    Metric:
        Names: f1_50, f1_mean
        Matching: one to one, as many pairs as possible at each t (as StarDist does); up to an IoU
            of 1/2 a nucleus can have several candidates
        Threshold: IoU >= t, not strict, compared in integers, for t = 0.1, 0.2, ..., 1.0;
            0.5 for f1_50
        Averages: pooled (TP, FP and FN of all images added at each t) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Costa et al., MIDL 2022

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 30), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 2:12] = 1  # IoU 80 / 120: at 0.1, ..., 0.6
        >>> round(mean_f1(true, pred), 3)
        0.6
    """
    table = contingency(true, pred)
    matched = count_matches(table, thresholds, inclusive)
    return float(f1(matched, count(table)).mean())


def pixel_overlap(true: LabelMap, pred: LabelMap) -> PixelOverlap:
    r"""IoU and Dice of the foregrounds; it does not matter which nucleus a pixel belongs to.

    .. math:: IoU = \frac{|G \cap S|}{|G \cup S|}, \quad
              Dice = \frac{2\,|G \cap S|}{|G| + |S|}

    :math:`G` and :math:`S` are all labelled pixels. Merging or splitting nuclei does not
    change the scores.

    Metric:
        Names: pixel_iou, pixel_dice
        Matching: none, pixels are compared
        Threshold: none
        Averages: pooled (one count over the pixels of all images, the paper's) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Costa et al., MIDL 2022

    Examples:
        >>> import numpy as np
        >>> iou, dice = pixel_overlap(np.array([[1, 1, 2, 0]]), np.array([[0, 5, 5, 5]]))
        >>> iou, round(dice, 3)  # 2 of 4 pixels
        (0.5, 0.667)
    """
    counts = count(contingency(true, pred))
    return PixelOverlap(*(float(SCORES[f"pixel_{name}"](counts)) for name in PixelOverlap._fields))


def panoptic_quality(true: LabelMap, pred: LabelMap) -> PanopticQualityParts:
    r"""Panoptic quality: segmentation quality times recognition quality.

    .. math:: PQ = \frac{\sum_{TP} IoU}{TP + FP/2 + FN/2}
                 = \frac{\sum_{TP} IoU}{TP} \cdot \frac{TP}{TP + FP/2 + FN/2} = SQ \cdot RQ

    SQ without a match is 0. RQ is `f1`.

    Metric:
        Names: pq
        Matching: one to one; above an IoU of 1/2 no nucleus has two partners
        Threshold: IoU > 1/2, strict, compared in integers
        Averages: pooled (IoUs, TP, FP and FN of all images added) and per image
        Empty: 1 if both maps are empty, 0 if one is
        Range: 0 to 1, higher is better
        Source: Kirillov et al., CVPR 2019, eq. 1

    Examples:
        >>> import numpy as np
        >>> true, pred = np.zeros((2, 10, 40), int)
        >>> true[:, 0:10] = 1
        >>> pred[:, 0:8] = 1  # IoU 0.8
        >>> pred[:, 20:30] = 2
        >>> pq, sq, rq = panoptic_quality(true, pred)
        >>> round(pq, 3), sq, round(rq, 3)
        (0.533, 0.8, 0.667)
    """
    counts = count(contingency(true, pred))
    sq = ratio(counts.matched_iou, counts.matched[..., 0], nothing(counts))
    parts = float(SCORES["pq"](counts)), float(sq), float(SCORES["f1"](counts))
    return PanopticQualityParts(*parts)
