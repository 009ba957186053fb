"""Scores of a trained model on the test images of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.config.settings import data_overrides
from nucleist.config.targets import Trust, check_targets, trusted
from nucleist.data.module import NucleiData
from nucleist.distributed.place import is_first
from nucleist.evaluation.scores import Evaluation
from nucleist.evaluation.worker import evaluate_on_devices
from nucleist.inference.load import Model, load
from nucleist.inference.predict import warn_of_limits
from nucleist.metrics import CocoAveragePrecision
from nucleist.models.net import Net
from nucleist.training.callbacks import progress_bar, without_bars
from nucleist.training.coarse import warn_of_coarse
from nucleist.training.isolation import isolated
from nucleist.training.limits import limits_reached
from nucleist.training.summary import summary_of
from nucleist.training.task import SegmentationTask, TestScores
from nucleist.training.worker import cannot_be_sent, is_to_be_started
from nucleist.types import Progress, Source, UserError


def evaluate_model(
    model: str | Path | Model,
    data: str | Path | Source | None,
    overrides: Sequence[str],
    coco: bool,
    options: Mapping[str, Any] | None,
    trust: Trust,
    progress: Progress,
) -> Evaluation:
    """Test a model; see `nucleist.evaluate`."""
    source = data if isinstance(data, Source) else None
    words = [] if data is None or isinstance(data, Source) else data_overrides(data)
    config = compose("evaluate", [*words, *overrides])
    with isolated():
        if is_to_be_started(config):
            for given in (source, model):
                if isinstance(given, Source | Model):
                    raise cannot_be_sent(given)
            job = {
                "model": str(model),
                "data": None if data is None else str(data),
                "overrides": list(overrides),
                "coco": coco,
                "options": dict(options or {}),
                "trust": trusted(trust),
            }
            return evaluate_on_devices(config, job, progress)
        own = model.device if isinstance(model, Model) else None
        loaded = load(model, options=options, device="cpu", trust=trust)  # the trainer moves it
        named = config.get("data") is not None
        images = build_data(config, loaded, source, trust)
        if not images.ids("test"):
            raise _no_test_images(data, named)
        shows = progress if is_first() else Progress()
        try:
            return test(config, loaded, images, coco, options, shows)
        finally:
            loaded.to(own or "cpu")


def test(
    config: DictConfig,
    model: Model,
    images: NucleiData,
    coco: bool,
    options: Mapping[str, Any] | None,
    progress: Progress,
) -> Evaluation:
    """Test a model in this process, or in this and the others that were started with it.

    Args:
        config: The composed `conf/evaluate.yaml`.
        model: The model.
        images: What it is tested on.
        coco: Whether COCO's AP is computed too.
        options: Options of the model that differ from its training, for the record.
        progress: Shows how far the test is, and warns of limits that cut what was found and of a
            poor coarse mask.
    """
    task = SegmentationTask(model.net)
    task.test_at(model.score_threshold(config.score_threshold), model.threshold)
    ranked = _Ranked(model.net) if coco else None
    callbacks = without_bars([progress_bar(), *([ranked] if ranked else [])], progress)
    trainer: pl.Trainer = build(config.trainer, logger=False, callbacks=callbacks)
    model.net.limits_reached.clear()
    trainer.test(task, datamodule=images, verbose=False)
    if ranked:
        ranked.leave()
    scores, reached = task.test_scores(), limits_reached(model.net)
    progress.note(f"{model.path}: {scored_on(scores)}")
    summary: dict[str, Any] = summary_of(scores)
    if options:
        summary["model_options"] = dict(options)
    if ranked and (found := ranked.ap.compute()):
        summary["coco"] = {name: round(value, 6) for name, value in found.items()}
    elif ranked:
        progress.note(
            "coco=true: no image is complete, and COCO's AP needs every nucleus; left out"
        )
    if reached:
        summary["limits_reached"] = reached
    warn_of_limits(reached, len({row["image"] for row in scores.images}), progress)
    warn_of_coarse(progress, scores)
    return Evaluation(summary, scores.images, scores, model.path)


def scored_on(scores: TestScores) -> str:
    """What scores stand on: `scored on 12 images: 120 labelled nuclei, complete in 0 % ...`."""
    rows = {row["image"]: row for row in scores.images}  # twice, at two thresholds
    nuclei = sum(int(row.get("labelled_nuclei", row.get("nuclei", 0))) for row in rows.values())
    whole = sum(int(row.get("nuclei", 0)) for row in rows.values())
    share = scores.fixed.scores.get("complete_area", 1.0)
    digits = 0 if share in (0, 1) or 0.01 <= share <= 0.99 else 2
    return (
        f"scored on {len(rows)} image{'' if len(rows) == 1 else 's'}: {nuclei} labelled "
        f"{'nucleus' if nuclei == 1 else 'nuclei'}, complete in {100 * share:.{digits}f} % of the "
        f"area{f', with {whole} of them' if 0 < share < 1 else ''}"
    )


def _no_test_images(data: str | Path | Source | None, named: bool) -> UserError:
    """What to do about it: of an object, of data that are named, or of those of the training."""
    if isinstance(data, Source):
        return UserError(f"{type(data).__name__}: no test images; name some in its splits()")
    if not named:
        return UserError("the data of the training: no test images; name others with data=FOLDER")
    return UserError(
        f"{data or 'data'}: no test images; put some into a folder called test, or write "
        "data.splits.test=train to score the model on the images for training"
    )


def build_data(
    config: DictConfig, model: Model, source: Source | None, trust: Trust = ()
) -> NucleiData:
    """The images, normalised as in the training, whichever data set they are from.

    Args:
        config: The composed `conf/evaluate.yaml`.
        model: The model, whose training's data are taken if the configuration names none.
        source: Reads the images in place of what the configuration names.
        trust: Packages whose readers may be built.

    Raises:
        UserError: If the data cannot be read, or a reader is not trusted.
    """
    own = model.config.get("data")
    if own is None and config.get("data") is None and source is None:
        raise UserError(f"{model.path}: says nothing of images; name a data set with data=NAME")
    stored = {key: value for key, value in (own or {}).items() if key != "normalize"}
    if config.get("data") is None and source is None:
        check_targets({"data": stored}, model.path, trust)
    with open_dict(config):
        config.data = stored if config.get("data") is None else config.data
        config.data.normalize = model.config["normalize"]
        config.data.augment = None
        if source is not None:  # what is kept and held out is of the training's own images
            config.data.update({"manifest": None, "validation": None})
        config.seed, config.steps = 0, 1
    return build(config.data, **({} if source is None else {"source": source}))


class _Ranked(pl.Callback):
    """COCO's AP in a test, from the predictions: the task only keeps counts at thresholds.

    Of images that are complete everywhere: a ranking of all detections has no place for some that
    nobody can judge.
    """

    def __init__(self, net: Net):
        self.ap = CocoAveragePrecision()
        self._predictions: Any = None
        self._hook = net.register_forward_hook(self._keep)

    def _keep(self, net: Any, images: Any, predictions: Any) -> None:
        self._predictions = predictions

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *rest: Any
    ) -> None:
        """Add the batch."""
        whole = [i for i, truth in enumerate(batch[1]) if truth.complete is None]
        self.ap.update([self._predictions[i] for i in whole], [batch[1][i].labels for i in whole])

    def leave(self) -> None:
        """Take the hook off the net."""
        self._hook.remove()
