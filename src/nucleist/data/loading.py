"""How images are loaded: by how many processes, how a batch is shared, and what identifies one."""

import os

import torch

from nucleist.files import checksum
from nucleist.types import Record


def free_workers() -> int:
    """Loader processes that help: up to 4 a GPU, one core of each GPU being left to training.

    Without a GPU the cores are busy with the net, and two cores gained nothing from loaders.
    """
    devices = torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, max((cores or 1) // devices - 1, 0)) if devices else 0


def pixel_hash(record: Record) -> str:
    """A hash of the pixels of an image, whatever it is called."""
    return checksum([("", (record.image,))])


def not_shared(batch_size: int, world: int, parts: int) -> str:
    """Message about a batch size that the processes cannot share."""
    pieces = f"{world} processes" + (f" with accumulate={parts}" if parts > 1 else "")
    fits = ", ".join(str(n) for n in range(1, batch_size + 1) if batch_size % n == 0)
    return (
        f"data.batch_size={batch_size} cannot be shared by {pieces}; use a multiple of "
        f"{world * parts}, or processes times accumulate equal to {fits}"
    )
