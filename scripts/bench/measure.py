"""Seconds and peak memory of cases that take turns, each in a fresh process.

In a process of its own, the peak is that of the case alone. Because the cases take turns, other
work on the machine slows all of them alike.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from scripts.bench.meter import Meter, available_bytes, refuse_more_than_there_is

LONG = 15.0
"""Seconds that the timed runs of a case may take; a slower case runs only once."""

PRELOADED = (
    "torch",
    "torchvision.models.detection",
    "torchmetrics.detection",
    "scripts.bench.bookkeeping",
    "scripts.bench.steps",
    "scripts.bench.scores",
    "scripts.bench.loading",
)
"""Imported once, before any process is forked."""

Task = Callable[..., Callable[[], Any]]
"""Prepares a case from a `Meter` and its options; the function that it returns is timed."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a run: median, fastest and slowest; CPU seconds of all threads; peak memory.

    `peak_mb` is the memory of the case alone, without the libraries and the net loaded before it.
    """

    median_s: float
    min_s: float
    max_s: float
    cpu_s: float
    runs: int
    peak_mb: float


@dataclass(frozen=True)
class Case:
    """A task to run, its device and its options."""

    task: Task
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Timing and last result of a case, or a short description of the problem."""

    timing: Timing | None = None
    result: Any = None
    problem: str | None = None


LEFT_OUT = Outcome(problem="left out (--no-large)")


def race(cases: Mapping[str, Case], runs: int) -> dict[str, Outcome]:
    """Run every case once to warm up, then up to `runs` times in turns.

    The runs of a slow case end after `LONG` seconds; if the first run takes longer than that, it
    is the one that counts.
    """
    workers: dict[str, _Worker] = {}
    try:
        for name, case in cases.items():
            workers[name] = _Worker(case)
        for worker in workers.values():
            worker.wait()
        for worker in workers.values():
            worker.warm_up(runs)
        while any(worker.left for worker in workers.values()):
            for worker in workers.values():
                worker.take_turn()
        return {name: worker.outcome() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()


class _Worker:
    """Starts and asks the process of a case. A problem ends this case, not the others."""

    def __init__(self, case: Case):
        # If an import counts GPUs through CUDA, CUDA no longer works in forked processes.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, case), daemon=True)
        self._process.start()
        theirs.close()
        self._problem: str | None = None
        self._taken: list[tuple[float, float]] = []
        self.left = 0

    def wait(self) -> None:
        """Wait until the case is prepared."""
        self._answer()

    def warm_up(self, runs: int) -> None:
        """Run for the first time and decide on the number of turns."""
        first = self._ask("run")
        if first is not None:
            self.left = min(runs, int(LONG / first[0]))
            self._taken = [] if self.left else [first]

    def take_turn(self) -> None:
        """Run once more if there is a turn left."""
        if self.left:
            self.left -= 1
            taken = self._ask("run")
            self._taken += [] if taken is None else [taken]

    def outcome(self) -> Outcome:
        """The timing and the last result, or the problem."""
        peak_mb, result = self._ask("peak"), self._ask("result")
        if self._problem is not None:
            return Outcome(problem=self._problem)
        wall, cpu = zip(*self._taken, strict=True)
        middle = statistics.median
        timing = Timing(middle(wall), min(wall), max(wall), middle(cpu), len(wall), peak_mb)
        return Outcome(timing, result)

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()

    def _ask(self, question: str) -> Any:
        if self._problem is not None:
            return None
        with suppress(OSError):  # of a process that has died, `_answer` finds the exit code
            self._pipe.send(question)
        return self._answer()

    def _answer(self) -> Any:
        try:
            problem, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            problem, value = f"killed (exit code {self._process.exitcode})", None
        if problem is not None:
            self._problem, self.left = problem, 0
        return value


def _serve(pipe: Any, case: Case) -> None:
    """Run a case in its process, on request."""
    result: Any = None
    try:
        if case.device == "cpu":
            refuse_more_than_there_is()
        meter = Meter(case.device)
        run = case.task(meter, **case.options)
        pipe.send((None, None))
        while question := pipe.recv():
            if question == "run":
                result = None  # otherwise the last result would be part of the next peak
                meter.synchronise()
                started, cpu = time.perf_counter(), time.process_time()
                result = run()
                meter.synchronise()
                answer = time.perf_counter() - started, time.process_time() - cpu
                pipe.send((None, answer))
            else:
                pipe.send((None, result if question == "result" else meter.peak_mb()))
    except Exception as error:
        pipe.send((_in_words(error), None))


def _in_words(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, ImportError):
        return "not installed"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text:
        available = available_bytes()
        return "out of memory" + (f" ({available / 1e9:.0f} GB are free)" if available else "")
    return f"failed: {type(error).__name__}: {text}"
