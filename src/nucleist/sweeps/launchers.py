"""How the runs of a sweep are started: processes of this machine, or jobs of a SLURM cluster.

Each run is a `nucleist train` of its own, whatever starts it: it writes its own log, sees one
device, and with `resume=auto` goes on where it was cut.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nucleist.config.settings import quoted
from nucleist.files import make_folder
from nucleist.sweeps.queued import Requeued, environment_of_a_run
from nucleist.sweeps.sweep import Sweep, SweepRun
from nucleist.types import UserError

MOVE = "move what is in its place, or set folder=DIR"


def command_of(sweep: Sweep, run: SweepRun) -> list[str]:
    """The command that starts a run, or goes on with it."""
    train = [sys.executable, "-m", "nucleist", "train", *run.overrides]
    return [*train, f"runs={quoted(str(sweep.folder))}", "resume=auto"]


class Local:
    """Processes of this machine, one device each.

    GPUs are given out in turn. On the CPU the cores are shared: each run has `cores / jobs`
    threads, unless `OMP_NUM_THREADS` is set.

    Args:
        sweep: The sweep.
        jobs: Runs at a time; None for one a GPU, or one at all.
    """

    def __init__(self, sweep: Sweep, jobs: int | None = None):
        self.sweep, self.devices = sweep, visible_devices()
        self.jobs = jobs or self.default_jobs(sweep)

    @staticmethod
    def default_jobs(sweep: Sweep) -> int:
        """Runs at a time without `jobs=N`."""
        return max(len(visible_devices()), 1)

    def has(self, run: SweepRun) -> bool:
        """Whether a run is in a queue; processes of this machine never are."""
        return False

    def start(self, run: SweepRun, place: int) -> "Process":
        """Start a run."""
        return Process(command_of(self.sweep, run), self.sweep.log(run), self.environment(place))

    def environment(self, place: int) -> dict[str, str]:
        """The environment of the run in a place."""
        variables = environment_of_a_run()
        if self.devices:
            return variables | {"CUDA_VISIBLE_DEVICES": self.devices[place % len(self.devices)]}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return {"OMP_NUM_THREADS": str(max(1, (cores or 1) // self.jobs))} | variables


def visible_devices() -> list[str]:
    """Names of the GPUs that a process here may use, as `CUDA_VISIBLE_DEVICES` has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


class Process:
    """A run as a process in a session of its own, so that the terminal's Ctrl-C does not reach it.

    Raises:
        UserError: If its log cannot be written, or it cannot be started.
    """

    id, lasting = None, False

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str]):
        make_folder(log.parent, MOVE)
        try:
            with log.open("ab") as file:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            what = error.filename or command[0]
            raise UserError(f"{what}: cannot start a run ({error.strerror})") from error

    def poll(self) -> int | None:
        """Exit status, None as long as it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Ask it to end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and the processes that it has started."""
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()


class Submitit:
    """Jobs of a SLURM cluster through `submitit`; `cluster=local` tries it without one.

    A job that is preempted or reaches its time limit is queued again and goes on. A job of an
    earlier process that is still in the queue is waited for and not submitted again.

    Args:
        sweep: The sweep; its folder has to be on a file system that all nodes see.
        jobs: Jobs in the queue at a time; None for all.
        cluster: `slurm` or `local`.
        **parameters: Those of submitit: `timeout_min`, `gpus_per_node`, `slurm_partition`, ...

    Raises:
        UserError: If submitit is not installed, or does not take the parameters.
    """

    def __init__(
        self, sweep: Sweep, jobs: int | None = None, cluster: str = "slurm", **parameters: Any
    ):
        try:
            import submitit
        except ImportError as error:
            raise UserError(
                "launcher=submitit needs submitit; install it with pip install 'nucleist[slurm]'"
            ) from error
        self.sweep, self.jobs = sweep, jobs or self.default_jobs(sweep)
        self.slurm = cluster == "slurm"
        try:
            self.executor = submitit.AutoExecutor(sweep.folder / "submitit", cluster=cluster)
            self.executor.update_parameters(**parameters)
        except Exception as error:  # RuntimeError, NameError or TypeError
            raise UserError(f"launcher=submitit: {' '.join(str(error).split())}") from error

    @staticmethod
    def default_jobs(sweep: Sweep) -> int:
        """All: the queue decides when each of them starts."""
        return max(len(sweep.runs), 1)

    def has(self, run: SweepRun) -> bool:
        """Whether a run is in the queue of a cluster, as this or an earlier process left it."""
        if not self.slurm or run.job is None:
            return False
        ask = ["squeue", "--noheader", "--format=%T", f"--jobs={run.job}"]
        try:
            answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        except OSError:
            return False
        return answer.returncode == 0 and bool(answer.stdout.strip())

    def start(self, run: SweepRun, place: int) -> "Submitted":
        """Submit a run, unless it is in the queue already."""
        if self.has(run):
            from submitit import SlurmJob

            return Submitted(SlurmJob(self.executor.folder, str(run.job)))
        log = self.sweep.log(run).absolute()
        make_folder(log.parent, MOVE)
        job = Requeued(command_of(self.sweep, run), str(log))
        try:
            return Submitted(self.executor.submit(job))
        except Exception as error:  # sbatch's message, in submitit's own exceptions
            raise UserError(f"launcher=submitit: {' '.join(str(error).split())}") from error


class Submitted:
    """A run in the queue."""

    lasting = True

    def __init__(self, job: Any):
        self.job, self.id = job, str(job.job_id)

    def poll(self) -> int | None:
        """Exit status, None as long as it waits or runs."""
        if not self.job.done():
            return None
        try:
            return int(self.job.result())
        except Exception:  # the job itself failed: cancelled, out of time, no memory
            return 1

    def stop(self) -> None:
        """Take it from the queue."""
        self.job.cancel(check=False)

    def kill(self) -> None:
        """As `stop`."""
        self.stop()
