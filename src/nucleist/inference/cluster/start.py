"""Reach a dask cluster, or start one: on this machine, or as jobs of SLURM.

Whoever reaches the port of a scheduler can run code. So on this machine all ports are on loopback,
and what is started here takes only connections with a key that is made for this one command.
"""

import logging
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleist.files import make_folder
from nucleist.inference.cluster import quiet
from nucleist.inference.cluster.asked import Asked, Slurm
from nucleist.types import Progress, UserError

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from distributed import Client, LocalCluster

LOOPBACK = "127.0.0.1"

ANSWER = 15
"""Seconds in which a scheduler has to answer."""

LOGS = "slurm_logs"
"""Folder for what the jobs print, in the folder of results."""


class Reached(NamedTuple):
    """A cluster that answers.

    Attributes:
        client: Sends it work.
        renew: Starts again what has ended of it; does nothing where that is not ours to do.
    """

    client: "Client"
    renew: Callable[[], Any]


@contextmanager
def reached(asked: Asked, folder: Path, progress: Progress) -> Iterator[Reached]:
    """A cluster for as long as it is needed. What was started is ended.

    Args:
        asked: Which.
        folder: Of the results, which exists; jobs of SLURM write their logs into it.
        progress: Gets a line about what was started.

    Raises:
        UserError: If it does not answer or cannot be started.
    """
    with ExitStack() as stack:
        if asked.client is not None:
            yield Reached(asked.client, _nothing)
            return
        if asked.slurm is not None:
            jobs = stack.enter_context(_slurm(asked, asked.slurm, folder, progress))
            again = partial(jobs.scale, jobs=asked.slurm.jobs)
            yield Reached(stack.enter_context(_client(asked, jobs)), again)
            return
        where = stack.enter_context(_local(asked, progress)) if asked.workers else asked.address
        yield Reached(stack.enter_context(_client(asked, where)), _nothing)


def _nothing() -> None:
    """What is not ours is not renewed."""


def _client(asked: Asked, where: Any) -> "Client":
    from distributed import Client

    try:
        return Client(where, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"{asked.name}: no dask scheduler answers there ({_line(error)}); check the address, "
            "or start one with `dask scheduler`"
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _local(asked: Asked, progress: Progress) -> Iterator["LocalCluster"]:
    """Processes of this machine, a thread each."""
    from distributed import LocalCluster

    try:
        cluster = LocalCluster(
            n_workers=asked.workers,
            threads_per_worker=1,
            host=LOOPBACK,
            memory_limit=0,  # as without a cluster; the system ends what is too large
            dashboard_address=f"{LOOPBACK}:0",
            # A process that ends is noticed at once; one that only has to wait, on a busy machine,
            # is not to be started anew.
            scheduler_kwargs={"dashboard": False, "worker_ttl": "1 day"},
            preload=[quiet.__name__],
            **_own(),
        )
    except RuntimeError as error:
        raise UserError(
            f"{asked.name}: cannot start the processes ({_line(error)}); in a script of yours call "
            'predict below `if __name__ == "__main__":`'
        ) from error
    with cluster:
        progress.note(f"{asked.name}: started {asked.workers} processes of this machine")
        yield cluster


@contextmanager
def _slurm(
    asked: Asked, slurm: Slurm, folder: Path, progress: Progress
) -> Iterator["SLURMCluster"]:
    """Jobs of SLURM, once `sbatch` has said that it would take one."""
    with jobs_of(slurm, folder) as cluster:
        _try(cluster.job_script(), asked)
        cluster.scale(jobs=slurm.jobs)
        progress.note(
            f"{asked.name}: submitted {slurm.jobs} jobs with {slurm.cores} workers each; what they "
            f"print is in {folder / LOGS}"
        )
        yield cluster


@contextmanager
def jobs_of(slurm: Slurm, folder: Path) -> Iterator["SLURMCluster"]:
    """A cluster of which no job is submitted yet.

    Args:
        slurm: What is asked of SLURM.
        folder: For logs and the keys of this command, on a file system that all nodes see.

    Raises:
        UserError: If the folder has a name that job scripts do not bear.
    """
    place = str(folder.absolute())
    if len(place.split()) > 1:
        raise UserError(f"{place}: scripts of jobs bear no space in it; choose another -o")
    http = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
    cluster = _slurm_cluster()(
        queue=slurm.queue,
        cores=slurm.cores,
        processes=slurm.cores,
        memory=slurm.memory,
        walltime=slurm.walltime,
        job_extra_directives=[str(word) for word in slurm.directives],
        job_name="nucleist",
        log_directory=str(make_folder(Path(place) / LOGS)),
        shared_temp_directory=place,
        worker_extra_args=["--no-dashboard", "--dashboard-address", http["dashboard_address"]],
        scheduler_options=http,
        **_own(),
    )
    try:
        with cluster:
            yield cluster
    finally:
        for key in ("ca_file", "cert", "key"):  # which it leaves open
            getattr(cluster, f"_job_{key}").close()


def _slurm_cluster() -> type["SLURMCluster"]:
    """The class; what its import changes, what Ctrl-C does, is put back."""
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return SLURMCluster


def _try(script: str, asked: Asked) -> None:
    """Let `sbatch` look at a job without submitting it.

    Raises:
        UserError: If it does not take it, with its own words.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.sh"
        file.write_text(script, encoding="utf-8")
        command = ["sbatch", "--test-only", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"{asked.name}: sbatch refuses the job ({said}); see the slurm. keys")


def _own() -> dict[str, Any]:
    """What every cluster that is started here has: keys of its own, and silence."""
    from distributed import Security

    security = Security.temporary()
    return {"security": security, "protocol": "tls://", "silence_logs": logging.ERROR}
