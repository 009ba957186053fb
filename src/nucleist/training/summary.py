"""The end of a run: calibrate, test the last and the best weights, write what came out."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from nucleist.data import NucleiData
from nucleist.files import replacing, write_json
from nucleist.inference.figures import write_test_overlays
from nucleist.inference.pictures import write_figures
from nucleist.models.weights.load import read_file
from nucleist.training.calibration import calibrate
from nucleist.training.callbacks import tell_wandb
from nucleist.training.limits import capped_in, caps_reached, forget_caps, warn_of_caps
from nucleist.training.resume import is_main
from nucleist.training.speed import Speed
from nucleist.training.task import SegmentationTask


@dataclass(frozen=True)
class Tested:
    """What a test found.

    Attributes:
        thresholds: The fixed score threshold, the calibrated one, then those of the curve.
        scores: Every metric at every threshold.
        rows: Scores of each image at the first two.
        capped: Images in which a limit cut what was found, by limit.
    """

    thresholds: tuple[float, ...]
    scores: dict[str, list[float]]
    rows: list[dict[str, Any]]
    capped: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Its part of `summary.json`."""
        capped = {"capped": self.capped} if self.capped else {}
        return {**summarise(self.scores, self.thresholds), **capped}


def finish(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    seconds: float,
) -> None:
    """Calibrate on the kept labels, test, and write the summary.

    Args:
        config: The run's configuration.
        run: Its folder.
        data: Its data.
        task: With the last weights.
        trainer: That trained it.
        seconds: What the training took, validations included.
    """
    calibrate_on_kept(task, data, trainer)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    last = score(task, data, trainer, config.score_threshold)
    measured = measured_speed(trainer)
    best = score_best(config, run, data, task, trainer, last)
    if not is_main():
        return
    summary = {
        "experiment": config.name,
        "seed": config.seed,
        "annotation_fraction": config.data.annotation_fraction,
        "exemplars": config.data.exemplars,
        "crop_fraction": config.data.crop_fraction,
        "labelled_nuclei": data.labelled_nuclei(),
        "steps": int(trainer.global_step),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        **facts(task.net),
        "train_seconds": round(seconds, 1),
        **({"speed": measured} if measured else {}),
        **last.summary(),
        **({"best_checkpoint": best} if best else {}),
    }
    write_results(run, data, task, last)
    tell_wandb(trainer.loggers, summary)
    write_json(run / "summary.json", summary)  # last: it says that the run is finished
    warn_of_caps(capped_in(run), len({row["image"] for row in last.rows}))


def facts(net: Any) -> dict[str, float | None]:
    """What a net says of itself by `facts()`, if it does; null for what it has not."""
    said: dict[str, float] = net.facts() if hasattr(net, "facts") else {}
    return {key: round(v, 6) if math.isfinite(v) else None for key, v in said.items()}


def measured_speed(trainer: pl.Trainer) -> dict[str, Any]:
    """What the trainer's `Speed` has measured so far, empty if it has none."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    meters = [callback for callback in callbacks if isinstance(callback, Speed)]
    return meters[0].measured(trainer.strategy.root_device) if meters else {}


def calibrate_on_kept(task: SegmentationTask, data: NucleiData, trainer: pl.Trainer) -> None:
    """Set the calibrated threshold from the training images and their kept labels.

    A net under binary supervision may not know the single nuclei that this would compare it
    with: its calibrated threshold is the fixed one.
    """
    if data.train_set.supervision == "binary":
        task.calibrated_threshold = task.headline
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
    task.test_at([fixed, calibrated])
    forget_caps(task.net)
    trainer.test(task, datamodule=data, verbose=False)
    capped = caps_reached(task.net)
    return Tested(task.test_thresholds, task.test_scores(), task.rows_per_image(), capped)


def score_best(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    last: Tested,
) -> dict[str, Any] | None:
    """Test `best.ckpt` too, with a calibration of its own.

    If validation and test images are the same, its validation has told the scores already, so
    then it is done only if `test_best` asks for it. The task has its weights back afterwards.

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
        return {"step": step, **last.summary()}
    weights = {key: value.clone() for key, value in task.state_dict().items()}
    threshold = task.calibrated_threshold
    task.load_state_dict(best["state_dict"])
    calibrate_on_kept(task, data, trainer)
    tested = score(task, data, trainer, config.score_threshold)
    task.load_state_dict(weights)
    task.calibrated_threshold = threshold
    return {"step": step, **tested.summary()}


def write_results(run: Path, data: NucleiData, task: SegmentationTask, last: Tested) -> None:
    """Write the curve over thresholds, the scores of each image and the pictures."""
    write_curve(run / "thresholds.csv", last.scores, last.thresholds)
    write_rows(run / "per_image.csv", last.rows)
    figures, threshold = run / "figures", last.thresholds[1]
    figures.mkdir(exist_ok=True)
    write_figures(figures, task.net, data, threshold)
    write_test_overlays(figures / "test", task.net, data, last.rows, threshold)


def summarise(scores: dict[str, list[float]], thresholds: Sequence[float]) -> dict[str, Any]:
    """Test scores at the fixed, the calibrated and, for reference, the best threshold.

    The last one looks at the test labels and is an upper bound, not a result.
    """
    best = max(range(2, len(thresholds)), key=lambda i: scores["map_pooled"][i])
    rows = {"test": 0, "test_calibrated": 1, "test_best_threshold": best}
    return {
        name: {"score_threshold": thresholds[i], **_by_metric(scores, i)}
        for name, i in rows.items()
    }


def _by_metric(scores: dict[str, list[float]], i: int) -> dict[str, dict[str, float]]:
    """`{"map": {"pooled": ..., "per_image": ...}, ...}` at one threshold."""
    names = [key.removesuffix("_pooled") for key in scores if key.endswith("_pooled")]
    return {
        name: {how: round(scores[f"{name}_{how}"][i], 6) for how in ("pooled", "per_image")}
        for name in names
    }


def write_curve(path: Path, scores: dict[str, list[float]], thresholds: Sequence[float]) -> None:
    """Every score at every threshold of the curve, as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["score_threshold", *scores])
        for i in sorted(range(2, len(thresholds)), key=lambda i: thresholds[i]):
            table.writerow([thresholds[i], *(values[i] for values in scores.values())])


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Scores of each test image as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
