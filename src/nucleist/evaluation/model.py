"""`nucleist evaluate`: score a checkpoint on the test images of a data set, or label images."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from nucleist.config.compose import build, compose
from nucleist.evaluation.folders import score_folders
from nucleist.files import write_json
from nucleist.inference.load import load, model_options
from nucleist.metrics import CocoAveragePrecision
from nucleist.training.limits import caps_reached, forget_caps, warn_of_caps
from nucleist.training.resume import is_main
from nucleist.training.summary import summarise, write_curve, write_rows
from nucleist.training.task import SegmentationTask
from nucleist.training.train import quiet
from nucleist.types import UserError

HELP = """usage: nucleist evaluate checkpoint=FILE [data=NAME] [key=value ...]
       nucleist evaluate pred=FOLDER gt=FOLDER [masks=components] [-o FOLDER]

A checkpoint on the test images of a data set:
  nucleist evaluate checkpoint=runs/NAME/ID/checkpoints/best.ckpt
  nucleist evaluate checkpoint=last.ckpt data=kumar -o scores
  nucleist evaluate checkpoint=last.ckpt coco=true
  nucleist evaluate checkpoint=last.ckpt model.roi.nms_thresh=0.3 -o nms

Label images of any tool (TIFF, PNG, NPY; folder or zip) against the truth:
  nucleist evaluate pred=out gt=my_images/labels
  nucleist evaluate pred=cellpose_out gt=truth -o scores
  nucleist evaluate pred=thresholded gt=truth masks=components

Without data=... the data set of the run is used. Prints the scores at the threshold 0.5 (or
score_threshold=...), at the calibrated one and at the best, which looks at the labels. coco=true
adds COCO's AP of boxes and masks ranked by score (needs pip install 'nucleist[coco]').
model.KEY=VALUE changes an option of the net that has no weights; summary.json then names it.

Folders are paired by name: a.tif, a_labels.png, a_masks.npy and a_cp_masks.png are all about a.
What has no partner is named and not scored. A binary mask is refused; masks=components takes its
8-connected pieces for nuclei. -o FOLDER (or output=FOLDER) also writes summary.json and
per_image.csv. nucleist metrics NAME says what a number means.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    words = _long_output(arguments)
    if any(word.split("=")[0] in ("pred", "gt") for word in words):
        return score_folders(words)
    quiet()
    changes, words = model_options(words)
    for word in words:
        if word.startswith("model."):
            raise UserError(f"{word!r} is not an override; write model.KEY=VALUE")
    config = compose("evaluate", words)
    if OmegaConf.is_missing(config, "checkpoint"):
        raise UserError("evaluate needs checkpoint=FILE, or pred=FOLDER gt=FOLDER")
    return score_checkpoint(config, changes)


def _long_output(arguments: Sequence[str]) -> list[str]:
    """The arguments with `-o FOLDER` written as `output=FOLDER`."""
    words = list(arguments)
    while "-o" in words:
        place = words.index("-o")
        if place + 1 == len(words):
            raise UserError("-o needs a folder; write -o FOLDER")
        words[place : place + 2] = [f"output={words[place + 1]}"]
    return words


def score_checkpoint(config: DictConfig, options: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Test a checkpoint as configured; print and write the scores.

    Args:
        config: The composed `conf/evaluate.yaml`.
        options: Options of the model that differ from the training's, by dotted key.
    """
    trained = load(config.checkpoint, options)
    stored = {key: value for key, value in trained.config["data"].items() if key != "normalize"}
    with open_dict(config):
        config.data = stored if config.get("data") is None else config.data
        # What the net was trained with, whatever the data set's own file says.
        config.data.normalize = trained.config["normalize"]
        config.data.augment = None
        config.seed, config.steps = 0, 1
    data = build(config.data)
    task = SegmentationTask(trained.net)
    task.test_at([config.score_threshold, trained.threshold])
    ranked = _Ranked(trained.net) if config.coco else None
    callbacks = [ranked] if ranked else []
    trainer: pl.Trainer = build(config.trainer, logger=False, callbacks=callbacks)
    forget_caps(trained.net)
    trainer.test(task, datamodule=data, verbose=False)
    scores, rows, reached = task.test_scores(), task.rows_per_image(), caps_reached(trained.net)
    result: dict[str, Any] = summarise(scores, task.test_thresholds)
    if options:
        result["model_options"] = dict(options)
    if ranked:
        result["coco"] = {name: round(value, 6) for name, value in ranked.ap.compute().items()}
    if reached:
        result["capped"] = reached
    if not is_main():  # every process has the same results
        return 0
    output = Path(config.output or Path(config.checkpoint).parent.parent / "evaluation")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot make this folder ({error.strerror})") from error
    write_json(output / "summary.json", result)
    write_curve(output / "thresholds.csv", scores, task.test_thresholds)
    write_rows(output / "per_image.csv", rows)
    print(json.dumps(result, indent=1))
    warn_of_caps(reached, len({row["image"] for row in rows}))
    print(output, file=sys.stderr)
    return 0


class _Ranked(pl.Callback):
    """COCO's AP in a test, from what the net says: the task keeps label maps at thresholds only."""

    def __init__(self, net: nn.Module):
        self.ap = CocoAveragePrecision()
        self._said: Any = None
        net.register_forward_hook(lambda net, images, said: setattr(self, "_said", said))

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *rest: Any
    ) -> None:
        """Add the batch."""
        self.ap.update(self._said, batch[1])
