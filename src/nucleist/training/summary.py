"""The end of a run: calibrate, test the last and the best weights, write what came out."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from nucleist.data.module import NucleiData
from nucleist.distributed.place import is_first
from nucleist.files import replacing, write_json
from nucleist.inference.figures import write_test_overlays
from nucleist.inference.pictures import write_figures
from nucleist.inference.predict import warn_of_limits
from nucleist.models.net import Net
from nucleist.models.weights.load import read_file
from nucleist.training.calibration import calibrate
from nucleist.training.checkpoints import AtomicCheckpoints
from nucleist.training.limits import limits_in, limits_reached
from nucleist.training.loggers import log_summary
from nucleist.training.speed import Speed
from nucleist.training.task import ScoresAt, SegmentationTask, TestScores
from nucleist.types import Progress


@dataclass(frozen=True)
class Tested:
    """Result of testing one set of weights.

    Attributes:
        scores: At every threshold, and of each image.
        limits_reached: Images in which a limit cut what was found, by limit.
    """

    scores: TestScores
    limits_reached: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Its part of `summary.json`."""
        limits = {"limits_reached": self.limits_reached} if self.limits_reached else {}
        return {**summary_of(self.scores), **limits}


def finish(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    seconds: float,
    progress: Progress,
) -> None:
    """Calibrate on the kept labels, test, and write the summary.

    Args:
        config: The run's configuration.
        run: Its folder.
        data: Its data.
        task: With the last weights.
        trainer: That trained it.
        seconds: What the training took, validations included.
        progress: Takes a warning about limits that cut what was found.
    """
    calibrate_on_kept(task, data, trainer)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    last = score(task, data, trainer, config.score_threshold)
    measured = measured_speed(trainer)
    best = score_best(config, run, data, task, trainer, last)
    if not is_first():
        return
    summary = {
        "experiment": config.name,
        "seed": config.seed,
        "annotation_fraction": config.data.annotation_fraction,
        "exemplars": config.data.exemplars,
        "crop_fraction": config.data.crop_fraction,
        "labelled_nuclei": data.labelled_nuclei(),
        "steps": int(trainer.global_step),
        **({"model": task.net.title} if task.net.title else {}),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        **facts(task.net),
        "train_seconds": round(seconds, 1),
        **({"speed": measured} if measured else {}),
        **last.summary(),
        **({"best_checkpoint": best} if best else {}),
    }
    write_results(run, data, task, last.scores)
    log_summary(trainer.loggers, summary)
    write_json(run / "summary.json", summary)  # last: a run with a summary is finished
    images = len({row["image"] for row in last.scores.images})
    warn_of_limits(limits_in(run), images, progress)


def facts(net: Net) -> dict[str, float | None]:
    """The net's own numbers, rounded; None for those that are not defined."""
    return {key: round(v, 6) if math.isfinite(v) else None for key, v in net.facts().items()}


def measured_speed(trainer: pl.Trainer) -> dict[str, Any]:
    """What the trainer's `Speed` has measured so far, empty if it has none."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    meters = [callback for callback in callbacks if isinstance(callback, Speed)]
    return meters[0].measured(trainer.strategy.root_device) if meters else {}


def calibrate_on_kept(task: SegmentationTask, data: NucleiData, trainer: pl.Trainer) -> None:
    """Set the calibrated threshold from the training images and their kept labels.

    A net under binary supervision was not trained to separate nuclei, so that a comparison with
    single nuclei means nothing: its calibrated threshold is the fixed one.
    """
    if data.train_set.supervision == "binary":
        task.calibrated_threshold = task.fixed_threshold
        return
    task.net.eval()
    found = calibrate(
        task.net, ((images[0], kept[0]) for images, kept, _ in data.kept_dataloader())
    )
    # Each process has calibrated for itself, and two GPUs may differ in the last digit.
    task.calibrated_threshold = trainer.strategy.broadcast(found)


def score(task: SegmentationTask, data: NucleiData, trainer: pl.Trainer, fixed: float) -> Tested:
    """Test the task's weights at a fixed and at its calibrated threshold, on all processes."""
    calibrated = fixed if task.calibrated_threshold is None else task.calibrated_threshold
    task.test_at(fixed, calibrated)
    task.net.limits_reached.clear()
    trainer.test(task, datamodule=data, verbose=False)
    return Tested(task.test_scores(), limits_reached(task.net))


def score_best(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    last: Tested,
) -> dict[str, Any] | None:
    """Test `best.ckpt` too, with a calibration of its own.

    If validation and test images are the same, the validation has given the scores already, so
    then it is done only if `test_best` asks for it. Afterwards the task has its own weights again.

    Returns:
        The step it was saved at and its scores, as in the summary; None if it was not tested.
    """
    path = run / "checkpoints" / "best.ckpt"
    wanted = config.get("test_best")
    if wanted is None:
        wanted = data.splits["val"] != data.splits["test"]
    if not wanted or not path.exists():
        return None
    best = read_file(path)
    step = int(best["global_step"])
    if step == trainer.global_step:  # the last weights are the best
        keep_threshold(path, best, task.calibrated_threshold)
        return {"step": step, **last.summary()}
    weights = {key: value.clone() for key, value in task.state_dict().items()}
    threshold = task.calibrated_threshold
    task.load_state_dict(best["state_dict"])
    calibrate_on_kept(task, data, trainer)
    keep_threshold(path, best, task.calibrated_threshold)
    tested = score(task, data, trainer, config.score_threshold)
    task.load_state_dict(weights)
    task.calibrated_threshold = threshold
    return {"step": step, **tested.summary()}


def keep_threshold(path: Path, checkpoint: dict[str, Any], threshold: float | None) -> None:
    """Store a calibrated threshold in a checkpoint that was written before the calibration."""
    if is_first():
        checkpoint["nucleist"]["calibrated_threshold"] = threshold
        AtomicCheckpoints().save_checkpoint(checkpoint, path)


def write_results(run: Path, data: NucleiData, task: SegmentationTask, last: TestScores) -> None:
    """Write the curve over thresholds, the scores of each image and the pictures."""
    write_curve(run / "thresholds.csv", last)
    write_rows(run / "per_image.csv", last.images)
    figures, threshold = run / "figures", last.calibrated.threshold
    figures.mkdir(exist_ok=True)
    write_figures(figures, task.net, data, threshold)
    write_test_overlays(figures / "test", task.net, data, last.images, threshold)


def summary_of(scores: TestScores) -> dict[str, Any]:
    """Test scores at the fixed, the calibrated and, for reference, the best threshold.

    The last one looks at the test labels and is an upper bound, not a result.
    """
    return {
        "test": _by_metric(scores.fixed),
        "test_calibrated": _by_metric(scores.calibrated),
        "test_best_threshold": _by_metric(scores.best),
    }


def _by_metric(at: ScoresAt) -> dict[str, Any]:
    """`{"score_threshold": ..., "map": {"pooled": ..., "per_image": ...}, ...}`."""
    names = [key.removesuffix("_pooled") for key in at.scores if key.endswith("_pooled")]
    return {
        "score_threshold": at.threshold,
        **{
            name: {how: round(at.scores[f"{name}_{how}"], 6) for how in ("pooled", "per_image")}
            for name in names
        },
    }


def write_curve(path: Path, scores: TestScores) -> None:
    """Write every score at every threshold of the curve as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["score_threshold", *scores.fixed.scores])
        for point in scores.curve:
            table.writerow([point.threshold, *point.scores.values()])


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write scores of each test image as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
