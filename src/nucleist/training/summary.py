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
from nucleist.training.choice import Choice, as_json, choose
from nucleist.training.limits import limits_in, limits_reached
from nucleist.training.loggers import log_summary
from nucleist.training.speed import Speed
from nucleist.training.task import ScoresAt, SegmentationTask, TestScores
from nucleist.types import Progress


@dataclass(frozen=True)
class Tested:
    """What testing one set of weights gave.

    Attributes:
        test: On the test images, at every threshold and of each image; None without test images.
        validation: Likewise on what the training was validated on, if that is not the test.
        limits_reached: Images in which a limit cut what was found, by limit.
    """

    test: TestScores | None
    validation: TestScores | None
    limits_reached: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Its part of `summary.json`."""
        limits = {"limits_reached": self.limits_reached} if self.limits_reached else {}
        test = summary_of(self.test) if self.test else {}
        apart = self.validation
        validation = {"validation": by_metric(apart.calibrated)} if apart else {}
        return {**test, **validation, **limits}


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
    step, best = score_best(config, run, data, task, trainer, last)
    if not is_first():
        return
    summary = {
        "experiment": config.name,
        "seed": config.seed,
        "annotation_fraction": config.data.annotation_fraction,
        "exemplars": config.data.exemplars,
        "crop_fraction": config.data.crop_fraction,
        **({} if data.annotation.policy == "random" else {"policy": data.annotation.policy}),
        "labelled_nuclei": data.labelled_nuclei(),
        **({"held_out_nuclei": data.held_out_nuclei()} if data.holds_out else {}),
        "steps": int(trainer.global_step),
        **({"model": task.net.title} if task.net.title else {}),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        **facts(task.net),
        "train_seconds": round(seconds, 1),
        **({"speed": measured} if measured else {}),
        **last.summary(),
        **({"best_checkpoint": {"step": step, **best.summary()}} if best else {}),
        "recommended": as_json(recommended(last, best)),
    }
    write_results(run, data, task, last)
    log_summary(trainer.loggers, summary)
    write_json(run / "summary.json", summary)  # last: a run with a summary is finished
    shown = last.test or last.validation
    images = len({row["image"] for row in shown.images}) if shown else 0
    warn_of_limits(limits_in(run), images, progress)


def recommended(last: Tested, best: Tested | None) -> Choice:
    """Which checkpoint to use."""
    if best is last:
        return Choice("last", "it is the best in validation too")
    apart = best.validation.calibrated.scores if best and best.validation else None
    return choose(apart, last.validation.calibrated.scores if last.validation else {})


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
        task.net,
        ((images[0], kept[0].labels) for images, kept, _ in data.kept_dataloader()),
        data.holds_out,
    )
    # Each process has calibrated for itself, and two GPUs may differ in the last digit.
    task.calibrated_threshold = trainer.strategy.broadcast(found)


def score(task: SegmentationTask, data: NucleiData, trainer: pl.Trainer, fixed: float) -> Tested:
    """Test the task's weights at a fixed and at its calibrated threshold, on all processes."""
    calibrated = fixed if task.calibrated_threshold is None else task.calibrated_threshold
    task.net.limits_reached.clear()
    apart = test = None
    if data.validates_apart:
        task.test_at(fixed, calibrated)
        trainer.test(task, dataloaders=data.val_dataloader(), verbose=False)
        apart = task.test_scores()
    if data.ids("test"):
        task.net.limits_reached.clear()
        task.test_at(fixed, calibrated)
        trainer.test(task, datamodule=data, verbose=False)
        test = task.test_scores()
    return Tested(test, apart, limits_reached(task.net))


def score_best(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    last: Tested,
) -> tuple[int, Tested | None]:
    """Test `best.ckpt` too, with a calibration of its own.

    If validation and test images are the same, the validation has given the scores already, so
    then it is done only if `test_best` asks for it. Afterwards the task has its own weights again.

    Returns:
        The step it was saved at, and what the test gave: `last` itself if the last weights are the
        best, None if it was not tested.
    """
    path = run / "checkpoints" / "best.ckpt"
    wanted = config.get("test_best")
    if wanted is None:
        wanted = data.validates_apart
    if not wanted or not path.exists():
        return 0, None
    best = read_file(path)
    step = int(best["global_step"])
    if step == trainer.global_step:
        keep_threshold(path, best, task.calibrated_threshold)
        return step, last
    weights = {key: value.clone() for key, value in task.state_dict().items()}
    threshold = task.calibrated_threshold
    task.load_state_dict(best["state_dict"])
    calibrate_on_kept(task, data, trainer)
    keep_threshold(path, best, task.calibrated_threshold)
    tested = score(task, data, trainer, config.score_threshold)
    task.load_state_dict(weights)
    task.calibrated_threshold = threshold
    return step, tested


def keep_threshold(path: Path, checkpoint: dict[str, Any], threshold: float | None) -> None:
    """Store a calibrated threshold in a checkpoint that was written before the calibration."""
    if is_first():
        checkpoint["nucleist"]["calibrated_threshold"] = threshold
        AtomicCheckpoints().save_checkpoint(checkpoint, path)


def write_results(run: Path, data: NucleiData, task: SegmentationTask, last: Tested) -> None:
    """Write the curve over thresholds, the scores of each image and the pictures.

    Without test images they are those of the validation.
    """
    figures, shown = run / "figures", last.test or last.validation
    threshold = 0.5 if task.calibrated_threshold is None else task.calibrated_threshold
    figures.mkdir(exist_ok=True)
    write_figures(figures, task.net, data, threshold)
    if shown:
        write_curve(run / "thresholds.csv", shown)
        write_rows(run / "per_image.csv", shown.images)
    if last.test and last.test.counts:
        groups = data.source.groups()
        rows = [{"image": r["image"], "group": groups[r["image"]]} | r for r in last.test.counts]
        write_rows(run / "match_counts.csv", rows)
    if last.test:
        write_test_overlays(figures / "test", task.net, data, last.test.images, threshold)


def summary_of(scores: TestScores) -> dict[str, Any]:
    """Test scores at the fixed, the calibrated and, for reference, the best threshold.

    The last one looks at the test labels and is an upper bound, not a result.
    """
    best = scores.best
    return {
        "test": by_metric(scores.fixed),
        "test_calibrated": by_metric(scores.calibrated),
        **({"test_best_threshold": by_metric(best)} if best else {}),
    }


def by_metric(at: ScoresAt) -> dict[str, Any]:
    """`{"score_threshold": ..., "map": {"pooled": ..., "per_image": ...}, ...}`.

    What is not defined is left out; what has one value for all images has no averages.
    """
    found: dict[str, Any] = {"score_threshold": at.threshold}
    for key, value in at.scores.items():
        if not math.isfinite(value):
            continue
        name = key.removesuffix("_pooled").removesuffix("_per_image")
        if name == key:
            found[name] = round(value, 6) if value % 1 else int(value)
        else:
            how = key.removeprefix(f"{name}_")
            found.setdefault(name, {})[how] = round(value, 6)
    return found


def write_curve(path: Path, scores: TestScores) -> None:
    """Write every score at every threshold of the curve as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["score_threshold", *scores.fixed.scores])
        for point in scores.curve:
            table.writerow([point.threshold, *point.scores.values()])


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write scores of each image as CSV; a cell is empty where a score is not defined."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        table.writerows(rows)
