"""A training in several processes, one a device of this machine."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nucleist.config.build import plain
from nucleist.distributed.launch import processes_wanted, run_on_devices
from nucleist.distributed.place import place
from nucleist.distributed.worker import work
from nucleist.progress import Console
from nucleist.types import Progress, Source, UserError


def is_to_be_started(config: DictConfig) -> bool:
    """Whether this process has to start those that a training needs.

    Args:
        config: A composed configuration with a trainer.
    """
    return place().world == 1 and processes_of(config) > 1


def processes_of(config: DictConfig) -> int:
    """How many processes the trainer of a configuration needs, if nothing has started them yet."""
    keys = ("accelerator", "devices", "strategy", "num_nodes")
    chosen: dict[str, Any] = {key: OmegaConf.select(config, f"trainer.{key}") for key in keys}
    return processes_wanted(**{key: plain(v) for key, v in chosen.items() if v is not None})


def train_on_devices(
    config: DictConfig, source: Source | None, progress: Progress, command: str = ""
) -> Path:
    """Train in as many processes as the trainer has devices; returns the run folder.

    Args:
        config: Of `conf/train.yaml`, as composed.
        source: An object that reads the images, which cannot be handed to other processes.
        progress: Gets the lines that rank 0 shows. On a terminal a `Console` leaves it to rank 0,
            which then has a bar.
        command: What does the same from the command line, for the record.

    Raises:
        UserError: If there is such an object, or as raised by the training.
        ProcessLostError: If a process was lost; see `run_on_devices`.
    """
    if source is not None:
        raise cannot_be_sent(source)
    bar = isinstance(progress, Console) and sys.stderr.isatty()
    with tempfile.TemporaryDirectory(prefix="nucleist-") as folder:
        file = Path(folder, "config.yaml")
        OmegaConf.save(config, file)
        run = run_on_devices(
            "nucleist.training.worker",
            [str(file), command, "verbose" if _is_verbose(progress) else ""],
            processes_of(config),
            None if bar else progress,
        )
    return Path(run)


def _is_verbose(progress: Progress) -> bool:
    return isinstance(progress, Console) and progress.verbose


def cannot_be_sent(given: object) -> UserError:
    """The error about an object where the processes that are started need a name."""
    return UserError(
        f"trainer=ddp: the object {type(given).__name__} cannot be sent to the processes that are "
        "started; give a file, a folder or the name of a data set, or use trainer=gpu"
    )


def main(arguments: Sequence[str]) -> int:
    """Train as one of the processes.

    Args:
        arguments: The stored configuration, the command for the record, and `verbose` or nothing.

    Returns:
        The exit status.
    """
    from nucleist.training.train import train_config  # which starts this module

    file, command, verbose = arguments
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)  # as composed
    return work(lambda: str(train_config(config, None, Console(verbose=bool(verbose)), command)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
