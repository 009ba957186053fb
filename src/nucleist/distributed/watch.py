"""One of several processes is lost: one line about it, and what is left of the training.

A process that waits for a lost one gets an error from the network after a moment (gloo), or none
at all (NCCL). `run_on_devices`, torchrun and srun then end it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nucleist.distributed.place import agreed, place
from nucleist.types import UserError

CUT_OFF = re.compile(r"gloo|nccl|tcpstore|connection|socket|broken pipe|timed? ?out", re.IGNORECASE)
"""What torch reports when another process does not answer."""


class ProcessLostError(UserError):
    """A process of a distributed run was lost or failed; the others ended too."""

    status = 1


class OthersLostError(ProcessLostError):
    """Another process was lost; this one only noticed that it gets no answer."""


@contextmanager
def watching_others() -> Iterator[None]:
    """Turn an error of torch about other processes that do not answer into one line.

    Raises:
        OthersLostError: In place of torch's error.
    """
    here = place()
    try:
        yield
    except RuntimeError as error:
        if here.world == 1 or not CUT_OFF.search(str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise OthersLostError(
            f"rank {here.rank} (world size {here.world}) gets no answer from the others "
            f"({reason}){kept(agreed())}"
        ) from error


def kept(run: str) -> str:
    """What is left of a training, for the end of a message.

    Args:
        run: The run folder; empty if it is unknown.
    """
    last = Path(run, "checkpoints", "last.ckpt")
    return f"; {last} is kept, resume=auto goes on from it" if run and last.exists() else ""
