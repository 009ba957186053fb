"""The curves of a report: Fig. 4 of the paper, scores against labels and against thresholds.

Feng et al., IEEE Access 2019, Fig. 4, shows five models, a panel a metric, against the iteration.
The curves of scores against the share and the number of labels are not in the paper.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucleist.plots.crossed import Curve, Kinds, kinds_of, save_crossed_curves
from nucleist.plots.curves import DASHES, save_curves, save_threshold_curves
from nucleist.plots.label_curves import MEAN_MAP, LabelPoints, save_label_curves
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.settings import held_out_of
from nucleist.training.finished import APART, METRICS, PARTS, Line

CURVED = {"labelled_recall_50": "share of the labelled nuclei found (IoU > 0.5)"}
"""Curves of scores where images are not complete, with their names in print."""

CURVES = 10
"""Most curves in a picture; the rest go to a further one."""

CROSSED = 16
"""Most curves in a picture that colour and dash tell apart."""

MANY = 5
"""Fewest curves that differ in colour and dash instead of in colour alone."""

CROSSED_BAND = "Lines are means over seeds, bands go from the lowest to the highest."
BAND = "Thin lines are seeds, thick ones their mean, bands go from the lowest to the highest."


class Chart(NamedTuple):
    """A picture with its words.

    Attributes:
        path: The file.
        title: What it shows.
        note: From which images, at which threshold, what lines and bands are.
        full: The whole name of an image that the title has shortened.
        wide: Whether it takes the whole width of the page.
    """

    path: Path
    title: str
    note: str
    full: str = ""
    wide: bool = False


def charts(benchmark: Benchmark, folder: Path, notes: list[str]) -> list[Chart]:
    """Draw every curve that the runs have values for.

    Args:
        benchmark: Models on the same images.
        folder: For the PNG files and the same pictures as PDF.
        notes: A line on each picture that could not be drawn is added.
    """
    drawn = []
    for chart, draw in [*_iterations(benchmark), *_thresholds(benchmark), *_labels(benchmark)]:
        placed = chart._replace(path=folder / f"{benchmark.key}_{chart.path}.png")
        try:
            draw(placed.path)
            draw(placed.path.with_suffix(".pdf"))  # for papers
        except ValueError as error:
            notes.append(f"{benchmark.title}: no picture {placed.path.name} ({error})")
        else:
            drawn.append(placed)
    return drawn


Job = tuple[Chart, Callable[[Path], None]]


def _iterations(benchmark: Benchmark) -> Iterator[Job]:
    """Fig. 4: each metric against the iteration."""
    for metric, name in {**METRICS, **CURVED}.items():
        images = _validated(benchmark, metric)
        lines = {
            m.title: [run.curve(f"val/{metric}_pooled") for run in m.runs] for m in benchmark.groups
        }
        for end, some, crossed, kinds in _parts(benchmark, lines):
            title = f"{begun(name)} against the iteration{end.replace('_', ' ')}"
            band = CROSSED_BAND if crossed else BAND
            chart = Chart(Path(f"fig4_{metric}{end}"), title, f"{images}, fixed threshold. {band}")
            if crossed:
                words = "training iteration", name
                yield chart, partial(save_crossed_curves, curves=crossed, words=words, kinds=kinds)
            else:
                yield chart, partial(save_curves, runs=some, y_label=name)


def begun(name: str) -> str:
    """A name at the beginning of a title.

    Examples:
        >>> begun("recall"), begun("mAP")
        ('Recall', 'mAP')
    """
    return name if name[1:2].isupper() else name[0].upper() + name[1:]


def _validated(benchmark: Benchmark, metric: str) -> str:
    """On what the validation was, in words."""
    runs = [run for group in benchmark.groups for run in group.runs]
    if metric not in CURVED:
        return "Test images" if benchmark.tested_on_validation else "Validation images"
    known = [run for run in runs if run.curve(f"val/{metric}_pooled")]
    counts = sorted({int(y) for r in known for _, y in r.curve("val/labelled_nuclei")[-1:]})
    count = " to ".join(str(n) for n in dict.fromkeys((*counts[:1], *counts[-1:])))
    if all(held_out_of(run) for run in known):
        return f"{count} held-out nuclei of the training images"
    return f"{count} labelled nuclei, held out or of validation images"


def _crossed(benchmark: Benchmark, lines: Mapping[str, Sequence[Line]]) -> list[Curve]:
    """Curves by model and by labels, if there are many curves and several of both; else none.

    Each model needs a dash of its own.
    """
    shown = [group for group in benchmark.groups if group.title in lines]
    kinds = [(group.family, group.annotation) for group in shown]
    several = all(len(set(words)) > 1 for words in zip(*kinds, strict=True))
    if len(shown) < MANY or not several or len(set(kinds)) < len(kinds):
        return []
    if len({family for family, _ in kinds}) > len(DASHES):
        return []
    return [Curve(m.family, m.annotation, lines[m.title], calibrated_of(m)) for m in shown]


def _thresholds(benchmark: Benchmark) -> Iterator[Job]:
    metric, name = _headline(benchmark)
    lines = {
        m.title: [run.thresholds(f"{metric}_pooled") for run in m.runs] for m in benchmark.groups
    }
    found = {m.title: calibrated_of(m) for m in benchmark.groups}
    chosen = {name: value for name, value in found.items() if value is not None}
    for end, some, crossed, kinds in _parts(benchmark, lines):
        title = f"{begun(name)} against the score threshold{end.replace('_', ' ')}"
        note = f"{_scored(benchmark)}, last checkpoint. Dots: the calibrated threshold."
        words = "score threshold (dots: calibrated without test labels)", name
        draw = (
            partial(save_crossed_curves, curves=crossed, words=words, kinds=kinds, fixed=0.5)
            if crossed
            else partial(save_threshold_curves, runs=some, chosen=chosen, y_label=name)
        )
        band = CROSSED_BAND if crossed else BAND
        yield Chart(Path(f"thresholds{end}"), title, f"{note} {band}"), draw


def calibrated_of(group: RunGroup) -> float | None:
    """Mean over the seeds of the calibrated score threshold."""
    found = [
        run.threshold("test_calibrated" if run.has_test else "validation") for run in group.runs
    ]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


Part = tuple[str, dict[str, Sequence[Line]], list[Curve], Kinds]
"""End of a file's name, curves by title, the same as crossed curves (if they are), all kinds."""


