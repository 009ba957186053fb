"""Table 1 of the partial-annotation papers from our runs, and further scores.

Feng et al., IEEE Access 2019, Table 1; arXiv 1907.09738, Table I. The papers' figures are in
columns beside ours. Table 1b is not in the papers: F1 of nuclei, IoU and Dice of the foreground.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.published import figures_of, row_of
from nucleist.report.settings import fold_of
from nucleist.report.table import (
    OVER_FOLDS,
    SPREAD,
    Column,
    OverSeeds,
    Row,
    Table,
    Value,
    over_seeds,
    setting_over_seeds,
)
from nucleist.training.finished import (
    APART,
    AVERAGES,
    EVIDENCE,
    LABELLED,
    METRICS,
    MORE_METRICS,
    PARTS,
    Run,
    limits_in_words,
    number,
)

PAPER = (
    "The paper's columns are printed figures of the same model and annotation on the DH images, "
    "not on ours (ResNeXt-101 from COCO weights, 1000 steps of 8 images, best checkpoint chosen "
    "on the test images); the figures of the two papers differ, so both are shown."
)
KINDS = {
    "test": "Detections with a score above the threshold count; it was fixed beforehand.",
    "test_calibrated": "The threshold was calibrated on the labelled training nuclei alone.",
    "test_best_threshold": "The threshold was chosen on the test labels: a bound, not a result.",
    "validation": (
        "There are no test images. Where nuclei were held out, the threshold was calibrated on the "
        "same nuclei, so the figures are a little too good."
    ),
}
HOW = {
    "pooled": "Counts and areas are summed over all images before they are divided.",
    "per_image": "Each image has its own score, and all have the same weight.",
}
NOT_COMPLETE = (
    "Where images are not complete, labelled nuclei alone are scored: a detection on none of them "
    "may be right, so it is counted and not judged."
)
IN_AREAS = "{names} stand on the nuclei in the complete area alone."
BEST = (
    "The checkpoint with the highest validation {score}{where}, with the step it was saved at; the "
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
    "Foreground only: the net was trained on the foreground, at most with the number of nuclei, "
    "but with no outline of one."
)
LIMITED = "*"
"""Mark of a row with runs whose test reached a limit on the number of detections."""


class View(NamedTuple):
    """Which scores a table shows.

    Attributes:
        checkpoint: `last` or `best`.
        part: A key of `PARTS` or `APART`: the kind of score threshold.
        average: A key of `AVERAGES`.
        headline: Whether it is open on the page.
        paper: Whether the papers' figures are shown beside ours.
    """

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
    View("last", "validation", "pooled", True, False),
    View("best", "validation", "pooled", True, False),
    View("last", "validation", "per_image", False, False),
)


def table1(benchmark: Benchmark) -> list[Table]:
    """Scores of every model: last and best checkpoint, three thresholds, both averages."""
    tables = (_scores(benchmark, view, "1", {**METRICS, **LABELLED}) for view in VIEWS)
    return [table for table in tables if table.rows]


def table1b(benchmark: Benchmark) -> list[Table]:
    """The scores that are not in the paper, for the same views except the best threshold."""
    views = [view._replace(paper=False) for view in VIEWS if view.part != "test_best_threshold"]
    first = [view._replace(headline=i == 0) for i, view in enumerate(views)]
    tables = (_scores(benchmark, view, "1b", MORE_METRICS) for view in first)
    return [table for table in tables if table.rows]


def _scores(benchmark: Benchmark, view: View, name: str, metrics: Mapping[str, str]) -> Table:
    full = benchmark.full()
    columns = [
        Column("model", "model"),
        Column("annotation", "labels"),
        Column("labelled_nuclei", "labelled nuclei"),
        Column("folds", "folds", folds=True),
        Column("seeds", "seeds", folds=True),
        Column("score_threshold", "score threshold", digits=2, folds=True),
        Column("step", "step", folds=True),
        *(Column(f"{m}_{view.average}", title, dash=True) for m, title in metrics.items()),
        *(Column(f"scored_{name}", title, folds=True) for name, title in EVIDENCE.items()),
        Column("map_of_all_labels", "mAP / all labels"),
        Column("limits_reached", "limits reached", unprinted=True),
        *_paper_columns(view.paper),
    ]
    rows = []
    for group in benchmark.groups:
        figures = {m: _figures(benchmark, group, view, m) for m in metrics}
        if not any(figures.values()):
            continue
        cells: list[Value] = [
            group.brief or group.title,
            group.annotation,
            setting_over_seeds(group.nuclei),
        ]
        folds = {fold for run in group.runs if (fold := fold_of(run)) is not None}
        cells += [
            len(folds) or None,
            max(map(len, figures.values())) if not folds else len({r.seed for r in group.runs}),
            _threshold(group, view.part),
            _steps(benchmark, group, view),
        ]
        cells += [over_seeds(found) for found in figures.values()]
        cells += [_evidence(benchmark, group, view, name) for name in EVIDENCE]
        whole = _figures(benchmark, full, view, "map") if full else ()
        cells.append(_ratio(figures.get("map", ()), whole))
        limits = _limits(group, view)
        cells.append(limits)
        cells += _paper_cells(benchmark, group, view.paper)
        rows.append(Row(tuple(cells), group.key, mark=LIMITED if limits else ""))
    table = Table(
        f"table{name}_{benchmark.key}_{view.checkpoint}_{view.part}_{view.average}",
        f"{HEADS[name]}{view.checkpoint.capitalize()} checkpoint, {(PARTS | APART)[view.part]}, "
        f"{AVERAGES[view.average]}",
        tuple(columns),
        tuple(rows),
        headline=view.headline,
    ).without_empty_columns()
    names = {column.name for column in table.columns}
    return replace(table, notes=tuple(_notes(benchmark, view, names)))


def _limits(group: RunGroup, view: View) -> str | None:
    """The limits that the tests of a model's runs reached, in words."""
    found = ((run, run.limits_reached(view.checkpoint)) for run in group.runs)
    words = [f"seed {run.seed}: {limits_in_words(reached)}" for run, reached in found if reached]
    return "; ".join(words) or None


