"""How fast a training is and how much memory it takes, measured while it runs.

These are the columns of Table 2 of Feng et al., IEEE Access 2019. A run shares its machine with
whatever else is at work there: to compare models, `nucleist report measure=true` measures them one
after the other.
"""

import platform
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MB = 2**20


class Speed(Callback):
    """Times training steps and, in a test, the net alone; changes nothing of what is computed.

    A step is what lies between two optimiser steps: loading, augmentation, forward and backward,
    without validation. A resumed run measures only the steps after it was resumed.

    Args:
        warm: So many steps and images at the beginning do not count, if there are more.

    Attributes:
        steps: Seconds of each optimiser step of this process.
        images: Seconds of the net for each test image, from the image to its label map.
    """

    def __init__(self, warm: int = 0) -> None:
        self.warm = warm
        self.steps: list[float] = []
        self.images: list[float] = []
        self._since, self._done = 0.0, 0
        self._begun = 0.0
        self._hooks: list[Any] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first step begins."""
        self._since, self._done = time.perf_counter(), trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """A step ends, unless gradients are gathered from more batches."""
        if trainer.global_step == self._done:
            return
        now = time.perf_counter()
        self.steps.append(now - self._since)
        self._since, self._done = now, trainer.global_step

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The next step begins only now."""
        self._since = time.perf_counter()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time the net, not what scores its predictions."""
        net: Any = pl_module.net
        self.images = []
        self._hooks = [
            net.register_forward_pre_hook(self._begin),
            net.register_forward_hook(self._end),
        ]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the net as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _begin(self, net: nn.Module, given: tuple[Any, ...]) -> None:
        _wait()
        self._begun = time.perf_counter()

    def _end(self, net: nn.Module, given: tuple[Any, ...], found: Any) -> None:
        _wait()
        count = len(given[0])
        self.images += [(time.perf_counter() - self._begun) / count] * count

    def measured(self, device: torch.device) -> dict[str, Any]:
        """Medians and the peak of memory so far, for a run's summary.

        Args:
            device: Where the net is.

        Returns:
            `seconds_per_step` and `seconds_per_image` as far as there were any,
            `peak_memory_mb` (MB of 2**20 bytes; what the GPU has allocated, or the resident set
            of this process) where the system reports it, `device` and `measured_by`.
        """
        found: dict[str, Any] = {}
        for name, seconds in (("step", self.steps), ("image", self.images)):
            if counted := seconds[self.warm :] or seconds:
                found[f"seconds_per_{name}"] = round(median(counted), 5)
        peak = peak_memory(device)
        if peak is not None:
            found["peak_memory_mb"] = round(peak / MB, 1)
        return {**found, "device": device_name(device), "measured_by": "run"}


def _wait() -> None:
    """Until the GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> int | None:
    """The most memory held so far, in bytes; None where the system does not report it.

    Args:
        device: A `cuda` device for what its allocator gave out, any other for the resident set
            of this process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = [line for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    if lines:  # rusage also counts what the process that started this one held then
        return int(lines[0].split()[1]) * 1024
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)  # bytes there, kilobytes elsewhere


def device_name(device: torch.device) -> str:
    """Name of a GPU, or of the CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{_cpu()}, {torch.get_num_threads()} threads"


def _cpu() -> str:
    lines = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    named = lines[0].partition(":")[2].strip() if lines else ""
    return named or platform.processor() or platform.machine()


def _lines(path: str) -> list[str]:
    """Lines of a file that Linux has and other systems may not."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