def _parts(benchmark: Benchmark, every: Mapping[str, list[Line]]) -> Iterator[Part]:
    """The curves of one picture after another; crossed curves of a model stay together."""
    full = {name: [line for line in lines if line] for name, lines in every.items()}
    names = [name for name, lines in full.items() if lines]
    if not any(len(line) > 1 for lines in full.values() for line in lines):
        return
    crossed = _crossed(benchmark, {name: full[name] for name in names})
    kinds = kinds_of(crossed)
    shown = [group.title for group in benchmark.groups if group.title in names]
    if crossed:
        family = dict(zip(shown, (curve.model for curve in crossed), strict=True))
        names = sorted(names, key=lambda name: kinds.models.index(family[name]))
        groups = [[n for n in names if family[n] == model] for model in kinds.models]
    else:
        groups = [[name] for name in names]
    parts: list[list[str]] = [[]]
    for some in groups:
        if parts[-1] and len(parts[-1]) + len(some) > (CROSSED if crossed else CURVES):
            parts.append([])
        parts[-1] += some
    for i, part in enumerate(parts, start=1):
        end = f"_part_{i}" if len(parts) > 1 else ""
        own = [curve for curve, name in zip(crossed, shown, strict=False) if name in part]
        yield end, {name: full[name] for name in part}, own, kinds


def _labels(benchmark: Benchmark) -> Iterator[Job]:
    """Scores against the share of labels and their number, fixed and calibrated side by side."""
    note = f"{_scored(benchmark)}, last checkpoint. Dots are runs, lines join their means."
    metric, score = _headline(benchmark)
    axis = MEAN_MAP if metric == "map" else score
    parts = [part for part in (*PARTS, *APART) if part != "test_best_threshold"]
    for name, title, words, place in (
        (
            "fraction",
            f"{begun(score)} against the annotated fraction",
            "annotated fraction",
            _fraction,
        ),
        (
            "nuclei",
            f"{begun(score)} against the number of labelled nuclei",
            "labelled nuclei",
            _count,
        ),
    ):
        every = {(PARTS | APART)[p]: families(benchmark, p, place, metric) for p in parts}
        panels = {words: panel for words, panel in every.items() if panel}
        places = {x for panel in panels.values() for points in panel.values() for x, _ in points}
        if len(places) > 1:
            draw = partial(
                save_label_curves,
                panels=panels,
                x_label=words,
                shares=name == "fraction",
                y_label=axis,
            )
            yield Chart(Path(f"labels_{name}"), title, note, wide=True), draw


def _headline(benchmark: Benchmark) -> tuple[str, str]:
    """The score that single curves show, with its name: mAP where any run has it."""
    if benchmark.has_score("map") or not benchmark.has_score("labelled_recall_50"):
        return "map", METRICS["map"]
    return "labelled_recall_50", CURVED["labelled_recall_50"]


def _scored(benchmark: Benchmark) -> str:
    tested = any(run.has_test for group in benchmark.groups for run in group.runs)
    return "Test images" if tested else "Validation"


def _fraction(group: RunGroup) -> float | None:
    return group.fraction


def _count(group: RunGroup) -> float | None:
    return float(np.mean(group.nuclei)) or None if group.nuclei else None


def families(
    benchmark: Benchmark,
    part: str,
    place: Callable[[RunGroup], float | None],
    metric: str = "map",
) -> dict[str, LabelPoints]:
    """A score of the models of each family, by their position on the horizontal axis.

    Where there are many families (ablations), those with a single position are left out.

    Args:
        benchmark: The models.
        part: A key of `PARTS`, or of `APART` for the runs without a test.
        place: The position of a model; `None` leaves it out.
        metric: The score.
    """
    found: dict[str, dict[float, tuple[float, ...]]] = {}
    for group in benchmark.groups:
        x = place(group)
        found_in = [
            r.score(part, metric) for r in group.runs if part not in APART or not r.has_test
        ]
        values = tuple(value for value in found_in if value is not None)
        if x is not None and values:
            points = found.setdefault(group.family, {})
            points[x] = points.get(x, ()) + values
    few = len(found) <= CURVES
    kept = {name: points for name, points in found.items() if few or len(points) > 1}
    return {name: sorted(points.items()) for name, points in sorted(kept.items())}
