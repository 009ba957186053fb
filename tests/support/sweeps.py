"""Sweeps of stand-ins and of tiny trainings."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import nucleist.conf
from nucleist.config.compose import written_out
from nucleist.sweeps.launchers import Process
from nucleist.sweeps.sweep import Sweep, SweepRun
from support.runs import THIN

CONF = Path(next(iter(nucleist.conf.__path__)))

# A process of its own has no trainer=debug: it validates and saves as a real training does.
TINY = [word for word in THIN if word != "trainer=debug"]
TINY += ["trainer=cpu", "steps=6", "val_every=2", "checkpoint_every=1"]


def small_sweep(folder: Path, count: int) -> Sweep:
    """A sweep over `count` seeds whose runs have no overrides."""
    runs = [SweepRun(i + 1, [], [f"seed={i}"], "name", f"{i:012}", 10) for i in range(count)]
    return Sweep(folder, "title", "nucleist train -m", runs)


def finish(sweep: Sweep, run: SweepRun) -> str:
    """Python code that leaves a finished run folder."""
    folder = sweep.folder / run.name / f"1-{run.mark}-1"
    return (
        f"import pathlib; p = pathlib.Path({str(folder)!r}); p.mkdir(parents=True, exist_ok=True);"
        "(p / 'summary.json').write_text('{}');"
    )


def python(sweep: Sweep, run: SweepRun, code: str) -> Process:
    """Start Python code in the place of a training; `-S -E` makes it start fast."""
    command = [sys.executable, "-S", "-E", "-c", code]
    return Process(command, sweep.log(run), dict(os.environ))


def earlier_run(runs: Path) -> Path:
    """A finished run of the default configuration: 600 steps of 1.25 s, 12.5 minutes."""
    folder = runs / "synthetic_mask_rcnn_pa" / "1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(written_out("train", []))
    (folder / "summary.json").write_text(json.dumps({"train_seconds": 750, "steps": 600}))
    return folder


def interrupt_when(log: Path, word: str) -> threading.Thread:
    """Send Ctrl-C to this process as soon as a log contains a word."""

    def wait() -> None:
        until = time.monotonic() + 200
        while time.monotonic() < until:
            if log.exists() and word in log.read_text():
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
