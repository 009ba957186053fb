"""`karyon train`: compose, train, calibrate, test, and leave a run folder behind."""

import csv
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from karyon.calibration import calibrate
from karyon.cli.caps import caps_reached, forget_caps, warn_of_caps
from karyon.cli.config import build, compose, plain
from karyon.cli.resume import cut_short, is_main, mark_of, prepare, resumable, run_folder
from karyon.data import NucleiData
from karyon.models.weights import load_weights
from karyon.previews import write_figures
from karyon.report.drawing import write_test_overlays
from karyon.runs import environment, find_run, holding, is_finished, write_json, write_text
from karyon.task import SegmentationTask

HELP = """usage: karyon train [experiment=NAME] [group=choice ...] [key=value ...]

  karyon train experiment=bbbc360_25_pa seed=1
  karyon train data=folder data.source.root=my_images model=mask_rcnn_pa
  karyon train data=kumar data.annotation_fraction=0.1 steps=600 val_every=100
  karyon train experiment=bbbc360_25_pa --cfg      print the composed configuration only
  karyon train experiment=bbbc360_25_pa resume=auto    go on where this run was cut
  karyon train -m --help                           many runs: sweeps

groups: data, model, preset, optim, augment, normalize, trainer, callbacks, logger, experiment
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a in ("-m", "--multirun", "--plan") or a.startswith("sweep=") for a in arguments):
        from karyon.cli import sweep

        return sweep.main(arguments)
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    overrides = [a for a in arguments if a != "--cfg"]
    config = compose("train", overrides)
    if "--cfg" in arguments:
        print(OmegaConf.to_yaml(config), end="")
        return 0
    print(train(config))
    return 0


def quiet() -> None:
    """Silence what libraries say about choices that were made on purpose."""
    os.environ.setdefault("PYTORCH_LIGHTNING_SUPPRESS_TIPS", "1")
    for text in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists.*",
        ".*isinstance.treespec.*",
        ".*Experiment logs directory.*",
        ".*LeafSpec.*",
        ".*dataloader is not resumable.*",  # the trainer cannot know that `Draws` is
    ):
        warnings.filterwarnings("ignore", text)
    import logging

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def build_data(config: DictConfig) -> NucleiData:
    """The data module, and the resolver through which a net can ask for the median box."""
    data = build(config.data)
    OmegaConf.register_new_resolver("median_box_size", data.median_box_size, replace=True)
    return data


def train(config: DictConfig) -> Path:
    """Train one net as configured; returns the run folder."""
    quiet()
    resume = prepare(config)
    mark = mark_of(config)
    earlier = find_run(config.runs, config.name, mark) if resume == "auto" else None
    if earlier is not None and is_finished(earlier):
        print(f"{earlier}: is finished already", file=sys.stderr)
        return earlier
    data = build_data(config)
    with open_dict(config):
        config.model = OmegaConf.create(plain(config.model))  # the median box becomes a number
    pl.seed_everything(config.seed, verbose=False)
    net = build(config.model)
    report = load_weights(
        net,
        config.weights,
        config.model.get("backbone", {}).get("name", "compact"),
        rescale_rpn=config.rescale_rpn,
    )
    task = build_task(config, net)
    run = run_folder(config, mark, earlier)
    OmegaConf.register_new_resolver("run_dir", lambda: str(run), replace=True)
    with holding(run, is_main()), cut_short(run):
        if is_main():
            write_record(config, run, data, report.summary())
        fit(config, run, data, task, resume)
    return run


def write_record(config: DictConfig, run: Path, data: NucleiData, loaded: str) -> None:
    """What the run is made of: configuration, versions, kept labels."""
    for part in (run / "checkpoints").glob(".*"):  # of a process that was killed while saving
        part.unlink()
    write_text(run / "config.yaml", OmegaConf.to_yaml(config))
    write_json(run / "environment.json", environment())
    labelled = data.write_manifest(run / "manifest.json")
    print(f"{run}: {labelled} labelled nuclei; {loaded}", file=sys.stderr)


def fit(
    config: DictConfig, run: Path, data: NucleiData, task: SegmentationTask, resume: str | None
) -> None:
    """Train, from a checkpoint on if there is one, and finish."""
    checkpoint = resumable(resume, run, task)
    trainer = build_trainer(config)
    started = time.monotonic()
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    seconds = time.monotonic() - started + getattr(trainer.checkpoint_callback, "before", 0.0)
    finish(config, run, data, task, trainer, seconds)


def build_task(config: DictConfig, net: torch.nn.Module) -> SegmentationTask:
    """The task with the configured optimiser; the configuration travels in its checkpoints."""
    return SegmentationTask(
        net,
        optimizer=build(config.optim.optimizer),
        schedule=build(config.optim.schedule),
        bias_lr_factor=config.optim.bias_lr_factor,
        score_threshold=config.score_threshold,
        config={key: plain(config[key]) for key in ("model", "data", "normalize", "name", "seed")},
    )


def build_trainer(config: DictConfig, **options: Any) -> pl.Trainer:
    """The trainer with its callbacks and loggers."""
    callbacks = [build(node) for node in config.callbacks.values()]
    loggers = [build(node) for node in config.logger.values()]
    return build(config.trainer, callbacks=callbacks, logger=loggers, **options)


def finish(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    trainer: pl.Trainer,
    seconds: float,
) -> None:
    """Calibrate on the kept labels, test the last weights, write the summary."""
    task.net.eval()
    task.calibrated_threshold = calibrate(
        task.net, ((images[0], kept[0]) for images, kept, _ in data.kept_dataloader())
    )
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    task.test_at([config.score_threshold, task.calibrated_threshold])
    forget_caps(task.net)
    trainer.test(task, datamodule=data, verbose=False)
    scores, rows = task.test_scores(), task.rows_per_image()
    reached = caps_reached(task.net)
    if not is_main():
        return
    summary = {
        "experiment": config.name,
        "seed": config.seed,
        "annotation_fraction": config.data.annotation_fraction,
        "exemplars": config.data.exemplars,
        "crop_fraction": config.data.crop_fraction,
        "labelled_nuclei": sum(int(t["labels"].numel()) for t in data.kept_targets()),
        "steps": int(trainer.global_step),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "train_seconds": round(seconds, 1),
        **summarise(scores, task.test_thresholds),
        **({"capped": reached} if reached else {}),
    }
    write_curve(run / "thresholds.csv", scores, task.test_thresholds)
    write_rows(run / "per_image.csv", rows)
    (run / "figures").mkdir(exist_ok=True)
    write_figures(run / "figures", task.net, data, task.calibrated_threshold)
    pictures = run / "figures" / "test"
    write_test_overlays(pictures, task.net, data, rows, task.calibrated_threshold)
    write_json(run / "summary.json", summary)  # last: it says that the run is finished
    warn_of_caps(reached, len({row["image"] for row in rows}))


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
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["score_threshold", *scores])
        for i in sorted(range(2, len(thresholds)), key=lambda i: thresholds[i]):
            table.writerow([thresholds[i], *(values[i] for values in scores.values())])


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Scores of each test image as CSV."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
