"""How good the coarse mask of a net with two passes is: what its images are normalised by."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from nucleist.metrics.counts import LabelMap
from nucleist.metrics.nuset_counts import NUSET_SCORES, NusetCounts
from nucleist.metrics.partial import Area, batch_of, checked, is_complete_somewhere
from nucleist.types import Prediction

_OBJECTS = (0,) * 6
"""The counts of objects, which a mask has none of."""


class CoarseMask(Metric):
    r"""Mean IU of the coarse mask of a net with two passes, foreground and background.

    .. math:: mIU = \frac{1}{2} \cdot \sum_c \frac{TP_c}{TP_c + FP_c + FN_c}

    The mask is what the first net finds, and the second one's images are normalised by it, see
    `nucleist.models.two_pass`. In the paper the second net depends on it where it is below 0.82.
    Nets with one pass have no such number.

    Metric:
        Names: coarse_mean_iu
        Matching: none, pixels are compared
        Threshold: the first net's own, whatever the score threshold
        Averages: pooled (one count over the pixels of all images) and per image (the paper's);
            pixels outside of what is complete do not count
        Empty: 1 if both masks are empty, the formula if one is
        Range: 0 to 1, higher is better
        Source: Yang et al., PLoS Comput Biol 2020
    """

    is_differentiable: bool = False
    higher_is_better: bool = True
    full_state_update: bool = False

    pixels: Tensor
    total: Tensor
    images: Tensor

    def __init__(self, score_thresholds: Sequence[float] = (0.5,)) -> None:
        """Set up empty sums.

        Args:
            score_thresholds: Only their number counts: results are `(thresholds,)`, all equal.
        """
        super().__init__()
        self.score_thresholds = checked(score_thresholds)
        self.add_state("pixels", torch.zeros(4, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        preds: Sequence[Prediction],
        targets: Sequence[LabelMap],
        complete: Sequence[Area] | None = None,
    ) -> None:
        """Add a batch of images; predictions without `coarse` do not count.

        Args:
            preds: One for each image.
            targets: `(H, W)` integer label maps, 0 background.
            complete: As of `nucleist.metrics.InstanceScores`.
        """
        for pred, target, area in batch_of(preds, targets, complete):
            if "coarse" not in pred or not is_complete_somewhere(area):
                continue
            found = pred["coarse"]
            inside = torch.as_tensor(target, device=found.device) > 0
            if area is not None:
                counts = torch.as_tensor(area, device=found.device)
                found, inside = found[counts], inside[counts]
            kinds = 2 * (~inside).long() + (~found).long()  # both, only true, only found, neither
            pixels = torch.bincount(kinds.flatten(), minlength=4)
            self.pixels = self.pixels + pixels.to(self.pixels)
            self.total = self.total + _mean_iu(pixels)
            self.images = self.images + 1

    def compute(self) -> dict[str, Tensor]:
        """Both averages, each `(thresholds,)` `float64`; empty if nothing counted."""
        if not self.images:
            return {}
        pooled, size = self.total.new_tensor(_mean_iu(self.pixels)), len(self.score_thresholds)
        values = {"pooled": pooled, "per_image": self.total / self.images}
        return {f"coarse_mean_iu_{how}": value.expand(size) for how, value in values.items()}


def _mean_iu(pixels: Tensor) -> float:
    return float(NUSET_SCORES["pixel_mean_iu"](NusetCounts(*_OBJECTS, *pixels.tolist())))
