"""Processes of this machine, as Linux' /proc shows them, and what is left in this one."""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from nucleist.types import Progress

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux' /proc")


def gone(pid: int) -> bool:
    """Whether a process has ended, after a moment that it may need for it."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


class Lines(Progress):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(f"warning {line}")


def state() -> tuple[Any, ...]:
    """What of this process a training or a start of others could change."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    threads = {thread.name for thread in threading.enumerate()}
    return dict(os.environ), handlers, sys.excepthook, list(warnings.filters), threads
