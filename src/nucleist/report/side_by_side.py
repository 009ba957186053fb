"""Times and memory of several models side by side: one process for each, one after the other.

These are the columns of Table 2 of Feng et al., IEEE Access 2019. A process measures one run, see
`nucleist.report.measure`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleist.files import read_json_if_there, write_json
from nucleist.inference.device import choose_device
from nucleist.report.grouping import RunGroup
from nucleist.report.speed_table import Amount, measured_of, place_of
from nucleist.sweeps.queued import environment_of_a_run
from nucleist.training.finished import Run
from nucleist.types import Progress, UserError


def measure_side_by_side(
    groups: Sequence[RunGroup], path: Path, amount: Amount, command: str, progress: Progress
) -> None:
    """Measure models in turn and write `speed.json`, unless that has all of them already.

    Args:
        groups: Each is measured by its first run.
        path: The file.
        amount: How much is measured, and on which device.
        command: Recorded in the file, so that the measurement can be repeated.
        progress: Notes and the bar.

    Raises:
        UserError: If the device is not available, or the file cannot be written.
    """
    known = read_json_if_there(path)
    if known and all(measured_of(group, known) for group in groups):
        progress.note(f"{path}: used again; delete it to measure anew")
        return
    choose_device(amount.device)
    runs = [group.runs[0] for group in groups]
    found: dict[str, Any] = {
        "command": command,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": _load(),
        "order": [place_of(run) for run in runs],
        **amount.settings(),
    }
    results, failed = _in_turn(runs, amount, progress)
    for run in results.values():
        found.update(device=run["device"], threads=run.pop("threads"))
    write_json(path, {**found, "runs": results, "failed": failed})


def _load() -> float | None:
    """Mean number of processes that ran or waited for a core over the last minute, if known."""
    with suppress(OSError, AttributeError):  # Windows has no such number
        return round(os.getloadavg()[0], 1)
    return None


def _in_turn(
    runs: Sequence[Run], amount: Amount, progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """The results of each run, a list with one value a round, and why a run has none."""
    results: dict[str, Any] = {}
    failed: dict[str, str] = {}
    by_place = {place_of(run): run for run in runs}
    for place in progress.watch([*by_place] * amount.rounds, "measuring"):
        if place in failed:
            continue
        try:
            once = _in_process(by_place[place], amount)
        except UserError as error:
            failed[place] = str(error)
            results.pop(place, None)
            continue
        entry = results.setdefault(place, {"folder": str(by_place[place].folder)})
        for name, value in once.items():
            if name.startswith(("seconds", "peak")):
                entry.setdefault(name, []).append(value)
            else:
                entry[name] = value
    return results, failed


def _in_process(run: Run, amount: Amount) -> dict[str, Any]:
    """Measure a run once, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "speed.json"
        options = ["--steps", str(amount.steps), "--images", str(amount.images)]
        options += ["--device", amount.device, "-o", str(output)]
        command = [sys.executable, "-m", "nucleist.report.measure", str(run.folder), *options]
        variables = environment_of_a_run()
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=variables,
            check=False, errors="replace",
        )  # fmt: skip
        found = read_json_if_there(output)
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise UserError(lines[-1].removeprefix("nucleist: "))
    return found
