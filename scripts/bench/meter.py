"""Peak memory of a process or of the GPU, as a whole and of parts of the work.

On a CPU it is the peak resident memory by the kernel, on a GPU the peak of the allocator.
"""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

MB = 2**20


class Meter:
    """Measures the memory of this process or, for a `cuda` device, of the GPU.

    Attributes:
        device: Where the case runs.
    """

    def __init__(self, device: str):
        self.device = device
        self.cuda = device.startswith("cuda")
        self.start()

    def start(self) -> None:
        """Start measuring; memory that is held now is not counted."""
        gc.collect()
        with suppress(OSError, AttributeError):  # glibc may reuse freed memory without a new peak
            ctypes.CDLL(None).malloc_trim(0)
        self._held, self._highest = self._now(), 0
        self._reset()

    def peak_mb(self) -> float:
        """Peak memory since the start, without what was held at the start, in MB."""
        return max(0, max(self._highest, self._top()) - self._held) / MB

    @contextmanager
    def part(self, name: str, parts: dict[str, tuple[float, float]]) -> Iterator[None]:
        """Store seconds and peak memory (MB) of the `with` block in `parts` under its name."""
        self.synchronise()
        self._highest = max(self._highest, self._top())
        held = self._now()
        self._reset()
        started = time.perf_counter()
        yield
        self.synchronise()
        seconds = time.perf_counter() - started
        parts[name] = seconds, max(0, self._top() - held) / MB

    def synchronise(self) -> None:
        """Wait for the GPU."""
        if self.cuda:
            torch.cuda.synchronize()

    def _now(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else status_bytes("VmRSS")

    def _top(self) -> int:
        return torch.cuda.max_memory_allocated() if self.cuda else status_bytes("VmHWM")

    def _reset(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:  # Linux; other systems cannot reset the peak
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")


def status_bytes(key: str) -> int:
    """A line of /proc/self/status in bytes; where there is none, the peak resident size."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def available_bytes() -> int | None:
    """Memory that processes can still allocate, in bytes; None where it is unknown."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(row.split()[1]) * 1024 for row in lines if row.startswith("MemAvailable"))
    return None


def refuse_more_than_there_is() -> None:
    """Limit the memory of this process, so that it fails before the machine has none left."""
    available = available_bytes()
    if available is not None:
        limit = status_bytes("VmData") + int(0.95 * available)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
