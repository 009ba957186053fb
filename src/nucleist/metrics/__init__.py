"""Scores of instance segmentation: functions of two label maps, and torchmetrics classes."""

from nucleist.metrics.coarse import CoarseMask
from nucleist.metrics.coco import CocoAveragePrecision
from nucleist.metrics.functional import (
    aggregated_jaccard_index,
    mean_average_precision,
    mean_f1,
    normalized_coverage_score,
    panoptic_quality,
    pixel_overlap,
    precision_recall,
)
from nucleist.metrics.instance import (
    F1,
    AggregatedJaccardIndex,
    ForegroundOverlap,
    InstanceScores,
    MeanAveragePrecision,
    NormalizedCoverageScore,
    NucleusCount,
    PanopticQuality,
    PrecisionRecall,
    instance_metrics,
)
from nucleist.metrics.labelled import LabelledScores, labelled_scores
from nucleist.metrics.nuset import (
    detection_errors,
    missed_and_spurious,
    pixel_classes,
    touching_separated,
)
from nucleist.metrics.nuset_scores import NusetScores
from nucleist.metrics.pairs import PairScores
from nucleist.metrics.per_image import per_image_scores

__all__ = [
    "F1",
    "AggregatedJaccardIndex",
    "CoarseMask",
    "CocoAveragePrecision",
    "ForegroundOverlap",
    "InstanceScores",
    "LabelledScores",
    "MeanAveragePrecision",
    "NormalizedCoverageScore",
    "NucleusCount",
    "NusetScores",
    "PairScores",
    "PanopticQuality",
    "PrecisionRecall",
    "aggregated_jaccard_index",
    "detection_errors",
    "instance_metrics",
    "labelled_scores",
    "mean_average_precision",
    "mean_f1",
    "missed_and_spurious",
    "normalized_coverage_score",
    "panoptic_quality",
    "per_image_scores",
    "pixel_classes",
    "pixel_overlap",
    "precision_recall",
    "touching_separated",
]
