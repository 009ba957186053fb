"""Scores of instance segmentation: functions of two label maps, and torchmetrics classes."""

from karyon.metrics.functional import (
    aggregated_jaccard_index,
    mean_average_precision,
    normalized_coverage_score,
    panoptic_quality,
    precision_recall,
)
from karyon.metrics.instance import (
    AggregatedJaccardIndex,
    InstanceScores,
    MeanAveragePrecision,
    NormalizedCoverageScore,
    NucleusCount,
    PanopticQuality,
    PrecisionRecall,
    instance_metrics,
    per_image_scores,
)

__all__ = [
    "AggregatedJaccardIndex",
    "InstanceScores",
    "MeanAveragePrecision",
    "NormalizedCoverageScore",
    "NucleusCount",
    "PanopticQuality",
    "PrecisionRecall",
    "aggregated_jaccard_index",
    "instance_metrics",
    "mean_average_precision",
    "normalized_coverage_score",
    "panoptic_quality",
    "per_image_scores",
    "precision_recall",
]
