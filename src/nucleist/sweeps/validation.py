"""What the trials of a search are validated on, and by which score they are judged."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from nucleist.config.build import build, plain
from nucleist.config.targets import check_targets
from nucleist.sweeps.sweep import DONE, SweepRun
from nucleist.training.finished import number, read_rows
from nucleist.training.train import plain_targets
from nucleist.types import UserError

METRICS = ("val/map_pooled", "val/labelled_score_best_threshold")
"""What a trial is judged by unless a metric is named: the first that its validation gives."""


def value_of(run: SweepRun, metric: str | None) -> tuple[str, float] | None:
    """The metric of a run's last validation, and its name.

    Args:
        run: A run that has ended.
        metric: Column of `metrics.csv`; None for the first of `METRICS`.

    Returns:
        None if there is no such value.
    """
    rows = read_rows(Path(str(run.folder)) / "metrics.csv")
    for name in METRICS if metric is None else (metric,):
        found = [(number(row.get("step")), number(row.get(name))) for row in rows]
        values = [(step, value) for step, value in found if step is not None and value is not None]
        if values:
            return name, max(values, key=lambda pair: pair[0])[1]
    return None


def metric_name(runs: Sequence[SweepRun], metric: str | None) -> str:
    """What trials are judged by: what is asked for, or what those that are done have.

    Args:
        runs: All runs of the search.
        metric: What is asked for, if anything.
    """
    done = (value_of(run, metric) for run in runs if metric is None and run.status == DONE)
    return metric or next((found[0] for found in done if found), METRICS[0])


def metric_words(runs: Sequence[SweepRun], metric: str | None) -> str:
    """The same for a plan: both names as long as nothing has been trained."""
    if metric is None and not any(run.status == DONE for run in runs):
        return f"{METRICS[0]} (where the validation gives none: {METRICS[1]})"
    return metric_name(runs, metric)


def validated_on(config: DictConfig) -> str:
    """What decides about the best trial, in words."""
    splits = _splits(config)
    if _on_nuclei(config):
        return (
            f"validation: labelled nuclei of the training images, of which {_percent(config)} are "
            "held out of each training (data.held_out); the test images have no influence"
        )
    if splits["val"] != splits["test"]:
        return f"validation images: split {splits['val']}, apart from the test images"
    return (
        f"validation images: the test images (data.splits.val={splits['val']}), so the best "
        "trial's test scores are chosen, not measured; set data.splits.val, or score it on "
        "other images"
    )


def check_validation(config: DictConfig) -> None:
    """Refuse trials that would have no validation.

    Raises:
        UserError: If they would have none.
    """
    every, steps = config.trainer.val_check_interval, config.trainer.max_steps
    if isinstance(every, int) and every > steps:
        raise UserError(
            f"val_every={every} of {steps} steps: no trial would be validated; use {steps} or less"
        )
    if _on_nuclei(config) and config.data.get("held_out", 0.2) is None:
        raise UserError(
            "data.held_out=null: no nuclei are held out, so no trial would be validated; write "
            "data.held_out=0.2"
        )
    if config.data.get("supervision") == "binary" and _has_validation_images(config) is False:
        raise UserError(
            f"data.splits.val={_splits(config)['val']}: the data set has no such images, so no "
            "trial would be validated; set data.splits.val to a split that has some"
        )


def _on_nuclei(config: DictConfig) -> bool:
    """Whether trials are validated on held-out nuclei; as `NucleiData` decides it."""
    asked = config.data.get("validation")
    if asked is None and config.data.get("supervision") != "binary":
        return _has_validation_images(config) is False
    return asked == "nuclei"


def _has_validation_images(config: DictConfig) -> bool | None:
    """Whether the data set has validation images; None if it cannot be read here."""
    source, name = config.data.source, _splits(config)["val"]
    check_targets({"data": {"source": plain_targets(source)}}, "configuration", config.trust or ())
    try:
        return bool(build(source).splits().get(name))
    except UserError:
        return None


def _splits(config: DictConfig) -> dict[str, str]:
    return {"val": "test", "test": "test", **plain(config.data.get("splits") or {})}


def _percent(config: DictConfig) -> str:
    return f"{100 * float(config.data.get('held_out', 0.2)):g} %"
