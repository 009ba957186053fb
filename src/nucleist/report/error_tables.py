"""Table 1c: touching nuclei, splits and merges, as the NuSeT paper counts them, of every model.

Yang et al., PLoS Comput Biol 2020, S1 and S2 Tables. `nucleist metrics NAME` has the definitions.
"""

from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.score_tables import (
    KINDS,
    View,
    evidence_at,
    figures_at,
    threshold_at,
)
from nucleist.report.table import SPREAD, Column, Row, Table, Value, over_seeds
from nucleist.training.finished import APART, PARTS

RATES = {
    "touching_separated": "touching nuclei separated",
    "missed_rate": "F.N. rate",
    "spurious_rate": "F.P. rate",
}
"""Pooled over all nuclei, with their names in print."""

NUMBERS = {
    **{"correct": "correct", "incorrect": "incorrect", "split": "splits", "merge": "merges"},
    **{"catastrophe": "catastrophes", "missed": "missed", "gained": "gained"},
}
"""Numbers over all images."""

PIXELS = {
    **{"pixel_mean_iu": "mean IU", "pixel_mean_f1": "mean F1", "pixel_rmse": "RMSE"},
    **{"pixel_accuracy": "pixel accuracy", "coarse_mean_iu": "mean IU of the coarse mask"},
}
"""Means over images."""

VIEWS = (
    View("last", "test", "pooled", True, False),
    View("last", "test_calibrated", "pooled", False, False),
    View("best", "test", "pooled", False, False),
    View("best", "test_calibrated", "pooled", False, False),
    View("last", "validation", "pooled", True, False),
)

HOW = (
    "As in the NuSeT paper: objects are counted over all images, rates are shares of all true "
    "nuclei, and pixel scores are means over images. `nucleist metrics merge` and the like have "
    "the definitions. Only where every nucleus of every image is labelled."
)


def table1c(benchmark: Benchmark) -> list[Table]:
    """Kinds of errors of every model: last and best checkpoint, two thresholds."""
    tables = (_errors(benchmark, view) for view in VIEWS)
    return [table for table in tables if table.rows]


def _errors(benchmark: Benchmark, view: View) -> Table:
    columns = [
        Column("model", "model"),
        Column("annotation", "labels"),
        Column("seeds", "seeds", folds=True),
        Column("score_threshold", "score threshold", digits=2, folds=True),
        *(Column(f"{name}_pooled", title, dash=True) for name, title in RATES.items()),
        *(Column(name, title, dash=True) for name, title in NUMBERS.items()),
        *(Column(f"{name}_per_image", title, dash=True) for name, title in PIXELS.items()),
    ]
    rows = [_row(benchmark, group, view) for group in benchmark.groups]
    place = f"table1c_{benchmark.key}_{view.checkpoint}_{view.part}"
    title = (
        f"Table 1c: touching nuclei, splits and merges. {view.checkpoint.capitalize()} checkpoint, "
        f"{(PARTS | APART)[view.part]}"
    )
    notes = (f"{KINDS[view.part]} {HOW} {SPREAD}",)
    found = tuple(row for row in rows if row is not None)
    table = Table(place, title, tuple(columns), found, notes, view.headline)
    return table.without_empty_columns()


def _row(benchmark: Benchmark, group: RunGroup, view: View) -> Row | None:
    """The row of a model; None if none of its runs has such scores."""
    rates = [figures_at(benchmark, group, view, name) for name in RATES]
    each = view._replace(average="per_image")
    pixels = [figures_at(benchmark, group, each, name) for name in PIXELS]
    if not any(rates):
        return None
    cells: list[Value] = [group.brief or group.title, group.annotation]
    cells += [max(map(len, rates)), threshold_at(group, view.part)]
    cells += [over_seeds(found) for found in rates]
    cells += [evidence_at(benchmark, group, view, name) for name in NUMBERS]
    cells += [over_seeds(found) for found in pixels]
    return Row(tuple(cells), group.key)
