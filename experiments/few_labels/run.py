"""Run the cells of few labels that have no result yet, one after the other.

    NUCLEIST_DATA=FOLDER .venv/bin/python -m experiments.few_labels.run

`--list` prints the cells and starts nothing, `--only TEXT` takes those whose name contains TEXT.
The same command goes on where it was cut. Cells that start without the group need the weights
that `python -m experiments.few_labels.weights` makes.
"""

import sys
from pathlib import Path

from experiments.few_labels.cells import WITHOUT, all_cells
from experiments.protocol.run import run_all, words_of


def main() -> int:
    given = words_of(__doc__.splitlines()[0], Path(__file__).parent).parse_args()
    cells = all_cells()
    if not given.list and not WITHOUT.exists():
        left = [cell for cell in cells if cell.start == "without"]
        print(f"{len(left)} cells wait for {WITHOUT}: python -m experiments.few_labels.weights")
        cells = [cell for cell in cells if cell not in left]
    return run_all(cells, given, "experiments.few_labels.measure")


if __name__ == "__main__":
    sys.exit(main())
