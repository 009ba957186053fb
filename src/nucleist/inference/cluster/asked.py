"""What `cluster=` and the `slurm.` keys ask for, checked before anything is loaded or started."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from nucleist.types import UserError

if TYPE_CHECKING:
    from distributed import Client

EXTRA = "pip install 'nucleist[cluster]'"

_ADDRESS = re.compile(r"((tcp|tls|ucx|ws|wss)://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")
_MEMORY = re.compile(r"\d+(\.\d+)? ?[KMGT]i?B")
_WALLTIME = re.compile(r"(\d+-)?\d+(:\d\d){0,2}")
_SAFE = re.compile(r"[\w.,:+@%-]+")


@dataclass(frozen=True)
class Slurm:
    """What is asked of SLURM, by the keys `slurm.jobs=8 slurm.cores=16 ...`.

    What is not here is asked for by `directives`, or stands in dask-jobqueue's own file,
    `~/.config/dask/jobqueue.yaml`, under `jobqueue: slurm:`.

    Attributes:
        jobs: Number of jobs.
        cores: Processor cores of each job, and so many workers.
        memory: Of each job, for all its workers: `24GB`.
        walltime: After so long SLURM ends a job: `HH:MM:SS` or `D-HH:MM:SS`.
        queue: Partition; None for that of the site.
        directives: Further words for `sbatch`: `--gres=gpu:1`, `--account=NAME`.

    Raises:
        UserError: If a value is not of its kind.
    """

    jobs: int = 4
    cores: int = 8
    memory: str = "24GB"
    walltime: str = "04:00:00"
    queue: str | None = None
    directives: Sequence[str] = ()

    def __post_init__(self) -> None:
        for key in ("jobs", "cores"):
            value = getattr(self, key)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"slurm.{key}={value}: write a whole number from 1")
        _of_form("memory", self.memory, _MEMORY, "e.g. 24GB")
        _of_form("walltime", self.walltime, _WALLTIME, "HH:MM:SS or D-HH:MM:SS")
        if self.queue is not None:
            _of_form("queue", self.queue, _SAFE, "the name of a partition, as sinfo shows it")
        if isinstance(self.directives, str):
            object.__setattr__(self, "directives", [self.directives])
        for word in self.directives:
            if not str(word).startswith("-") or "\n" in str(word):
                raise UserError(f"slurm.directives={word}: write options of sbatch, --KEY=VALUE")


def _of_form(key: str, value: object, form: re.Pattern[str], words: str) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise UserError(f"slurm.{key}={value}: write {words}")


@dataclass(frozen=True)
class Asked:
    """A cluster that was asked for.

    Attributes:
        name: `cluster=...` as it was written, for messages.
        address: Of a scheduler that runs already; empty for one that is to be started.
        workers: Processes of this machine, 0 if it is not this machine.
        slurm: The jobs; None if it is not SLURM.
        client: Of a cluster of the user's; None if it is to be made.
    """

    name: str
    address: str = ""
    workers: int = 0
    slurm: Slurm | None = None
    client: "Client | None" = None


def asked_for(cluster: "str | Client | None", slurm: Mapping[str, Any] | None) -> Asked | None:
    """What was asked for; None for this process alone.

    Args:
        cluster: `local:N`, `slurm`, or the address of a dask scheduler, or a client of one; None
            for none.
        slurm: Values of the keys of `Slurm`.

    Raises:
        UserError: If it is none of these, dask is not installed, or there is no SLURM.
    """
    if slurm and cluster != "slurm":
        key, value = next(iter(slurm.items()))
        raise UserError(f"slurm.{key}={value}: is for cluster=slurm; add that, or leave it out")
    if cluster is None:
        return None
    if not isinstance(cluster, str):
        return Asked("cluster=Client", client=cluster)
    found = _parsed(cluster, slurm or {})
    own = ["cryptography"] if found.workers else ["cryptography", "dask_jobqueue"]
    for module in ["distributed", *([] if found.address else own)]:
        if find_spec(module) is None:
            raise UserError(f"cluster={cluster}: {module} is not installed; {EXTRA}")
    if found.slurm is not None and shutil.which("sbatch") is None:
        raise UserError(
            "cluster=slurm: there is no sbatch here; start it on a login node of a SLURM site, "
            "or use cluster=local:N"
        )
    return found


def _parsed(cluster: str, slurm: Mapping[str, Any]) -> Asked:
    name = f"cluster={cluster}"
    if cluster == "slurm":
        return Asked(name, slurm=_slurm_of(slurm))
    kind, _, count = cluster.partition(":")
    if kind == "local":
        if not count.isdecimal() or int(count) < 1:
            raise UserError(f"{name}: write the number of processes, e.g. cluster=local:4")
        return Asked(name, workers=int(count))
    if not _ADDRESS.fullmatch(cluster):
        raise UserError(
            f"{name}: write local:N, slurm, or the address of a dask scheduler, "
            "e.g. tcp://HOST:8786"
        )
    return Asked(name, address=cluster)


def _slurm_of(given: Mapping[str, Any]) -> Slurm:
    known = [field.name for field in fields(Slurm)]
    for key, value in given.items():
        if key not in known:
            raise UserError(f"slurm.{key}={value}: unknown; use some of {', '.join(known)}")
    return Slurm(**given)
