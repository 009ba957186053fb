"""One training: compose, train, calibrate, test, and leave a run folder behind."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf, open_dict

from nucleist.config.build import build, plain
from nucleist.config.compose import compose
from nucleist.config.settings import overrides_of, what_to_train
from nucleist.config.targets import check_targets
from nucleist.data.leaks import told_in_training
from nucleist.data.module import NucleiData
from nucleist.distributed.place import is_first, place
from nucleist.distributed.watch import watching_others
from nucleist.files import holding, write_json, write_text
from nucleist.inference.load import check_net
from nucleist.models.net import Net
from nucleist.models.weights.load import load_weights
from nucleist.ops.normalize import floor_of
from nucleist.progress import shown
from nucleist.training.callbacks import without_bars
from nucleist.training.checkpoints import seconds_before
from nucleist.training.isolation import isolated
from nucleist.training.overlap import seen_before, weights_file
from nucleist.training.resume import (
    check_resumed,
    cut_short,
    mark_of,
    prepare,
    resumable,
    run_folder,
    unless_refused,
)
from nucleist.training.run import environment, find_run, is_finished
from nucleist.training.scale import scale_of
from nucleist.training.summary import finish
from nucleist.training.task import SegmentationTask
from nucleist.training.worker import is_to_be_started, train_on_devices
from nucleist.types import Progress, Source, UserError

USES = ("train", "val", "test")

LOGGED_SETTINGS = (
    *("name", "seed", "steps", "weights", "score_threshold"),
    *("attention", "model", "data", "optim"),
)
"""Parts of the configuration that loggers get, for tables of runs."""


def train(
    what: str | Path | Source | None = None,
    *,
    overrides: Sequence[str] = (),
    progress: bool | Progress = False,
    **settings: Any,
) -> Path:
    """Train one net.

    >>> run = train("my_images", steps=600)                                # doctest: +SKIP
    >>> run = train("bbbc360_25_pa", seed=1, data={"batch_size": 2})       # doctest: +SKIP

    Args:
        what: A folder of images and labels, the name of an experiment or of a data set, or an
            object that reads images; None for drawn nuclei.
        overrides: Settings in the words of the command line: `["data.exemplars=10"]`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.
        **settings: Settings by key, the same as on the command line; a dict stands for dotted
            keys. With a net (`nucleist.Net`) or reader (`nucleist.Source`) of your own package,
            `model={"_target_": "mypackage.net", "width": 8}, trust="mypackage"`: a dict with
            `_target_`, the class or function, and its arguments takes the place of the default.

    Returns:
        The run folder, which `nucleist.load` takes.

    Raises:
        UserError: If a setting, the data or a file is not what it should be. What is refused
            before the first step leaves no run folder.
    """
    source = what if isinstance(what, Source) else None
    words = [] if isinstance(what, Source) else what_to_train(what)
    words += [*overrides, *overrides_of(settings)]
    config = compose("train", words)
    if source is not None:
        if config.resume == "auto":
            raise UserError(
                "resume=auto: a run on images that an object reads has no hash to find it by; "
                "write resume=FILE with the last.ckpt of that run"
            )
        kind = type(source)
        config.data.source = {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
    return train_config(config, source, progress, shlex.join(["nucleist", "train", *words]))


def train_config(
    config: DictConfig,
    source: Source | None = None,
    progress: bool | Progress = False,
    command: str = "",
) -> Path:
    """Train one net as a composed configuration describes it.

    Args:
        config: Of `conf/train.yaml`.
        source: Reads the images in place of `config.data.source`, which then only names it.
        progress: See `train`.
        command: What does the same from the command line, for the record.

    Returns:
        The run folder.
    """
    with isolated(), watching_others():
        if is_to_be_started(config):
            return train_on_devices(config, source, shown(progress), command)
        return _train(config, source, shown(progress) if is_first() else Progress(), command)


def _train(config: DictConfig, source: Source | None, progress: Progress, command: str) -> Path:
    resume = prepare(config)
    built = [] if source is None else ["data"]  # an object is there already
    parts = [part for part in ("model", "data", "normalize") if part not in built]
    targets = {part: plain_targets(config[part]) for part in parts}
    check_targets(targets, "configuration", config.trust or ())
    mark = mark_of(config)
    earlier = find_run(config.runs, config.name, mark) if resume == "auto" else None
    if earlier is not None and is_finished(earlier):
        progress.note(f"{earlier}: is finished already")
        return earlier
    data = build_data(config, source)
    pl.seed_everything(config.seed, verbose=False)
    task, weights = initial_task(config)
    if resume not in (None, "auto"):
        check_resumed(resume, task)
    data.labelled_nuclei()
    task.scale = scale_of(data)
    here = place()  # the first process reads all images: a folder is made only after that
    data.preload() if is_first() else data.preload(here.rank, here.world)
    top = None if Path(config.runs).exists() else Path(config.runs)
    run = run_folder(config, mark, earlier)
    with (
        unless_refused(run, earlier is None, task, top),
        holding(run, is_first()),
        cut_short(run, progress),
    ):
        if is_first():
            write_record(config, run, data, weights, command, progress)
        fit(config, run, data, task, resume, progress)
    return run


def plain_targets(node: Any) -> Any:
    """A part of a configuration as plain dicts and lists, references as they are written."""
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def build_data(config: DictConfig, source: Source | None = None) -> NucleiData:
    """The data module; references from the model to the data are resolved.

    `median_box` is measured on the kept labels if the model refers to it and it is not given.
    """
    given = {} if source is None else {"source": source}
    data = build(config.data, **given)
    with open_dict(config):
        if "floor" in config.normalize and config.normalize.floor is None:
            measure = build(config.normalize).range_in_noise
            config.normalize.floor = floor_of([measure(r.image) for r in data.labelled_records()])
            data.set_normalize(build(config.normalize))
        if config.median_box is None and "${median_box}" in OmegaConf.to_yaml(config.model):
            config.median_box = data.median_box_size(
                OmegaConf.select(config, "model.transform.min_size"),
                OmegaConf.select(config, "model.transform.scale", default=1.0),
            )
        config.model = OmegaConf.create(plain(config.model))
    return data


def initial_task(config: DictConfig) -> tuple[SegmentationTask, str]:
    """The task with the net's initial weights, and where these are from, in words."""
    net = check_net(build(config.model))
    check_fit(config, net)
    backbone = config.model.get("backbone", {}).get("name", "compact")
    weights = weights_file(config.weights)
    report = load_weights(net, weights, backbone, rescale_rpn=config.rescale_rpn)
    return build_task(config, net), report.summary()


