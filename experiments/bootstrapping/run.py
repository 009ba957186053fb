"""Simulate the cells that have no result yet, one after the other, on one thread.

    NUCLEIST_DATA=FOLDER .venv/bin/python -m experiments.bootstrapping.run

`--list` prints the cells and starts nothing, `--only TEXT` takes those whose name contains TEXT.
The same command may be started several times: a cell is left to who holds it, and a result in
results/ (committed) is not made again.
"""

import argparse
import json
import os
from functools import partial
from pathlib import Path

from experiments.bootstrapping.cells import IMAGES, all_cells
from experiments.bootstrapping.simulate import simulate
from nucleist.files import holding, is_held, make_folder, write_text

HERE = Path(__file__).parent
UNFINISHED = "unfinished"
"""Below results/: cells of which some rounds are done."""


def written(path: Path, content: dict) -> None:
    """JSON with a line for each point and round: small, and readable in a diff."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            inner = ",\n".join("  " + json.dumps(one) for one in value)
            lines.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--runs", type=Path, default=Path("runs/bootstrapping"))
    words.add_argument("--results", type=Path, default=HERE / "results")
    words.add_argument("--only", default="", help="a part of the names of the cells to run")
    words.add_argument("--images", type=int, default=IMAGES, help="fewer, to try it")
    words.add_argument("--list", action="store_true", help="print the cells, start nothing")
    words.add_argument("settings", nargs="*", help="of the trainings, to try it")
    given = words.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # of the trainings, which are processes of their own
    for cell in all_cells():
        path = given.results / f"{cell.name}.json"
        if given.only not in cell.name:
            continue
        if given.list:
            print(f"{cell.name}: {'done' if path.exists() else 'to do'}")
            continue
        held = make_folder(given.runs / cell.name)
        if path.exists() or is_held(held):
            continue
        part = make_folder(given.results / UNFINISHED) / path.name
        with holding(held):
            place, store = held / "images", make_folder(given.runs / "trained")
            told = partial(written, part)
            found = simulate(cell, place, store, told, given.images, given.settings)
            written(path, found)
            part.unlink()
        print(f"{cell.name}: {found['seconds']} s, {found['end']}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
