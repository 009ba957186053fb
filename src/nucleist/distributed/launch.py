"""Start one process a device of this machine, and end all of them when one is lost.

torch's elastic agent, which is also torchrun's, starts the processes, gives each its rank and
notices the first that ends. What it cannot do is here:

- After a loss it waits 30 seconds for the others, which on GPUs never notice the loss; after
  SIGTERM it waits no longer, which may be too short to save a checkpoint. `_Agent` waits `GRACE`
  and `PATIENCE`, and sends signals to the ranks alone: the agent sends them to the loader
  processes too, without which a rank cannot finish its step.
- It reports many lines. Here one error has one line.
- Its signal handlers and environment variables stay after it. Here they are put back.
- If it is killed itself the processes go on. `nucleist.distributed.worker` ends them.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.distributed import TCPStore
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

from nucleist.distributed.trainer import check_nodes
from nucleist.distributed.watch import ProcessLostError, kept
from nucleist.distributed.worker import INTERRUPTED, LOST_OTHERS, REFUSED
from nucleist.types import Progress, UserError

GRACE = 5.0
"""Seconds that the other processes have to end by themselves when one is lost, or after Ctrl-C."""

PATIENCE = 3600.0
"""Seconds that they have after SIGTERM, to end a step or validation and save a checkpoint."""

_LOGGERS = ("torch.distributed.elastic", "torchelastic-events-null")
_PUBLISHED = "nucleist/0"  # `nucleist.distributed.place.key()` in processes that never restart


def processes_wanted(
    accelerator: str = "auto", devices: Any = "auto", strategy: str = "auto", num_nodes: int = 1
) -> int:
    """How many processes a trainer needs on this machine, if nothing has started them yet.

    Args:
        accelerator: As Lightning's.
        devices: As Lightning's: a number, a list or text of GPUs, -1 or `auto` for all GPUs. On
            the CPU `auto` is 1.
        strategy: As Lightning's; only `ddp...` needs several processes.
        num_nodes: Machines.

    Raises:
        UserError: If there is more than one machine.
    """
    if not str(strategy).startswith("ddp"):
        return 1
    check_nodes(num_nodes)
    gpu = accelerator in ("gpu", "cuda")
    gpu = gpu or (accelerator == "auto" and CUDAAccelerator.is_available())
    kind = CUDAAccelerator if gpu else CPUAccelerator
    if devices == "auto":
        return kind.auto_device_count()
    try:
        parsed = kind.parse_devices(devices)
    except (MisconfigurationException, TypeError, ValueError):
        return 1  # the trainer raises the same, and names the key
    return parsed if isinstance(parsed, int) else len(parsed or [0])


def run_on_devices(
    module: str, arguments: Sequence[str], count: int, progress: Progress | None = None
) -> str:
    """Run a module in several processes of this machine, and wait for them.

    Args:
        module: Run as `python -m MODULE ARGUMENTS` by each; it calls `worker.work`.
        arguments: Its arguments.
        count: The world size.
        progress: Gets what rank 0 writes to stderr, line by line; None leaves rank 0 this
            process's stderr. What other ranks write is only kept to quote from it.

    Returns:
        What rank 0 has published last, empty if nothing.

    Raises:
        UserError: As raised in one of the processes.
        ProcessLostError: If one was killed or failed otherwise. The others have ended too.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when all have ended.
    """
    store = TCPStore(
        "127.0.0.1", 0, None, True, timedelta(minutes=5), wait_for_workers=False, multi_tenant=True
    )
    with tempfile.TemporaryDirectory(prefix="nucleist-") as logs, _put_back():
        agent = _Agent(_spec(module, arguments, count, store.port), logs, progress)
        try:
            result = agent.run()
        except SignalException as error:
            raise KeyboardInterrupt from error
        finally:
            agent.show()
            agent.close()
        published = store.get(_PUBLISHED).decode() if store.check([_PUBLISHED]) else ""
        if result.is_failed():
            raise agent.failure(result, published)
        return published


def _spec(module: str, arguments: Sequence[str], count: int, port: int) -> WorkerSpec:
    words = [word.replace("$", "$$") for word in arguments]  # the agent puts ranks in at $
    meeting = StaticTCPRendezvous("127.0.0.1", port, 0, 1, uuid.uuid4().hex, 300)
    return WorkerSpec(
        role="nucleist",
        local_world_size=count,
        rdzv_handler=meeting,
        entrypoint=sys.executable,
        args=("-m", module, *words),
        max_restarts=0,
        monitor_interval=0.1,
        master_addr="127.0.0.1",
        master_port=port,
    )


class _Agent(LocalElasticAgent):
    """torch's agent, which waits as long for its processes as the reason of their end requires."""

    def __init__(self, spec: WorkerSpec, logs: str, progress: Progress | None):
        own = Std.NONE if progress is None else Std.ERR
        streams = {rank: Std.ALL if rank else own for rank in range(spec.local_world_size)}
        super().__init__(spec, DefaultLogsSpecs(logs, redirects=streams))
        self.progress = progress
        self.failed: list[int] = []
        self._asked, self._read = False, 0

    def _handlers(self) -> dict[int, SubprocessHandler]:
        context: Any = self._pcontext
        return context.subprocess_handlers if context else {}

    def processes(self) -> dict[int, subprocess.Popen[bytes]]:
        """The processes by rank, empty before they are started."""
        return {rank: handler.proc for rank, handler in self._handlers().items()}

    def close(self) -> None:
        """Close the files of the streams, which the agent leaves open."""
        for handler in self._handlers().values():
            for stream in (handler._stdout, handler._stderr):
                if stream is not None:
                    stream.close()

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self.show()
        if any(process.poll() for process in self.processes().values()):
            self._wait(GRACE)
            self.failed = [rank for rank, process in self.processes().items() if process.poll()]
            super()._shutdown(signal.SIGKILL)
        return super()._monitor_workers(worker_group)

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, *_: Any, **__: Any) -> None:
        """End all: after a signal to this process, or at the end, when none is left."""
        for process in self.processes().values():
            process.send_signal(death_sig)  # of one that has ended nothing happens
        patient = death_sig == signal.SIGTERM and not self._asked
        self._asked = True  # after a second signal the wait is short
        self._wait(PATIENCE if patient else GRACE)
        super()._shutdown(signal.SIGKILL)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(process.poll() is None for process in self.processes().values()):
            if time.monotonic() > until:
                break
            self.show()
            time.sleep(0.05)

    def show(self) -> None:
        """Hand on the lines that rank 0 has written since the last call."""
        if self.progress is None or not (file := self._stderr(0)) or not file.exists():
            return
        with file.open("rb") as stream:
            stream.seek(self._read)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            warning = line.removeprefix("nucleist: warning: ")
            self.progress.note(line) if warning == line else self.progress.warn(warning)

    def _stderr(self, rank: int) -> Path | None:
        """Where a rank's stderr is kept, None if it is this process's."""
        path = self._pcontext.stderrs[rank] if self._pcontext else ""
        return Path(path) if path else None

    def failure(self, result: RunResult, run: str) -> BaseException:
        """What to raise after the processes have ended.

        Args:
            result: Of the agent.
            run: The run folder, empty if there is none.
        """
        failed = self.failed or list(result.failures)
        status = {rank: self.processes()[rank].returncode for rank in failed}
        rank = min(failed, key=lambda r: (status[r] == LOST_OTHERS, status[r] > 0))
        if status[rank] == INTERRUPTED:
            return KeyboardInterrupt()
        who = f"rank {rank} (world size {len(self.processes())})"
        if status[rank] < 0:
            what = f"was killed by {signal.Signals(-status[rank]).name}"
            if -status[rank] == signal.SIGABRT and (text := self._kept_stderr(rank)):
                what = f"{what} ({text.splitlines()[-1].strip()})"  # native code says why it ends
            return ProcessLostError(f"{who} {what}{kept(run)}")
        left = result.failures[rank].error_file_data
        message = str(left["message"]) if "timestamp" in left else ""  # else the agent's own
        if message and status[rank] == REFUSED:
            return UserError(message)
        if message and status[rank] == LOST_OTHERS:  # why another ended remains unknown
            return ProcessLostError(message)
        text = self._kept_stderr(rank)
        if os.environ.get("NUCLEIST_TRACEBACK") and text:
            return ProcessLostError(f"{who} failed:\n{text}")
        reason = message or (text.splitlines() or [f"status {status[rank]}"])[-1]
        return ProcessLostError(f"{who} failed: {reason}{kept(run)}")

    def _kept_stderr(self, rank: int) -> str:
        file = self._stderr(rank)
        return file.read_text(errors="replace").strip() if file else ""


@contextmanager
def _put_back() -> Iterator[None]:
    """Put back what the agent changes of this process, and keep its log messages to itself."""
    name = "TORCHELASTIC_SIGNALS_TO_HANDLE"
    variable = os.environ.get(name)
    logs = [logging.getLogger(logger) for logger in _LOGGERS]
    propagates, silent = [log.propagate for log in logs], logging.NullHandler()
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
    before = {number: signal.getsignal(number) for number in numbers}
    handled = [n.name for n, handler in before.items() if handler is not signal.SIG_IGN]
    os.environ[name] = ",".join(handled)
    for log in logs:
        log.addHandler(silent)
        log.propagate = False
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for log, propagate in zip(logs, propagates, strict=True):
            log.removeHandler(silent)
            log.propagate = propagate
        del os.environ[name]
        if variable is not None:
            os.environ[name] = variable
