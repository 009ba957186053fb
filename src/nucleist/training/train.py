"""`nucleist train`: compose, train, calibrate, test, and leave a run folder behind."""

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

from nucleist.config.compose import build, compose, plain
from nucleist.data import NucleiData
from nucleist.distributed.processes import place
from nucleist.files import holding, write_json, write_text
from nucleist.models.weights.load import load_weights
from nucleist.training.resume import (
    check_resumed,
    cut_short,
    is_main,
    mark_of,
    prepare,
    resumable,
    run_folder,
    unless_refused,
)
from nucleist.training.run import environment, find_run, is_finished
from nucleist.training.summary import finish
from nucleist.training.task import SegmentationTask
from nucleist.types import UserError

HELP = """usage: nucleist train [experiment=NAME] [group=choice ...] [key=value ...]

  nucleist train experiment=bbbc360_25_pa seed=1
  nucleist train data=folder data.source.root=my_images model=mask_rcnn_pa
  nucleist train data=kumar data.annotation_fraction=0.1 steps=600 val_every=100
  nucleist train experiment=bbbc360_25_pa --cfg      print the composed configuration only
  nucleist train experiment=bbbc360_25_pa resume=auto    go on where this run was cut
  nucleist train -m --help                           many runs: sweeps
  nucleist train search=pa --help                    search for good settings with Optuna

groups: data, model, preset, optim, augment, normalize, trainer, callbacks, logger, experiment
"""

SETTINGS = (
    *("name", "seed", "steps", "weights", "score_threshold"),
    *("attention", "model", "data", "optim"),
)
"""What loggers are told of the configuration, for tables of runs."""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a.startswith("search=") for a in arguments):
        from nucleist.sweeps import search

        return search.main(arguments)
    if any(a in ("-m", "--multirun", "--plan") or a.startswith("sweep=") for a in arguments):
        from nucleist.sweeps import run as sweep

        return sweep.main(arguments)
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    overrides = [a for a in arguments if a != "--cfg"]
    config = compose("train", overrides)
    if "--cfg" in arguments:
        print(OmegaConf.to_yaml(config), end="")
        return 0
    run = train(config)
    if is_main():
        print(run)
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
    check_fit(config, net)
    report = load_weights(
        net,
        config.weights,
        config.model.get("backbone", {}).get("name", "compact"),
        rescale_rpn=config.rescale_rpn,
    )
    task = build_task(config, net)
    if resume not in (None, "auto"):
        check_resumed(resume, task)
    data.labelled_nuclei()
    here = place()  # the first process looks at all: a folder is made after it has
    data.preload() if is_main() else data.preload(here.rank, here.world)
    top = None if Path(config.runs).exists() else Path(config.runs)
    run = run_folder(config, mark, earlier)
    OmegaConf.register_new_resolver("run_dir", lambda: str(run), replace=True)
    with unless_refused(run, earlier is None, task, top), holding(run, is_main()), cut_short(run):
        if is_main():
            write_record(config, run, data, report.summary())
        fit(config, run, data, task, resume)
    return run


def check_fit(config: DictConfig, net: torch.nn.Module) -> None:
    """Refuse data and weights that are not for a net, before anything is downloaded or written.

    Raises:
        UserError: If the net cannot learn from such targets, or there are no such weights for it.
    """
    name, shown = config.model._target_.rpartition(".")[2], config.data.supervision
    takes = getattr(net, "supervision", ("instances",))
    if shown not in takes:
        raise UserError(
            f"data.supervision={shown}: model {name} learns from {' or '.join(takes)} targets; "
            f"set data.supervision={takes[0]}"
        )
    if config.weights == "coco" and not hasattr(net, "roi_heads"):
        raise UserError(
            f"weights=coco: they are a Mask R-CNN's, not for model {name}; use weights=imagenet "
            "for a ResNet body, weights=null or weights=<file>"
        )


def write_record(config: DictConfig, run: Path, data: NucleiData, loaded: str) -> None:
    """What the run is made of: configuration, versions, kept labels."""
    for part in (run / "checkpoints").glob(".*"):  # of a process that was killed while saving
        part.unlink()
    write_text(run / "config.yaml", OmegaConf.to_yaml(config))
    write_json(run / "environment.json", environment(data.training_records()))
    labelled = data.write_manifest(run / "manifest.json")
    alone = data.source.problems() if hasattr(data.source, "problems") else []
    if alone:
        more = f", and {len(alone) - 1} more; nucleist data check lists them" if alone[1:] else ""
        print(f"nucleist: warning: {alone[0]}{more}", file=sys.stderr)
    print(f"{run}: {labelled} labelled nuclei; {loaded}", file=sys.stderr)


def fit(
    config: DictConfig, run: Path, data: NucleiData, task: SegmentationTask, resume: str | None
) -> None:
    """Train, from a checkpoint on if there is one, and finish."""
    checkpoint = resumable(resume, run, task)
    trainer = build_trainer(config)
    known = {key: plain(config[key]) for key in SETTINGS if key in config}
    for logger in trainer.loggers:
        logger.log_hyperparams(known)
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
