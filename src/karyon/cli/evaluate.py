"""`karyon evaluate`: score a checkpoint on the test images of a data set."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import OmegaConf, open_dict

from karyon.cli.checkpoint import load
from karyon.cli.config import build, compose
from karyon.cli.train import quiet, summarise, write_curve, write_rows
from karyon.runs import write_json
from karyon.task import SegmentationTask
from karyon.types import UserError

HELP = """usage: karyon evaluate checkpoint=FILE [data=NAME] [key=value ...]

  karyon evaluate checkpoint=runs/demo/pa/checkpoints/best.ckpt
  karyon evaluate checkpoint=last.ckpt data=kumar output=scores

Without data=... the data set of the run is used. Prints the scores at the threshold 0.5 (or
score_threshold=...), at the calibrated one and at the best, which looks at the labels.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    quiet()
    config = compose("evaluate", arguments)
    if OmegaConf.is_missing(config, "checkpoint"):
        raise UserError("evaluate needs a checkpoint; write checkpoint=FILE")
    trained = load(config.checkpoint)
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
    trainer: pl.Trainer = build(config.trainer, logger=False, callbacks=[])
    trainer.test(task, datamodule=data, verbose=False)
    scores = task.test_scores()
    output = Path(config.output or Path(config.checkpoint).parent.parent / "evaluation")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot make this folder ({error.strerror})") from error
    result = summarise(scores, task.test_thresholds)
    write_json(output / "summary.json", result)
    write_curve(output / "thresholds.csv", scores, task.test_thresholds)
    write_rows(output / "per_image.csv", task.rows_per_image())
    print(json.dumps(result, indent=1))
    print(output, file=sys.stderr)
    return 0
