"""Table 1 of the partial-annotation papers from our runs, and the scores that it does not have.

Feng et al., IEEE Access 2019, Table 1; arXiv 1907.09738, Table I. The papers' figures stand beside
ours. Table 1b is ours: F1 of nuclei, and of the foreground as a whole.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nucleist.report.grouping import DataSet, Model
from nucleist.report.published import figures_of, row_of
from nucleist.report.table import SPREAD, Column, Row, Spread, Table, Value, setting, spread
from nucleist.training.finished import (
    AVERAGES,
    METRICS,
    MORE_METRICS,
    PARTS,
    Run,
    caps_in_words,
    number,
)

PAPER = (
    "The paper's columns are printed figures for the same model and annotation on the DH images, "
    "not ours (ResNeXt-101 from COCO weights, 1000 steps of 8 images, best checkpoint chosen on "
    "the test images); the two papers differ, so both are there."
)
KINDS = {
    "test": "Detections with a score above the threshold count; it was fixed beforehand.",
    "test_calibrated": "The threshold was calibrated on the labelled training nuclei alone.",
    "test_best_threshold": "The threshold was chosen on the test labels: a bound, not a result.",
}
HOW = {
    "pooled": "Counts and areas are summed over all test images before dividing.",
    "per_image": "Each test image has a figure of its own, and all count the same.",
}
BEST = (
    "The checkpoint with the highest validation mAP{where}, with the step it was saved at; the "
    "figures are those of that validation unless the run tested the checkpoint itself."
)
PAPER_SCORES = (
    ("annotations", "nuclei"),
    ("map_ieee", "mAP (IEEE)"),
    ("aji_ieee", "AJI (IEEE)"),
    ("map_arxiv", "mAP (arXiv)"),
    ("ncs_arxiv", "NCS (arXiv)"),
    ("recall_arxiv", "recall (arXiv)"),
)
BINARY = (
    "Foreground only: in training the net saw which pixels are nuclei, and at most their number, "
    "but no outline of one."
)
CAPPED = "*"


class View(NamedTuple):
    """Which figures a table shows: of which checkpoint, at which threshold, how averaged."""

    checkpoint: str
    part: str
    average: str
    headline: bool
    paper: bool


HEADS = {"1": "Table 1. ", "1b": "Table 1b: foreground and F1. "}

VIEWS = (
    View("last", "test", "pooled", True, True),
    View("last", "test_calibrated", "pooled", True, False),
    View("last", "test_best_threshold", "pooled", False, False),
    View("best", "test", "pooled", True, True),
    View("best", "test_calibrated", "pooled", True, False),
    View("last", "test", "per_image", False, False),
    View("last", "test_calibrated", "per_image", False, False),
)


def table1(data: DataSet) -> list[Table]:
    """Scores of every model: last and best checkpoint, three thresholds, both averages."""
    tables = (_scores(data, view, "1", METRICS) for view in VIEWS)
    return [table for table in tables if table.rows]


def table1b(data: DataSet) -> list[Table]:
    """The scores that the paper does not have, for the same views but the bound."""
    views = [view._replace(paper=False) for view in VIEWS if view.part != "test_best_threshold"]
    first = [view._replace(headline=i == 0) for i, view in enumerate(views)]
    tables = (_scores(data, view, "1b", MORE_METRICS) for view in first)
    return [table for table in tables if table.rows]


def _scores(data: DataSet, view: View, name: str, metrics: Mapping[str, str]) -> Table:
    full = data.full()
    columns = [
        Column("model", "model"),
        Column("annotation", "labels"),
        Column("labelled_nuclei", "labelled nuclei"),
        Column("seeds", "seeds", folds=True),
        Column("score_threshold", "score threshold", digits=2, folds=True),
        Column("step", "step", folds=True),
        *(Column(f"{m}_{view.average}", title) for m, title in metrics.items()),
        Column("map_of_all_labels", "mAP / all labels"),
        Column("limits_reached", "limits reached", unprinted=True),
        *_paper_columns(view.paper),
    ]
    rows = []
    for model in data.models:
        figures = {m: _figures(data, model, view, m) for m in metrics}
        if not any(figures.values()):
            continue
        cells: list[Value] = [model.brief or model.title, model.annotation, setting(model.nuclei)]
        cells += [
            max(map(len, figures.values())),
            _threshold(model, view.part),
            _steps(data, model, view),
        ]
        cells += [spread(found) for found in figures.values()]
        whole = _figures(data, full, view, "map") if full else ()
        cells.append(_ratio(figures.get("map", ()), whole))
        capped = _capped(model, view)
        cells.append(capped)
        cells += _paper_cells(data, model, view.paper)
        rows.append(Row(tuple(cells), model.key, mark=CAPPED if capped else ""))
    return Table(
        f"table{name}_{data.key}_{view.checkpoint}_{view.part}_{view.average}",
        f"{HEADS[name]}{view.checkpoint.capitalize()} checkpoint, {PARTS[view.part]}, "
        f"{AVERAGES[view.average]}",
        tuple(columns),
        tuple(rows),
        tuple(_notes(data, view)),
        view.headline,
    ).without_empty_columns()


def _capped(model: Model, view: View) -> str | None:
    """Which limits cut what the runs of a model found, in words."""
    found = ((run, run.capped(view.checkpoint)) for run in model.runs)
    words = [f"seed {run.seed}: {caps_in_words(capped)}" for run, capped in found if capped]
    return "; ".join(words) or None


def _notes(data: DataSet, view: View) -> Iterator[str]:
    yield f"{KINDS[view.part]} {HOW[view.average]} {SPREAD}"
    for model in data.models:
        if capped := _capped(model, view):
            yield f"{CAPPED} {model.title}: a limit cut what was found ({capped})."
    if full := data.full():
        yield f"mAP / all labels: ratio of the means, to those of {full.title}."
    if any(model.is_binary for model in data.models):
        yield BINARY
    if view.checkpoint == "best":
        yield BEST.format(where=" (on the test images)" if data.tested_on_validation else "")
    if view.paper and any(row_of(model, data.source) for model in data.models):
        yield PAPER


def _figures(data: DataSet, model: Model, view: View, metric: str) -> tuple[float, ...]:
    if view.checkpoint == "last":
        return model.scores(view.part, metric, view.average)
    found = (_best(data, run, view.part, metric, view.average) for run in model.runs)
    return tuple(value for _, value in filter(None, found))


def _steps(data: DataSet, model: Model, view: View) -> Value:
    if view.checkpoint == "last":
        return setting(number(run.summary.get("steps")) or 0.0 for run in model.runs)
    found = (_best(data, run, view.part, "map", view.average) for run in model.runs)
    return setting(step for step, _ in filter(None, found))


def _best(
    data: DataSet, run: Run, part: str, metric: str, average: str
) -> tuple[float, float] | None:
    """Step and figure of the best checkpoint: as tested, else as validated on the same images."""
    tested = run.summary.get("best_checkpoint")
    if isinstance(tested, dict):
        own = Run(run.folder, tested, {}, "", {}).score(part, metric, average)
        return None if own is None else (number(tested.get("step")) or 0.0, own)
    curve = run.curve("val/map_pooled")
    if part != "test" or not curve or not data.tested_on_validation:
        return None
    step = max(curve, key=lambda point: point[1])[0]
    found = dict(run.curve(f"val/{metric}_{average}")).get(step)
    return None if found is None else (step, found)


def _threshold(model: Model, part: str) -> Value:
    found = [run.threshold(part) for run in model.runs]
    return setting([value for value in found if value is not None], 2)


def _ratio(own: tuple[float, ...], full: tuple[float, ...]) -> float | None:
    if not own or not full or sum(full) == 0:
        return None
    return Spread(own).mean / Spread(full).mean


def _paper_columns(wanted: bool) -> list[Column]:
    names = PAPER_SCORES if wanted else ()
    row = [Column("row", "row", True)] if wanted else []
    return row + [Column(name, title, True) for name, title in names]


def _paper_cells(data: DataSet, model: Model, wanted: bool) -> list[Value]:
    if not wanted:
        return []
    row = row_of(model, data.source)
    figures = figures_of("table1", row)
    count = figures.get("annotations")
    cells: list[Value] = [row, None if count is None else int(count)]
    return cells + [figures.get(name) for name, _ in PAPER_SCORES[1:]]
