"""Figures that the partial-annotation papers printed, shown beside ours.

Feng et al., Robust Nucleus Detection With Partially Labeled Exemplars, IEEE Access 2019, and arXiv
1907.09738. DIST is Naylor et al., IEEE TMI 2019, CNN3 is Kumar et al., IEEE TMI 2017, both as
printed there. Every line of the files names its table.
"""

import csv
from importlib import resources

from nucleist.report.grouping import RunGroup
from nucleist.training.finished import number

FLUORESCENCE = ("DH100", "BBBC038")
"""Readers of the data set of the papers' Tables 1 and 2, and of the one used in its place."""


def published(name: str) -> list[dict[str, str]]:
    """Rows of `published/<name>.csv`."""
    file = resources.files("nucleist.report") / "published" / f"{name}.csv"
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def row_of(group: RunGroup, source: str) -> str | None:
    """Name of the row of the papers' Table 1 with the same model and annotation, if there is one.

    Args:
        group: Our runs.
        source: Name of the reader of our images.
    """
    if source not in FLUORESCENCE:
        return None
    warm = bool(number(group.runs[0].get("callbacks.warmup.steps")))
    kind = "crop_fraction" if group.is_crop else "fraction"
    for row in published("table1"):
        same = group.fraction is not None and number(row[kind]) == group.fraction
        if same and row["model"] == group.target and (row["warmup"] == "yes") == warm:
            return row["row"]
    return None


def figures_of(table: str, row: str | None) -> dict[str, float | None]:
    """The numbers of a row by the names of the columns; empty if the table has no such row."""
    for found in published(table):
        if row is not None and found["row"] == row:
            return {key: number(value) for key, value in found.items()}
    return {}
