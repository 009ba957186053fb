"""One process of several dies: the others end soon, and one line says which and what is left.

A process that waits for a dead one gets an error from the network after a moment (gloo), or never
(NCCL). So each watches: the first the processes that it has started, those the first. Whoever
sees that one is gone waits a little for an error of its own thread, then ends.
"""

import atexit
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

GRACE = 5.0
"""Seconds that a process has to end by itself."""

CUT_OFF = re.compile(r"gloo|nccl|tcpstore|connection|socket|broken pipe|timed? ?out", re.IGNORECASE)
"""What torch says when another process does not answer."""


def watch_started(trainer: Any) -> None:
    """Start a process for each further device, and end with the first that is lost.

    Args:
        trainer: Lightning's; its environment reads the variables that are set here.
    """
    started = Started(trainer)
    atexit.register(started.end)
    _watch(started.lost, started.kill)


def watch_parent() -> None:
    """In a process that `watch_started` started: end with the one that has started it."""
    parent = int(os.environ["NUCLEIST_PARENT"])

    def lost() -> str | None:
        gone = os.getppid() != parent
        return f"the first process is gone, this one ({_own()}) ends too" if gone else None

    _watch(lost, lambda: None)


def watch_others(rank: int, world: int) -> None:
    """In a process that a launcher started and watches: one line if the others are lost."""

    def error(kind: type[BaseException], value: BaseException, trace: Any) -> None:
        if not _cut_off(value):
            return before(kind, value, trace)
        why = str(value).splitlines()[0]
        _say(f"process {rank + 1} of {world} hears no more from the others ({why}){kept()}")
        os._exit(1)

    before, sys.excepthook = sys.excepthook, error


def _cut_off(error: BaseException) -> bool:
    hidden = not os.environ.get("NUCLEIST_TRACEBACK")
    return hidden and isinstance(error, RuntimeError) and bool(CUT_OFF.search(str(error)))


def _own() -> str:
    rank, world = int(os.environ["LOCAL_RANK"]), os.environ["NUCLEIST_WORLD"]
    return f"{rank + 1} of {world}"


class Started:
    """The processes that this one has started, one for each further device of the machine.

    What they write is kept aside: the first process says the same, and says more if one fails.
    """

    def __init__(self, trainer: Any):
        self.trainer, self.count = trainer, int(trainer.world_size)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0"}
        self.said: list[IO[bytes]] = []
        self.processes = [self._start(rank) for rank in range(1, self.count)]
        os.environ["LOCAL_RANK"] = "0"  # tells Lightning that all are started

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        said = tempfile.TemporaryFile()  # open as long as this process lives
        self.said.append(said)
        voice = os.dup(2)  # for its last words, if it outlives this process
        own = {"LOCAL_RANK": rank, "NUCLEIST_WORLD": self.count}
        own |= {"NUCLEIST_PARENT": os.getpid(), "NUCLEIST_VOICE": voice}
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "nucleist", *sys.argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ | {key: str(value) for key, value in own.items()},
                pass_fds=[voice] if os.name == "posix" else [],
                start_new_session=True,  # Ctrl-C reaches it through this process
            )
        finally:
            os.close(voice)

    def lost(self) -> str | None:
        """What has become of the first that failed; None if none has."""
        for rank, process in enumerate(self.processes, 2):
            status = process.poll()
            if status is None or status == 0:
                continue
            if status < 0:
                return f"process {rank} of {self.count} was killed ({signal.Signals(-status).name})"
            self.said[rank - 2].seek(0)
            text = self.said[rank - 2].read().decode(errors="replace").strip()
            if os.environ.get("NUCLEIST_TRACEBACK"):
                return f"process {rank} of {self.count} ended with status {status}:\n{text}"
            last = (text.splitlines() or ["without a word"])[-1].removeprefix("nucleist: ")
            return f"process {rank} of {self.count} ended with status {status}: {last}"
        return None

    def kill(self) -> None:
        """End them at once."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def end(self) -> None:
        """At the end of this process: theirs, within seconds."""
        until = time.monotonic() + GRACE * (self.trainer.state.status != "interrupted")
        while any(p.poll() is None for p in self.processes) and time.monotonic() < until:
            time.sleep(0.05)
        self.kill()


def _watch(lost: Callable[[], str | None], kill: Callable[[], None]) -> None:
    """End this process, with one line, soon after `lost` says something."""
    ending = threading.Lock()

    def end(line: str) -> None:
        if not ending.acquire(blocking=False):
            threading.Event().wait()  # the other thread ends the process
        _say(line + kept())
        kill()
        os._exit(1)  # not sys.exit: what waits for the dead one would go on waiting

    def look() -> None:
        while lost() is None:
            time.sleep(0.25)
        time.sleep(GRACE)
        end(lost() or "")

    def error(kind: type[BaseException], value: BaseException, trace: Any) -> None:
        until = time.monotonic() + GRACE
        while _cut_off(value) and time.monotonic() < until:
            if line := lost():
                end(line)
            time.sleep(0.1)
        before(kind, value, trace)

    before, sys.excepthook = sys.excepthook, error
    threading.Thread(target=look, daemon=True, name="nucleist-watch").start()


def kept() -> str:
    """What is left of the training, for the end of a message."""
    run = os.environ.get("NUCLEIST_RUN_DIR", "")
    last = Path(run, "checkpoints", "last.ckpt")
    return f"; {last} is kept, resume=auto goes on from it" if run and last.exists() else ""


def _say(line: str) -> None:
    text = f"nucleist: {line}\n".encode()
    with suppress(OSError):
        os.write(int(os.environ.get("NUCLEIST_VOICE", 2)), text)
