"""Scores of instance segmentation: functions of two label maps, and torchmetrics classes.

Names are imported when they are first used: the functions need no torchmetrics, which takes longer
to import than torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from nucleist.metrics.labelled import LabelledScores
    from nucleist.metrics.labelled_counts import labelled_scores
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

_MODULES = {
    "CoarseMask": "coarse",
    "CocoAveragePrecision": "coco",
    "LabelledScores": "labelled",
    "labelled_scores": "labelled_counts",
    "NusetScores": "nuset_scores",
    "PairScores": "pairs",
    "per_image_scores": "per_image",
    **dict.fromkeys(("aggregated_jaccard_index", "mean_average_precision"), "functional"),
    **dict.fromkeys(("mean_f1", "normalized_coverage_score", "panoptic_quality"), "functional"),
    **dict.fromkeys(("pixel_overlap", "precision_recall"), "functional"),
    **dict.fromkeys(("F1", "AggregatedJaccardIndex", "ForegroundOverlap"), "instance"),
    **dict.fromkeys(("InstanceScores", "MeanAveragePrecision"), "instance"),
    **dict.fromkeys(("NormalizedCoverageScore", "NucleusCount", "PanopticQuality"), "instance"),
    **dict.fromkeys(("PrecisionRecall", "instance_metrics"), "instance"),
    **dict.fromkeys(("detection_errors", "missed_and_spurious"), "nuset"),
    **dict.fromkeys(("pixel_classes", "touching_separated"), "nuset"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
