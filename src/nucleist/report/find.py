"""Finds run folders in any state: the finished runs, and a line on each that cannot be used."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nucleist.files import read_json_if_there
from nucleist.training.finished import Run, read_run
from nucleist.types import UserError


def find_runs(arguments: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Finished runs in and below folders, and a line on each run that is left out.

    Args:
        arguments: Run folders, or folders that hold some at any depth.

    Returns:
        Runs in the order of their folders' names, each once.

    Raises:
        UserError: If an argument does not exist or holds no run, or no run is finished.
    """
    if not arguments:
        raise UserError("no run folder is given; name some, or a folder that holds them")
    runs: dict[Path, Run] = {}
    notes: list[str] = []
    for argument in arguments:
        folders = list(run_folders(argument))
        if not folders:
            raise UserError(
                f"{argument}: no run folder in it (one with config.yaml); "
                "give folders that nucleist train wrote, or a folder that holds them"
            )
        notes += _unfinished_sweep(argument / "sweep.json")
        for folder in folders:
            if folder.resolve() not in runs:
                _read_into(runs, notes, folder)
    if not runs:
        raise UserError(f"{arguments[0]}: no finished run; {notes[0]}")
    return list(runs.values()), notes


def _unfinished_sweep(path: Path) -> list[str]:
    """A line if a sweep has unfinished runs; each one begun has a line of its own too."""
    runs = read_json_if_there(path).get("runs")
    if not isinstance(runs, list):
        return []
    missing = sum(not isinstance(run, dict) or run.get("status") != "done" for run in runs)
    return [f"{path}: {missing} of {len(runs)} runs of the sweep are not done"] if missing else []


def _read_into(runs: dict[Path, Run], notes: list[str], folder: Path) -> None:
    try:
        run = read_run(folder)
    except UserError as error:
        notes.append(f"{error}; left out")
        return
    runs[folder.resolve()] = run
    notes += run.remarks()


def run_folders(top: Path) -> Iterator[Path]:
    """Run folders at or below a folder, sorted; a run folder is not searched further.

    Raises:
        UserError: If there is no such folder.
    """
    if not top.is_dir():
        raise UserError(f"{top}: no such folder; give a run folder or one that holds some")
    for place, folders, files in os.walk(top):
        folders.sort()
        if "config.yaml" in files:
            folders.clear()
            yield Path(place)
