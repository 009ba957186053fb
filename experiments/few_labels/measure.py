"""Measure one cell of few labels: counts on validation and test, as a small JSON file.

    python -m experiments.few_labels.measure MODEL RESULT CELL...

`run.py` calls it. MODEL is the run folder, or the weights where nothing was trained; then come the
fields of the cell, from its group to its recipe.
"""

import sys
from pathlib import Path

from experiments.few_labels.cells import COMMON, GROUPS, Cell
from experiments.protocol.measure import compact, loaded, measured, scored
from nucleist.config.compose import compose
from nucleist.evaluation.model import build_data
from nucleist.files import write_text
from nucleist.training.run import environment


def untrained(name: str, cell: Cell) -> dict[str, object]:
    """What weights find before anything is labelled."""
    model = loaded(name)
    words = [word for word in COMMON if word.startswith("data.")]
    data = build_data(compose("evaluate", [*GROUPS[cell.group], *words]), model, None)
    commit = environment()["git"]
    known = {"cell": cell._asdict(), "labelled_nuclei": 0, "train_seconds": 0.0, "commit": commit}
    return {**known, "overrides": [], **scored(model, data)}


def main(model: str, result: str, group: str, seed: str, *rest: str) -> None:
    labels, start, method, steps, recipe = rest
    cell = Cell(group, int(seed), labels, start, method, int(steps), recipe)
    found = measured(Path(model), cell) if cell.model is None else untrained(model, cell)
    write_text(Path(result), compact(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