def _notes(benchmark: Benchmark, view: View, columns: Set[str]) -> Iterator[str]:
    spread = OVER_FOLDS if "folds" in columns else SPREAD
    yield f"{KINDS[view.part]} {HOW[view.average]} {spread}"
    if "scored_labelled_nuclei" in columns:
        every = (METRICS | MORE_METRICS).items()
        whole = [title for m, title in every if f"{m}_{view.average}" in columns]
        areas = f" {IN_AREAS.format(names=_joined(whole))}" if whole else ""
        yield NOT_COMPLETE + areas
    for group in benchmark.groups:
        if limits := _limits(group, view):
            yield (
                f"{LIMITED} {group.title}: detections beyond a limit are missing ({limits}), so "
                "its scores may be too low."
            )
    if (full := benchmark.full()) and "map_of_all_labels" in columns:
        yield f"mAP / all labels: ratio of the means, to those of {full.title}."
    if any(group.is_binary for group in benchmark.groups):
        yield BINARY
    if view.checkpoint == "best":
        where = " (on the test images)" if benchmark.tested_on_validation else ""
        score = "mAP" if benchmark.has_score("map") else "labelled score"
        yield BEST.format(score=score, where=where)
    if view.paper and any(row_of(group, benchmark.source) for group in benchmark.groups):
        yield PAPER


def _evidence(benchmark: Benchmark, group: RunGroup, view: View, name: str) -> Value:
    """What the scores stand on: the same number of all seeds as it is, else mean and range."""
    chosen = [_tested(run, view.checkpoint) for run in group.runs]
    found = [run.evidence(view.part, name) for run in chosen if run is not None]
    digits = 3 if name == "complete_area" else 0
    return setting_over_seeds([value for value in found if value is not None], digits)


def _tested(run: Run, checkpoint: str) -> Run | None:
    """The run with the summary of the test of a checkpoint."""
    if checkpoint == "last":
        return run
    tested = run.summary.get("best_checkpoint")
    return Run(run.folder, tested, {}, "", {}) if isinstance(tested, dict) else None


def _figures(benchmark: Benchmark, group: RunGroup, view: View, metric: str) -> tuple[float, ...]:
    runs = [run for run in group.runs if view.part not in APART or not run.has_test]
    if view.checkpoint == "last":
        scores = [run.score(view.part, metric, view.average) for run in runs]
        return tuple(value for value in scores if value is not None)
    found = (_best(benchmark, run, view.part, metric, view.average) for run in runs)
    return tuple(value for _, value in filter(None, found))


def _steps(benchmark: Benchmark, group: RunGroup, view: View) -> Value:
    if view.checkpoint == "last":
        return setting_over_seeds(number(run.summary.get("steps")) or 0.0 for run in group.runs)
    steps = []
    for run in group.runs:
        every = (_best(benchmark, run, view.part, m, view.average) for m in (*METRICS, *LABELLED))
        steps += [step for step, _ in filter(None, every)][:1]
    return setting_over_seeds(steps)


def _best(
    benchmark: Benchmark, run: Run, part: str, metric: str, average: str
) -> tuple[float, float] | None:
    """Step and score of the best checkpoint: of its test, else of validation on the test images."""
    tested = _tested(run, "best")
    if tested is not None:
        own = tested.score(part, metric, average)
        return None if own is None else (number(tested.summary.get("step")) or 0.0, own)
    curve = run.curve("val/map_pooled")
    if part != "test" or not curve or not benchmark.tested_on_validation:
        return None
    step = max(curve, key=lambda point: point[1])[0]
    found = dict(run.curve(f"val/{metric}_{average}")).get(step)
    return None if found is None else (step, found)


def _joined(names: Sequence[str]) -> str:
    """`mAP, AJI and precision`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _threshold(group: RunGroup, part: str) -> Value:
    found = [run.threshold(part) for run in group.runs]
    return setting_over_seeds([value for value in found if value is not None], 2)


def _ratio(own: tuple[float, ...], full: tuple[float, ...]) -> float | None:
    if not own or not full or sum(full) == 0:
        return None
    return OverSeeds(own).mean / OverSeeds(full).mean


def _paper_columns(wanted: bool) -> list[Column]:
    names = PAPER_SCORES if wanted else ()
    row = [Column("row", "row", True)] if wanted else []
    return row + [Column(name, title, True) for name, title in names]


def _paper_cells(benchmark: Benchmark, group: RunGroup, wanted: bool) -> list[Value]:
    if not wanted:
        return []
    row = row_of(group, benchmark.source)
    figures = figures_of("table1", row)
    count = figures.get("annotations")
    cells: list[Value] = [row, None if count is None else int(count)]
    return cells + [figures.get(name) for name, _ in PAPER_SCORES[1:]]
