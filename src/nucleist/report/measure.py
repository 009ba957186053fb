"""Time and memory of one run: the process that `nucleist report measure=true` starts for each.

It builds the net and the data of a run again from its `config.yaml`, loads its last checkpoint,
tests a few images and trains a few steps. It writes nothing into the run's folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nucleist.config.build import build
from nucleist.config.targets import check_targets
from nucleist.files import write_json
from nucleist.inference.device import choose_device
from nucleist.models.weights.load import load_weights
from nucleist.report.speed_table import Amount
from nucleist.training.isolation import quiet
from nucleist.training.speed import Speed
from nucleist.training.train import build_data, build_task
from nucleist.types import UserError

PARTS = ("model", "data", "augment", "normalize", "optim")
"""The parts of a configuration that are built again."""


def measure_run(run: Path, steps: int, images: int, device: str) -> dict[str, Any]:
    """Measure a run in this process.

    Args:
        run: Its folder.
        steps: Training steps that are timed, after one that is not.
        images: Test images that are timed, after one that is not; fewer if there are fewer.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Returns:
        The result of `Speed.measured`, and `measured_by`, `parameters` and `threads`.

    Raises:
        UserError: If the run cannot be built again.
    """
    quiet()
    chosen = choose_device(device)
    try:
        config = _stored(run)
        with open_dict(config):
            config.steps = config.data.steps = steps + 1
        pl.seed_everything(config.seed, verbose=False)
        data = build_data(config)
        net = build(config.model)
        load_weights(net, str(_checkpoint(run)), "", complete=True)
        task = build_task(config, net)
        speed = Speed(warm=1)
        trainer = _trainer(config, chosen, images + 1, speed)
    except (OmegaConfBaseException, AttributeError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{run / 'config.yaml'}: does not fit this version ({reason}); use the version in "
            "environment.json"
        ) from error
    if data.ids("test"):
        trainer.test(task, datamodule=data, verbose=False)
    else:  # training images do as well: only their size matters
        trainer.test(task, dataloaders=data.kept_dataloader(), verbose=False)
    trainer.fit(task, datamodule=data)
    return {
        **speed.measured(trainer.strategy.root_device),
        "measured_by": "report",
        "parameters": sum(p.numel() for p in net.parameters()),
        "threads": torch.get_num_threads(),
    }


def _stored(run: Path) -> DictConfig:
    """The configuration of a run, if everything that is built from it is nucleist's own.

    Raises:
        UserError: If it calls anything else.
    """
    path = run / "config.yaml"
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise UserError(f"{path}: holds no settings")
    parts = OmegaConf.to_container(OmegaConf.masked_copy(config, list(PARTS)), resolve=False)
    check_targets(parts, path)
    return config


def _checkpoint(run: Path) -> Path:
    for name in ("last.ckpt", "best.ckpt"):
        if (path := run / "checkpoints" / name).is_file():
            return path
    raise UserError(f"{run}: no checkpoint in its folder; train it again")


def _trainer(config: DictConfig, device: torch.device, images: int, speed: Speed) -> pl.Trainer:
    """A trainer like that of the run, but on one device, without loggers and validation."""
    on_gpu = device.type == "cuda"
    precision = OmegaConf.select(config, "trainer.precision") if on_gpu else None
    return pl.Trainer(
        accelerator="gpu" if on_gpu else device.type,
        devices=[device.index or 0] if on_gpu else 1,
        precision=precision or "32-true",
        max_steps=config.steps,
        accumulate_grad_batches=config.get("accumulate", 1),
        gradient_clip_val=config.optim.get("clip"),
        limit_test_batches=images,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[speed],
    )


def main(arguments: Sequence[str]) -> int:
    """Entry point of the process that measures one run."""
    parser = argparse.ArgumentParser("python -m nucleist.report.measure")
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=Amount.steps)
    parser.add_argument("--images", type=int, default=Amount.images)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        found = measure_run(options.run, options.steps, options.images, options.device)
        write_json(options.output, found)
    except UserError as error:
        print(f"nucleist: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
