"""Run the cells of the protocol that have no result yet, one after the other.

    NUCLEIST_DATA=FOLDER .venv/bin/python -m experiments.protocol.run

`--list` prints the cells and starts nothing, `--only TEXT` takes those whose name contains TEXT. A
cell that was cut goes on from its last checkpoint. The same command may be started several times,
on one machine or on many: a cell is left to who holds it, and a result in results/ (committed) is
not made again.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from experiments.protocol.cells import Cell, all_cells
from nucleist.files import holding, is_held, make_folder, read_json, read_json_if_there, write_json

HERE = Path(__file__).parent


def one_thread() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1")}


def run_cell(cell: Cell, runs: Path, results: Path, measure: str) -> bool:
    """Train, then measure, each in a process of its own; whether both went well.

    Args:
        cell: What is trained.
        runs: Folder of the run folders.
        results: Folder of the result files.
        measure: The module that measures: called with the run, the result file and the cell.
    """
    folder = make_folder(runs / cell.name)
    log, result = folder / "log.txt", result_of(cell, results)
    started = time.monotonic()
    with holding(folder), log.open("a") as file:
        run = cell.model or trained(cell, runs, file)
        if run is None:
            print(f"{cell.name}: failed, see {log}", flush=True)
            return False
        if module(file, measure, run, str(result), *map(str, cell)).returncode:
            print(f"{cell.name}: not measured, see {log}", flush=True)
            return False
    seconds = round(time.monotonic() - started)
    found = read_json(result, "run it again")
    print(f"{cell.name}: {found['summary']} in {seconds} s", flush=True)
    return True


def trained(cell: Cell, runs: Path, errors: TextIO) -> str | None:
    """The run folder of a cell, once it is trained; None if that failed.

    The CPU seconds of all attempts are added up in the `cpu.json` of the cell.
    """
    before, path = cpu_seconds(), runs / cell.name / "cpu.json"
    done = module(errors, "nucleist", "train", *cell.overrides(), "-o", str(runs))
    spent = read_json_if_there(path).get("seconds", 0.0) + cpu_seconds() - before
    write_json(path, {"seconds": round(spent, 1)})
    return None if done.returncode else done.stdout.split()[-1]


def cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def module(errors: TextIO, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m WORDS` with one thread; its standard error goes to a file."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=one_thread(),
        check=False,
    )


def result_of(cell: Cell, results: Path) -> Path:
    return results / f"{cell.name}.json"


def words_of(about: str, here: Path) -> argparse.ArgumentParser:
    """The words that every list of cells takes.

    Args:
        about: What is run, in a line.
        here: Folder of the experiment.
    """
    words = argparse.ArgumentParser(description=about)
    words.add_argument("--runs", type=Path, default=Path("runs") / here.name)
    words.add_argument("--results", type=Path, default=here / "results")
    words.add_argument("--only", default="", help="a part of the names of the cells to run")
    words.add_argument("--list", action="store_true", help="print the cells, start nothing")
    return words


def run_all(cells: Iterable[Cell], given: argparse.Namespace, measure: str) -> int:
    """Run the cells without a result, or list all; the exit status.

    Args:
        cells: In the order in which they are run.
        given: What `words_of` parsed.
        measure: As of `run_cell`.
    """
    cells = [cell for cell in cells if given.only in cell.name]
    if given.list:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
        for cell in cells:
            done = read_json_if_there(result_of(cell, given.results))
            print(f"{cell.name}: {done.get('summary', 'to do')}")
        return 0
    failed = 0
    for cell in cells:
        folder = given.runs / cell.name
        if result_of(cell, given.results).exists() or (folder.exists() and is_held(folder)):
            continue
        failed += not run_cell(cell, given.runs, given.results, measure)
    return 1 if failed else 0


def main() -> int:
    words = words_of(__doc__.splitlines()[0], HERE)
    words.add_argument("--steps", type=int, default=1200)
    given = words.parse_args()
    return run_all(all_cells(given.steps), given, "experiments.protocol.measure")


if __name__ == "__main__":
    sys.exit(main())
