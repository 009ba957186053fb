"""The one LightningModule: it trains, validates and tests any net that obeys the contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from nucleist.data.sets import Batch
from nucleist.metrics import (
    CoarseMask,
    InstanceScores,
    LabelledScores,
    NusetScores,
    per_image_scores,
)
from nucleist.metrics.match_counts import counts_row
from nucleist.models.net import Net
from nucleist.ops.labels import at_threshold
from nucleist.types import DivergedError, Prediction, Truth, UserError

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Score thresholds of the curves; a test adds the fixed and the calibrated one."""


@dataclass(frozen=True)
class ScoresAt:
    """Scores of a data set at one score threshold.

    Attributes:
        threshold: Detections with a higher score count.
        scores: `<metric>_pooled` and `<metric>_per_image` of each metric that is defined, and
            what they stand on: `labelled_nuclei`, `unjudged` and `complete_area` of images that
            are not complete.
    """

    threshold: float
    scores: dict[str, float]


@dataclass(frozen=True)
class TestScores:
    """What a test found.

    Attributes:
        fixed: At the fixed score threshold.
        calibrated: At the one that was calibrated on the kept labels.
        curve: At each of `THRESHOLDS`.
        images: Scores of each test image at the first two, by name and threshold; those that are
            defined for it.
        counts: `nucleist.metrics.match_counts.COLUMNS` of each test image that is complete, by name
            and threshold.
    """

    __test__ = False  # not a test of pytest's

    fixed: ScoresAt
    calibrated: ScoresAt
    curve: tuple[ScoresAt, ...]
    images: list[dict[str, Any]]
    counts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> ScoresAt | None:
        """The point of the curve with the highest mAP, if there is one.

        It looks at the test labels: a bound.
        """
        known = [point for point in self.curve if "map_pooled" in point.scores]
        return max(known, key=lambda point: point.scores["map_pooled"], default=None)


def scores_at(thresholds: Sequence[float], *more: Metric) -> MetricCollection:
    """The scores of complete areas, of labelled nuclei and of a coarse mask, if there is one.

    Args:
        thresholds: Score thresholds.
        *more: Further scores at the same thresholds.
    """
    metrics = [InstanceScores(thresholds), LabelledScores(thresholds), CoarseMask(thresholds)]
    return MetricCollection([*metrics, *more], compute_groups=False)