def check_fit(config: DictConfig, net: Net) -> None:
    """Refuse data that are not for a net, before anything is downloaded or written.

    Raises:
        UserError: If the net cannot learn from such targets.
    """
    name, supervision = config.model._target_.rpartition(".")[2], config.data.supervision
    takes = net.can.learns_from
    if supervision not in takes:
        raise UserError(
            f"data.supervision={supervision}: model {name} learns from {' or '.join(takes)} "
            f"targets; set data.supervision={takes[0]}"
        )


def write_record(
    config: DictConfig, run: Path, data: NucleiData, loaded: str, command: str, progress: Progress
) -> None:
    """Write what the run is made of: configuration, versions, kept labels."""
    for part in (run / "checkpoints").glob(".*"):  # of a process that was killed while saving
        part.unlink()
    write_text(run / "config.yaml", OmegaConf.to_yaml(config))
    write_json(run / "environment.json", environment(command, data.training_records()))
    labelled = data.write_manifest(run / "manifest.json")
    odd = data.source.problems()
    if odd:
        more = f", and {len(odd) - 1} more; nucleist data check lists them" if odd[1:] else ""
        progress.warn(f"{odd[0]}{more}")
    is_wrong, line = told_in_training(data.source, {use: data.ids(use) for use in USES})
    if line:
        progress.warn(line) if is_wrong else progress.note(line)
    progress.note(f"{run}: {labelled} labelled nuclei{validated_on(data)}")
    if line := seen_before(weights_file(config.weights), data):
        progress.warn(line)
    progress.detail(loaded)


def validated_on(data: NucleiData) -> str:
    """What is not trained on, in words that follow the number of labelled nuclei."""
    tests = len(data.ids("test"))
    held = data.held_out_nuclei()
    if data.validation == "nuclei":
        parts = [f"{held} more are held out for validation" if held else "none for validation"]
    else:
        count = len(data.ids("val"))
        parts = [f"{count} validation images"] if data.validates_apart else []
        parts += [] if count else ["no validation images"]
    parts.append(
        f"{tests} test images" if tests else "no test image (see data.source.test_fraction)"
    )
    return ", " + ", ".join(parts)


def fit(
    config: DictConfig,
    run: Path,
    data: NucleiData,
    task: SegmentationTask,
    resume: str | None,
    progress: Progress,
) -> None:
    """Train, from a checkpoint on if there is one, and finish."""
    checkpoint = resumable(resume, run, task, progress)
    trainer = build_trainer(config, run, progress)
    logged = {key: plain(config[key]) for key in LOGGED_SETTINGS if key in config}
    for logger in trainer.loggers:
        logger.log_hyperparams(logged)
    started = time.monotonic()
    if task.net.can.trains:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    else:
        measure(trainer, task, data)
    seconds = time.monotonic() - started + seconds_before(trainer)
    finish(config, run, data, task, trainer, seconds, progress)


def measure(trainer: pl.Trainer, task: SegmentationTask, data: NucleiData) -> None:
    """In place of a training, of a net that has nothing to learn: validate it once.

    A training of no steps will not do: DDP refuses a net without parameters.
    """
    trainer.strategy.connect(task)  # a checkpoint is written also where nothing is validated
    if data.holds_out or (data.validation == "images" and data.ids("val")):
        trainer.validate(task, datamodule=data, verbose=False)


def build_task(config: DictConfig, net: Net) -> SegmentationTask:
    """The task with the configured optimiser; the configuration travels in its checkpoints."""
    return SegmentationTask(
        net,
        optimizer=build(config.optim.optimizer),
        schedule=build(config.optim.schedule),
        bias_lr_factor=config.optim.bias_lr_factor,
        score_threshold=config.score_threshold,
        config={key: plain(config[key]) for key in ("model", "data", "normalize", "name", "seed")},
        frozen=config.get("frozen") or (),
    )


def build_trainer(config: DictConfig, run: Path, progress: Progress) -> pl.Trainer:
    """The trainer with its callbacks and loggers, which write into the run folder."""
    own = config.copy()  # the stored configuration has no folder of its own
    own.run_dir = str(run)
    own.trainer.log_every_n_steps = min(own.trainer.log_every_n_steps, own.trainer.max_steps)
    callbacks = without_bars([build(node) for node in own.callbacks.values()], progress)
    loggers = [build(node) for node in own.logger.values()]
    return build(own.trainer, callbacks=callbacks, logger=loggers)
