"""Which folder a training works in, and where it goes on if it was cut."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from nucleist.distributed.place import agree, is_first
from nucleist.files import text_hash
from nucleist.models.weights.load import read_file
from nucleist.training.run import new_run_folder
from nucleist.training.task import SegmentationTask
from nucleist.types import DivergedError, Progress, UserError


def prepare(config: DictConfig) -> str | None:
    """Check a configuration, give the run its name, and take `resume=auto` out.

    Returns:
        The value of `resume` before.

    Raises:
        UserError: If a part is missing, or steps or seed are not valid.
    """
    for key in ("data.source._target_", "model._target_", "optim", "trainer", "runs"):
        if OmegaConf.select(config, key) is None:
            part = key.removesuffix("._target_")
            raise UserError(f"{part} is empty; write {part}=..., see nucleist train --cfg")
    steps = config.trainer.max_steps
    if not isinstance(steps, int) or steps < 1:
        raise UserError(f"steps={steps} is not a number of steps; give 1 or more")
    if not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise UserError(f"seed={config.seed} is not a seed; give a whole number from 0 to 2^32 - 1")
    with open_dict(config):
        parts = (config.data.source._target_, config.model._target_)
        config.name = str(config.name or "_".join(p.split(".")[-1].lower() for p in parts))
        resume = config.resume if config.resume == "auto" else _file_of(config.resume)
        config.resume = None if resume == "auto" else resume
    return resume


def _file_of(resume: str | None) -> str | None:
    """The file of `resume=`: of a run folder its last checkpoint, which training goes on from."""
    if resume is None or not Path(resume).expanduser().is_dir():
        return resume
    last = Path(resume).expanduser() / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise UserError(f"resume={resume}: no last.ckpt in this folder; give a run folder, or auto")
    return str(last)


ELSEWHERE = ("runs", "run_dir", "trust")
"""Keys that decide where a run is stored and which packages are trusted, not what is trained."""


def mark_of(config: DictConfig) -> str:
    """Hash of a prepared configuration, independent of the place of its run folder."""
    keys = [str(key) for key in config if key not in ELSEWHERE]
    return text_hash(OmegaConf.to_yaml(OmegaConf.masked_copy(config, keys)))


def run_folder(config: DictConfig, mark: str, earlier: Path | None) -> Path:
    """The run folder; all processes of a distributed run use that of rank 0.

    Args:
        config: The configuration.
        mark: Its hash.
        earlier: The run to resume, if there is one.
    """
    own = (earlier or new_run_folder(config.runs, config.name, mark)) if is_first() else None
    return Path(agree(str(own)))


@contextmanager
def cut_short(run: Path, progress: Progress) -> Iterator[None]:
    """One line about a training that ended early, and the checkpoint that is left."""
    last = run / "checkpoints" / "last.ckpt"
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning makes the first the second
        if last.exists():
            progress.note(f"{run}: cut short; resume=auto goes on from {last.name}")
        raise KeyboardInterrupt from error
    except OSError as error:
        raise UserError(
            f"{error.filename or run}: {error.strerror or error}; make room or set runs=FOLDER, "
            "then go on with resume=auto"
        ) from error


@contextmanager
def unless_refused(
    run: Path, new: bool, task: SegmentationTask, top: Path | None
) -> Iterator[None]:
    """Remove a new run folder if the training is refused before its first step is done.

    Args:
        run: The run folder.
        new: Whether it was made for this training.
        task: What is trained.
        top: The folder of all runs if it was made for this training too.
    """
    try:
        yield
    except DivergedError:
        raise
    except UserError:
        if new and is_first() and task.global_step == 0:
            shutil.rmtree(run, ignore_errors=True)
            with suppress(OSError):  # there are other runs
                run.parent.rmdir()
                if top is not None:
                    top.rmdir()
        raise


def resumable(
    resume: str | None, run: Path, task: SegmentationTask, progress: Progress
) -> str | None:
    """The checkpoint to resume from, checked; None to start from step 0.

    Args:
        resume: `auto` for the run's own last one, if there is any, or a file.
        run: The run folder.
        task: What the checkpoint has to fit.
        progress: Gets a line on where the training is resumed.

    Raises:
        UserError: If it is missing, damaged or of another net.
    """
    if resume == "auto":
        last = run / "checkpoints" / "last.ckpt"
        resume = str(last) if last.exists() else None
    if resume is None:
        return None
    step = check_resumed(resume, task)
    if is_first():
        progress.note(f"{run}: goes on from {resume}, step {step}")
    return resume


def check_resumed(resume: str, task: SegmentationTask) -> int:
    """Check a checkpoint that a training is to be resumed from; returns its step.

    Raises:
        UserError: If it is missing, damaged or of another net.
    """
    if not Path(resume).is_file():
        raise UserError(f"resume={resume}: no such checkpoint; write resume=auto or a .ckpt file")
    content = read_file(Path(resume))
    if not isinstance(content, dict) or not {"loops", "optimizer_states"} <= set(content):
        raise UserError(f"resume={resume}: not a checkpoint of a training; use a run's last.ckpt")
    own = {key: value.shape for key, value in task.state_dict().items()}
    if own != {key: value.shape for key, value in content["state_dict"].items()}:
        raise UserError(f"resume={resume}: of another net; give the options it was trained with")
    return int(content["global_step"])