class SegmentationTask(pl.LightningModule):
    """Sum the net's losses in training; score its label maps in evaluation.

    Args:
        net: The net to be trained or tested.
        optimizer: Makes the optimiser from parameter groups.
        schedule: Factor on the learning rate from `(step, total steps)`; None for 1.
        bias_lr_factor: Factor on the learning rate of biases; if it is not 1 they have no
            weight decay either (the paper's recipe).
        score_threshold: Detections with a higher score count in validation.
        config: The run's configuration in plain types, stored in every checkpoint.
        frozen: Names of modules of the net that are not trained, such as `backbone.body`: their
            parameters stay, and batch normalisation in them keeps its statistics.

    Attributes:
        scale: Of the training's nuclei and pixels, stored likewise; see `training.scale`.
    """

    def __init__(
        self,
        net: Net,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] | None = None,
        schedule: Callable[[int, int], float] | None = None,
        bias_lr_factor: float = 1.0,
        score_threshold: float = 0.5,
        config: dict[str, Any] | None = None,
        frozen: Sequence[str] = (),
    ):
        super().__init__()
        self.net = net
        self.frozen = [module_of(net, name).requires_grad_(False).eval() for name in frozen]
        self.optimizer, self.schedule = optimizer, schedule
        self.bias_lr_factor = bias_lr_factor
        self.config = config or {}
        self.only_losses: tuple[str, ...] | None = None  # set by WarmupPhase
        self.skip_others = False
        self.calibrated_threshold: float | None = None
        self.scale: dict[str, float | None] = {}
        self.fixed_threshold = score_threshold
        self.val_metrics = scores_at([score_threshold, *THRESHOLDS])
        self.test_at(score_threshold, score_threshold)

    def test_at(self, fixed: float, calibrated: float) -> None:
        """Score the next test at two thresholds and at those of the curve.

        Args:
            fixed: The fixed score threshold, in [0, 1].
            calibrated: The calibrated one.
        """
        self.test_thresholds = fixed, calibrated
        every = [fixed, calibrated, *THRESHOLDS]
        self.test_metrics = scores_at(every, NusetScores(every)).to(self.device)
        self.test_rows: list[dict[str, Any]] = []
        self.test_counts: list[dict[str, Any]] = []

    def train(self, mode: bool = True) -> "SegmentationTask":
        """Modules that are frozen stay in eval mode."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, images: list[Tensor]) -> list[Prediction]:
        """Predictions of the net for `(3, H, W)` images in [0, 1]."""
        return self.net(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the weighted losses."""
        images, targets, _ = batch
        losses = self._losses(images, targets)
        total = sum(self._weight(name) * loss for name, loss in losses.items())
        assert isinstance(total, Tensor)
        self._log_step(losses, total, len(images))
        if not torch.isfinite(total):
            raise DivergedError(
                f"the loss is {total.item()} at step {self.global_step}; lower optim.optimizer.lr "
                "or raise the warm-up; the last checkpoint is kept"
            )
        return total

    def _losses(self, images: list[Tensor], targets: list[Any]) -> dict[str, Tensor]:
        if self.skip_others:
            return self.net.center_losses(images, targets)
        return self.net(images, targets)

    def _weight(self, name: str) -> float:
        return float(self.only_losses is None or name in self.only_losses)

    def _log_step(self, losses: dict[str, Tensor], total: Tensor, count: int) -> None:
        values = {f"train/{name}": loss.detach() for name, loss in losses.items()}
        values["train/loss"] = total.detach()
        counts = self.net.step_counts()
        values |= {f"train/{name}": number.float() for name, number in counts.items()}
        values["lr"] = torch.tensor(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log_dict(values, batch_size=count)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with the predictions for a batch."""
        images, truth, _ = batch
        self._score(self.val_metrics, self._found(images), truth)

    def _found(self, images: list[Tensor]) -> list[Prediction]:
        return self.net(images) if images else []  # a process may have none

    def on_validation_epoch_end(self) -> None:
        """Log every metric at the fixed threshold, and two at the best threshold."""
        values = self.val_metrics.compute()
        defined = {name: value[0].float() for name, value in values.items() if value[0].isfinite()}
        self.log_dict({f"val/{name}": value for name, value in defined.items()})
        for name in ("map_pooled", "labelled_score"):
            if name in values:
                word = f"val/{name.removesuffix('_pooled')}_best_threshold"
                self.log(word, values[name].nan_to_num(0).max().float())
        self.val_metrics.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with the predictions for a batch."""
        images, truth, ids = batch
        predictions = self._found(images)
        self._score(self.test_metrics, predictions, truth)
        for image_id, prediction, one in zip(ids, predictions, truth, strict=True):
            for threshold in dict.fromkeys(self.test_thresholds):
                found = at_threshold(prediction, threshold)
                scores = per_image_scores(one.labels, found, one.complete, one.known)
                key = {"image": image_id, "score_threshold": threshold}
                self.test_rows.append(key | scores)
                if one.complete is None:
                    self.test_counts.append(key | counts_row(one.labels, found))

    @staticmethod
    def _score(metrics: MetricCollection, found: list[Prediction], truth: list[Truth]) -> None:
        labels, areas = [one.labels for one in truth], [one.complete for one in truth]
        metrics.update(found, labels, areas, known=[one.known for one in truth])

    def test_scores(self) -> TestScores:
        """What the last test found, on all processes."""
        values = self.test_metrics.compute()
        columns = {name: value.double().cpu().tolist() for name, value in values.items()}
        fixed, calibrated, *curve = (
            ScoresAt(threshold, {name: column[i] for name, column in columns.items()})
            for i, threshold in enumerate((*self.test_thresholds, *THRESHOLDS))
        )
        each = (self._of_all(rows) for rows in (self.test_rows, self.test_counts))
        return TestScores(fixed, calibrated, tuple(curve), *each)

    @staticmethod
    def _of_all(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of each test image from all processes, sorted by name and threshold."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, rows)
            rows = [row for part in parts for row in part]
        return sorted(rows, key=lambda row: (row["image"], row["score_threshold"]))

    def configure_optimizers(self) -> Any:
        """Two groups, weights and biases; the schedule acts each step."""
        if self.optimizer is None:
            raise UserError("this task was built for evaluation; give it an optimizer to train")
        named = [(n, p) for n, p in self.net.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": [p for n, p in named if "bias" not in n]}]
        groups.append({"params": [p for n, p in named if "bias" in n]})
        optimizer = self.optimizer(groups)
        if self.bias_lr_factor != 1:
            optimizer.param_groups[1]["lr"] *= self.bias_lr_factor
            optimizer.param_groups[1]["weight_decay"] = 0.0
        if self.schedule is None:
            return optimizer
        schedule, total = self.schedule, int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: schedule(k, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_fit_start(self) -> None:
        """Convolutions are 1.1 to 1.5 times faster with channels last."""
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Everything that prediction needs besides the weights, in plain types."""
        checkpoint["nucleist"] = {
            "config": self.config,
            "calibrated_threshold": self.calibrated_threshold,
            **self.scale,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the calibrated threshold back."""
        self.calibrated_threshold = checkpoint.get("nucleist", {}).get("calibrated_threshold")


def module_of(net: Net, name: str) -> torch.nn.Module:
    """A module of a net by its name.

    Raises:
        UserError: If it has none of this name.
    """
    parts = dict(net.named_modules())
    if not name or name not in parts:
        there = ", ".join(key for key in parts if key and key.count(".") < 2)
        raise UserError(f"frozen={name}: the net has no such module; it has {there}")
    return parts[name]
