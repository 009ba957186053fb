"""Which of several processes this one is, and what all of them agree on.

`torchrun` and SLURM's `srun` start processes on any number of machines, `run_on_devices` starts
them on one machine as torchrun does. Each process reads its rank from the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a process that is alone needs neither torch nor Lightning to find that out
    from torch.distributed import TCPStore

_AGREED: list[str] = []


@dataclass(frozen=True)
class Place:
    """Where this process stands among those that were started together.

    Attributes:
        rank: Its number, from 0.
        world: The world size: how many processes there are.
        local: How many of them run on this machine.
        by: What started them: `torchrun` (or `run_on_devices`, which does the same) or `srun`;
            None if this process is alone.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    by: str | None = None


def place() -> Place:
    """Read from the environment where this process stands."""

    def number(name: str, default: int = 1) -> int:
        return int(os.environ.get(name) or default)

    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Place(
            number("RANK", 0), number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE"), "torchrun"
        )
    # Not SLURM_NTASKS: that is there too if the job has tasks, but srun started nothing.
    if (tasks := number("SLURM_STEP_NUM_TASKS")) > 1:
        nodes = number("SLURM_STEP_NUM_NODES")
        return Place(number("SLURM_PROCID", 0), tasks, tasks // nodes, "srun")
    return Place()


def is_first() -> bool:
    """Whether this is the only process, or rank 0 of several."""
    return place().rank == 0


def agree(text: str | None) -> str:
    """The `text` of rank 0, in every process.

    Args:
        text: What rank 0 decided, say the run folder; of no importance in other processes.
    """
    here = place()
    if here.world > 1:
        publish(text or "")
        text = _store().get(key()).decode()
    _AGREED[:] = [text or ""]
    return _AGREED[0]


def agreed() -> str:
    """What `agree` returned last in this process; empty before."""
    return _AGREED[0] if _AGREED else ""


def publish(text: str) -> None:
    """Store a text of rank 0 where the other ranks and `run_on_devices` find it.

    Args:
        text: In processes of another rank it is ignored.
    """
    if is_first():
        _store().set(key(), text)


def key() -> str:
    """Where the text is stored: torchrun may start all processes anew, with the same store."""
    return f"nucleist/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"


@cache  # the store lives as long as this process: others read from it
def _store() -> TCPStore:
    from torch.distributed import TCPStore

    here = place()
    if here.by == "srun":
        from pytorch_lightning.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment(auto_requeue=False)
        address, port = slurm.main_address, slurm.main_port
    else:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torchrun has a server already; otherwise rank 0 is the server.
    server = here.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    return TCPStore(
        address,
        port,
        here.world,
        server,
        timedelta(minutes=10),
        wait_for_workers=False,
        multi_tenant=True,  # Lightning's will be there as well
    )
