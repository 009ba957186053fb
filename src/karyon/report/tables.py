"""Tables 1 and 2 of the partial-annotation papers from our runs, the papers' figures beside them.

Feng et al., IEEE Access 2019, Tables 1 (scores) and 2 (size and speed); arXiv 1907.09738, Table I.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from karyon.report.collect import AVERAGES, METRICS, PARTS, Run, number
from karyon.report.grouping import DataSet, Model
from karyon.report.published import figures_of, row_of
from karyon.report.table import SPREAD, Column, Row, Spread, Table, Value, setting, spread

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
SPEED = (
    ("seconds_per_step", "s a step"),
    ("seconds_per_image", "s an image"),
    ("peak_memory_mb", "peak memory, MB"),
)
PAPER_SPEED = (("parameters_millions", "parameters, millions"), *SPEED)


class View(NamedTuple):
    """Which figures a table shows: of which checkpoint, at which threshold, how averaged."""

    checkpoint: str
    part: str
    average: str
    headline: bool
    paper: bool


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
    tables = (_scores(data, view) for view in VIEWS)
    return [table for table in tables if table.rows]


def _scores(data: DataSet, view: View) -> Table:
    full = data.full()
    columns = [
        Column("model", "model"),
        Column("annotation", "labels"),
        Column("labelled_nuclei", "labelled nuclei"),
        Column("seeds", "seeds", folds=True),
        Column("score_threshold", "score threshold", digits=2, folds=True),
        Column("step", "step", folds=True),
        *(Column(f"{m}_{view.average}", title) for m, title in METRICS.items()),
        Column("map_of_all_labels", "mAP / all labels"),
        *_paper_columns(view.paper),
    ]
    rows = []
    for model in data.models:
        figures = {m: _figures(data, model, view, m) for m in METRICS}
        if not figures["map"]:
            continue
        cells: list[Value] = [model.title, model.annotation, setting(model.nuclei)]
        cells += [len(figures["map"]), _threshold(model, view.part), _steps(data, model, view)]
        cells += [spread(found) for found in figures.values()]
        whole = _figures(data, full, view, "map") if full else ()
        cells.append(_ratio(figures["map"], whole))
        cells += _paper_cells(data, model, view.paper)
        rows.append(Row(tuple(cells), model.key))
    return Table(
        f"table1_{data.key}_{view.checkpoint}_{view.part}_{view.average}",
        f"Table 1. {view.checkpoint.capitalize()} checkpoint, {PARTS[view.part]}, "
        f"{AVERAGES[view.average]}",
        tuple(columns),
        tuple(rows),
        tuple(_notes(data, view)),
        view.headline,
    ).without_empty_columns()


def _notes(data: DataSet, view: View) -> Iterator[str]:
    yield f"{KINDS[view.part]} {HOW[view.average]} {SPREAD}"
    if view.checkpoint == "best":
        yield BEST.format(where=" (on the test images)" if data.tested_on_validation else "")
    if view.paper and any(row_of(model, data.source) for model in data.models):
        yield PAPER


def _figures(data: DataSet, model: Model, view: View, metric: str) -> tuple[float, ...]:
    if view.checkpoint == "last":
        return model.scores(view.part, metric, view.average)
    found = (_best(data, run, view.part, f"{metric}_{view.average}") for run in model.runs)
    return tuple(value for _, value in filter(None, found))


def _steps(data: DataSet, model: Model, view: View) -> Value:
    if view.checkpoint == "last":
        return setting(number(run.summary.get("steps")) or 0.0 for run in model.runs)
    found = (_best(data, run, view.part, f"map_{view.average}") for run in model.runs)
    return setting(step for step, _ in filter(None, found))


def _best(data: DataSet, run: Run, part: str, column: str) -> tuple[float, float] | None:
    """Step and figure of the best checkpoint: as tested, else as validated on the same images."""
    tested = run.summary.get("best_checkpoint")
    metric, _, average = column.partition("_")
    if isinstance(tested, dict):
        own = Run(run.folder, tested, {}, "", {}).score(part, metric, average)
        return None if own is None else (number(tested.get("step")) or 0.0, own)
    curve = run.curve("val/map_pooled")
    if part != "test" or not curve or not data.tested_on_validation:
        return None
    step = max(curve, key=lambda point: point[1])[0]
    found = dict(run.curve(f"val/{column}")).get(step)
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


def table2(data: DataSet) -> Table:
    """Parameters, seconds and memory, as far as the runs recorded them."""
    columns = (
        Column("model", "model"),
        Column("parameters_millions", "parameters, millions", digits=2),
        *(Column(name, title) for name, title in SPEED),
        Column("seconds_per_step_all", "s a step, validation included"),
        Column("device", "device"),
        Column("measured_by", "measured"),
        Column("row", "row", True),
        *(Column(name, title, True, _digits(name)) for name, title in PAPER_SPEED),
    )
    rows = [Row(tuple(_speed_cells(data, model)), model.key) for model in data.models]
    return Table(
        f"table2_{data.key}",
        "Table 2. Size and speed",
        columns,
        tuple(rows),
        (
            SPREAD,
            "Each run was measured in its own process, on a machine that other work may have "
            "shared, unless the last column of ours says bench (all models in one process order): "
            "compare with care. Memory is what the GPU allocated, or the resident set on a CPU. "
            "The paper's: four V100, 8 images a step.",
        ),
    ).without_empty_columns()


def _speed_cells(data: DataSet, model: Model) -> Iterator[Value]:
    yield model.title
    counts = [number(run.summary.get("parameters")) for run in model.runs]
    yield setting([count / 1e6 for count in counts if count is not None], 2)
    for name, _ in SPEED:
        yield _over(model, lambda run, name=name: number(_speed(run).get(name)), _digits(name))  # type: ignore[misc]
    yield _over(model, _whole_step, 3)
    for name in ("device", "measured_by"):
        yield _joined(str(_speed(run)[name]) for run in model.runs if name in _speed(run))
    row = row_of(model, data.source)
    figures = figures_of("table2", row)
    yield row if figures else None
    for name, _ in PAPER_SPEED:
        yield figures.get(name)


def _speed(run: Run) -> dict[str, object]:
    found = run.summary.get("speed")
    return found if isinstance(found, dict) else {}


def _whole_step(run: Run) -> float | None:
    seconds, steps = number(run.summary.get("train_seconds")), number(run.summary.get("steps"))
    return seconds / steps if seconds is not None and steps else None


def _digits(name: str) -> int:
    return 0 if name.endswith("_mb") else 3 if "second" in name else 1


def _over(model: Model, read: Callable[[Run], float | None], digits: int) -> Value:
    found = [read(run) for run in model.runs]
    return spread([value for value in found if value is not None], digits)


def _joined(words: Iterator[str]) -> str | None:
    return " / ".join(dict.fromkeys(words)) or None
