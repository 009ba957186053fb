"""The measures of the NuSeT paper over a data set, at several score thresholds at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from nucleist.metrics.counts import LabelMap
from nucleist.metrics.nuset_counts import (
    NUSET_SCORES,
    DetectionErrors,
    NusetCounts,
    count_nuset,
    errors_of,
    touching_pairs,
)
from nucleist.metrics.partial import Area, as_array, batch_of, checked, kept_at
from nucleist.ops.contingency import contingency
from nucleist.types import Prediction

_COLUMNS = len(NusetCounts._fields)


class NusetScores(Metric):
    """Sums of the counts of `nucleist.metrics.nuset`, and the means of the images' own scores.

    A detection counts at a score threshold as in `nucleist.metrics.InstanceScores`. The measures
    are of whole images: if one of them is not complete, there are none at all.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    counts: Tensor
    sums: Tensor
    images: Tensor
    partial: Tensor

    def __init__(self, score_thresholds: Sequence[float] = (0.5,)) -> None:
        """Set up empty sums.

        Args:
            score_thresholds: In [0, 1], at least one; detections with a greater score count.

        Raises:
            ValueError: If a threshold is outside [0, 1] or there is none.
        """
        super().__init__()
        self.score_thresholds = checked(score_thresholds)
        size = len(self.score_thresholds)
        columns = _COLUMNS + len(DetectionErrors._fields)
        counts = torch.zeros(size, columns, dtype=torch.long)
        self.add_state("counts", counts, dist_reduce_fx="sum")
        sums = torch.zeros(size, len(NUSET_SCORES), dtype=torch.double)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        for name in ("images", "partial"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        preds: Sequence[Prediction],
        targets: Sequence[LabelMap],
        complete: Sequence[Area] | None = None,
    ) -> None:
        """Add a batch of images; the arguments are those of `nucleist.metrics.InstanceScores`."""
        for pred, target, area in batch_of(preds, targets, complete):
            self.partial = self.partial + int(area is not None)
            if area is not None:
                continue
            counts, scores = self._count(pred, as_array(target))
            self.counts = self.counts + torch.from_numpy(counts).to(self.counts)
            self.sums = self.sums + torch.from_numpy(scores).to(self.sums)
            self.images = self.images + 1

    def compute(self) -> dict[str, Tensor]:
        """`missed_rate_pooled` and so on, and the numbers of errors, each `(thresholds,)`.

        Empty without images, or if one of them was not complete.
        """
        if self.partial or not self.images:
            return {}
        columns = self.counts.T.cpu().numpy()
        counts = NusetCounts(*columns[:_COLUMNS])
        result = {}
        for i, (name, score) in enumerate(NUSET_SCORES.items()):
            result[f"{name}_pooled"] = torch.from_numpy(score(counts)).to(self.sums)
            result[f"{name}_per_image"] = self.sums[:, i] / self.images
        errors = self.counts[:, _COLUMNS:].unbind(1)
        return result | dict(zip(DetectionErrors._fields, errors, strict=True))

    def _count(self, pred: Prediction, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts and scores of one image, a row for each score threshold."""
        table, near = contingency(target, pred["label_map"]), touching_pairs(target)
        rows = []
        for keep in kept_at(table, pred, self.score_thresholds):
            kept = table.keep_predictions(keep)
            rows.append([*count_nuset(target, pred["label_map"], kept, near), *errors_of(kept)])
        counts = np.array(rows)
        each = NusetCounts(*counts.T[:_COLUMNS])
        return counts, np.stack([score(each) for score in NUSET_SCORES.values()], 1)
