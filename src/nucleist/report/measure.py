"""Times and memory of several models side by side: one process for each, one after the other.

These are the columns of Table 2 of Feng et al., IEEE Access 2019. Each process builds the net and
the data of a run again from its `config.yaml`, fills the net from its last checkpoint, tests a few
images and trains a few steps. It writes nothing into the run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import track

from nucleist.config.compose import build
from nucleist.files import write_json
from nucleist.inference.predict import choose_device
from nucleist.models.weights.load import load_weights
from nucleist.report.grouping import Model
from nucleist.report.settings import values_of
from nucleist.report.speeds import measured_of, place_of
from nucleist.sweeps.launchers import INHERITED
from nucleist.training.finished import Run, read_json
from nucleist.training.reproduce import targets_of_package
from nucleist.training.speed import Speed
from nucleist.training.train import build_data, build_task, quiet
from nucleist.types import UserError

PARTS = ("model", "data", "augment", "normalize", "optim")
"""What of a configuration is built again."""


class Amount(NamedTuple):
    """How much is measured: training steps, test images, repeats of it all; and where."""

    steps: int = 5
    images: int = 5
    rounds: int = 2
    device: str = "auto"


def measure(models: Sequence[Model], path: Path, amount: Amount, command: str) -> None:
    """Measure models in turn and write `speed.json`, unless that has all of them already.

    Args:
        models: What to measure, each by its first run.
        path: The file.
        amount: How much of it.
        command: What was typed, for the record.

    Raises:
        UserError: If the device is not there, or the file cannot be written.
    """
    known = read_json(path)
    if known and all(measured_of(model, known) for model in models):
        print(f"{path}: used again; delete it to measure anew", file=sys.stderr)
        return
    choose_device(amount.device)
    runs = [model.runs[0] for model in models]
    found: dict[str, Any] = {
        "command": command,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": _load(),
        "order": [place_of(run) for run in runs],
        **amount._asdict(),
    }
    results, failed = _in_turn(runs, amount)
    for run in results.values():
        found.update(device=run["device"], threads=run.pop("threads"))
    write_json(path, {**found, "runs": results, "failed": failed})


def _load() -> float | None:
    """Processes that the machine had to do, on average over the last minute."""
    with suppress(OSError, AttributeError):  # Windows does not tell
        return round(os.getloadavg()[0], 1)
    return None


def _in_turn(runs: Sequence[Run], amount: Amount) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures of each run, a list of one value a round, and why a run has none."""
    results: dict[str, Any] = {}
    failed: dict[str, str] = {}
    console = Console(stderr=True)
    jobs = [run for _ in range(amount.rounds) for run in runs]
    for run in track(jobs, "measuring", console=console, disable=not console.is_terminal):
        key = place_of(run)
        if key in failed:
            continue
        try:
            once = _in_process(run, amount)
        except UserError as error:
            failed[key] = str(error)
            results.pop(key, None)
            continue
        entry = results.setdefault(key, {"folder": str(run.folder)})
        for name, value in once.items():
            if name.startswith(("seconds", "peak")):
                entry.setdefault(name, []).append(value)
            else:
                entry[name] = value
    return results, failed


def _in_process(run: Run, amount: Amount) -> dict[str, Any]:
    """Measure a run once, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "speed.json"
        options = ["--steps", str(amount.steps), "--images", str(amount.images)]
        options += ["--device", amount.device, "-o", str(output)]
        command = [sys.executable, "-m", "nucleist.report.measure", str(run.folder), *options]
        variables = {key: value for key, value in os.environ.items() if key not in INHERITED}
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=variables,
            check=False, errors="replace",
        )  # fmt: skip
        found = read_json(output)
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise UserError(lines[-1].removeprefix("nucleist: "))
    return found


def measure_run(run: Path, steps: int, images: int, device: str) -> dict[str, Any]:
    """Measure a run here and now.

    Args:
        run: Its folder.
        steps: Training steps that count; one more goes before them.
        images: Test images that count, likewise; fewer if there are not so many.
        device: As `--device`.

    Returns:
        What `Speed.measured` tells, `parameters` and `threads`.

    Raises:
        UserError: If the run cannot be built again, in one line.
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
        raise UserError(f"its config.yaml does not fit this version: {reason}") from error
    trainer.test(task, datamodule=data, verbose=False)
    trainer.fit(task, datamodule=data)
    return {
        **speed.measured(trainer.strategy.root_device),
        "measured_by": "report",
        "parameters": sum(p.numel() for p in net.parameters()),
        "threads": torch.get_num_threads(),
    }


def _stored(run: Path) -> DictConfig:
    """The configuration of a run, if what is built from it is nucleist's.

    Raises:
        UserError: If it calls anything else.
    """
    config = OmegaConf.load(run / "config.yaml")
    plain = OmegaConf.to_container(config)
    known = set(targets_of_package())
    for part in PARTS:
        for key, target in values_of(plain.get(part) if isinstance(plain, dict) else None):
            if key.split(".")[-1] == "_target_" and target not in known:
                raise UserError(
                    f"its config.yaml calls {target!r}, which no configuration of nucleist does now"
                )
    assert isinstance(config, DictConfig)
    return config


def _checkpoint(run: Path) -> Path:
    for name in ("last.ckpt", "best.ckpt"):
        if (path := run / "checkpoints" / name).is_file():
            return path
    raise UserError("no checkpoint in its folder")


def _trainer(config: DictConfig, device: torch.device, images: int, speed: Speed) -> pl.Trainer:
    """As the run's, but on one device, with nothing to log and no validation."""
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
    parser.add_argument("--steps", type=int, default=Amount().steps)
    parser.add_argument("--images", type=int, default=Amount().images)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        found = measure_run(options.run, options.steps, options.images, options.device)
        options.output.write_text(json.dumps(found), encoding="utf-8")
    except UserError as error:
        print(f"nucleist: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
