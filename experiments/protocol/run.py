"""Run the cells of the protocol that have no result yet, one after the other.

    NUCLEIST_DATA=FOLDER .venv/bin/python experiments/protocol/run.py

`--list` prints the cells and starts nothing, `--only TEXT` takes those whose name contains TEXT. A
cell that was cut goes on from its last checkpoint. The same command may be started several times,
on one machine or on many: a cell is left to who holds it, and a result in results/ (committed) is
not made again.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from cells import Cell, all_cells

from nucleist.files import holding, is_held, make_folder, read_json, read_json_if_there

HERE = Path(__file__).parent


def one_thread() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1")}


def run_cell(cell: Cell, runs: Path, results: Path) -> bool:
    """Train, then measure, each in a process of its own; whether both went well."""
    folder = make_folder(runs / cell.name)
    log = folder / "log.txt"
    started = time.monotonic()
    with holding(folder), log.open("a") as file:
        command = [sys.executable, "-m", "nucleist", "train", *cell.overrides(), "-o", str(runs)]
        trained = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=one_thread(), check=False
        )
        if trained.returncode:
            print(f"{cell.name}: failed, see {log}", flush=True)
            return False
        run = trained.stdout.split()[-1]
        measure = [sys.executable, str(HERE / "measure.py"), run, str(result_of(cell, results))]
        measured = subprocess.run(
            [*measure, *map(str, cell)], stderr=file, env=one_thread(), check=False
        )
        if measured.returncode:
            print(f"{cell.name}: not measured, see {log}", flush=True)
            return False
    seconds = round(time.monotonic() - started)
    found = read_json(result_of(cell, results), "run it again")
    print(f"{cell.name}: {found['summary']} in {seconds} s", flush=True)
    return True


def result_of(cell: Cell, results: Path) -> Path:
    return results / f"{cell.name}.json"


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--runs", type=Path, default=Path("runs/protocol"))
    words.add_argument("--results", type=Path, default=HERE / "results")
    words.add_argument("--only", default="", help="a part of the names of the cells to run")
    words.add_argument("--steps", type=int, default=1200)
    words.add_argument("--list", action="store_true", help="print the cells, start nothing")
    given = words.parse_args()
    cells = [cell for cell in all_cells(given.steps) if given.only in cell.name]
    if given.list:
        for cell in cells:
            done = read_json_if_there(result_of(cell, given.results))
            print(f"{cell.name}: {done.get('summary', 'to do')}")
        return 0
    failed = 0
    for cell in cells:
        folder = given.runs / cell.name
        if result_of(cell, given.results).exists() or (folder.exists() and is_held(folder)):
            continue
        failed += not run_cell(cell, given.runs, given.results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
