"""The curves of a report: Fig. 4 of the paper, scores against labels and against thresholds.

Feng et al., IEEE Access 2019, Fig. 4, shows five models, a panel a metric, against the iteration.
How a score falls with the share of labels is ours: one curve a model, one dot a run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucleist.plots import save_curves, save_threshold_curves
from nucleist.plots.crossed import Curve, Kinds, kinds_of, save_crossed_curves
from nucleist.plots.curves import DASHES
from nucleist.plots.label_curves import LabelPoints, save_label_curves
from nucleist.report.grouping import DataSet, Model
from nucleist.training.finished import METRICS, PARTS, Line

CURVES = 10
"""Most curves in a picture; the rest go to a further one."""

CROSSED = 16
"""Most curves in a picture that colour and dash tell apart."""

MANY = 5
"""Fewest curves that are told by colour and dash instead of one colour each."""

CROSSED_BAND = "Lines are means over seeds, bands go from the lowest to the highest."
BAND = "Thin lines are seeds, thick ones their mean, bands go from the lowest to the highest."


class Chart(NamedTuple):
    """A picture and what it shows; `full` is the whole name of what the title has shortened."""

    path: Path
    title: str
    note: str
    full: str = ""


def charts(data: DataSet, folder: Path, notes: list[str]) -> list[Chart]:
    """Draw every curve that the runs have values for.

    Args:
        data: Models on the same images.
        folder: For the PNG files, and the same as PDF.
        notes: Takes a line on each picture that could not be drawn.
    """
    drawn = []
    for chart, draw in [*_iterations(data), *_thresholds(data), *_labels(data)]:
        placed = chart._replace(path=folder / f"{data.key}_{chart.path}.png")
        try:
            draw(placed.path)
            draw(placed.path.with_suffix(".pdf"))  # for papers
        except ValueError as error:
            notes.append(f"{data.title}: no picture {placed.path.name} ({error})")
        else:
            drawn.append(placed)
    return drawn


Job = tuple[Chart, Callable[[Path], None]]


def _iterations(data: DataSet) -> Iterator[Job]:
    """Fig. 4: each metric against the iteration."""
    images = "Test images" if data.tested_on_validation else "Validation images"
    for metric, name in METRICS.items():
        lines = {
            m.title: [run.curve(f"val/{metric}_pooled") for run in m.runs] for m in data.models
        }
        for end, some, crossed, kinds in _parts(data, lines):
            head = name.capitalize() if name.islower() else name
            title = f"{head} against the iteration{end.replace('_', ' ')}"
            band = CROSSED_BAND if crossed else BAND
            chart = Chart(Path(f"fig4_{metric}{end}"), title, f"{images}, fixed threshold. {band}")
            if crossed:
                words = "training iteration", name
                yield chart, partial(save_crossed_curves, curves=crossed, words=words, kinds=kinds)
            else:
                yield chart, partial(save_curves, runs=some, y_label=name)


def _crossed(data: DataSet, lines: Mapping[str, Sequence[Line]]) -> list[Curve]:
    """Curves by model and by labels, if there are many and several of both; else none.

    A model is told by its dash, so there must be one for each.
    """
    shown = [model for model in data.models if model.title in lines]
    kinds = [(model.family, model.annotation) for model in shown]
    several = all(len(set(words)) > 1 for words in zip(*kinds, strict=True))
    if len(shown) < MANY or not several or len(set(kinds)) < len(kinds):
        return []
    if len({family for family, _ in kinds}) > len(DASHES):
        return []
    return [Curve(m.family, m.annotation, lines[m.title], calibrated_of(m)) for m in shown]


def _thresholds(data: DataSet) -> Iterator[Job]:
    lines = {m.title: [run.thresholds("map_pooled") for run in m.runs] for m in data.models}
    found = {m.title: calibrated_of(m) for m in data.models}
    chosen = {name: value for name, value in found.items() if value is not None}
    for end, some, crossed, kinds in _parts(data, lines):
        title = f"mAP against the score threshold{end.replace('_', ' ')}"
        note = "Test images, last checkpoint. Dots: the calibrated threshold."
        words = "score threshold (dots: calibrated without test labels)", "mAP"
        draw = (
            partial(save_crossed_curves, curves=crossed, words=words, kinds=kinds, fixed=0.5)
            if crossed
            else partial(save_threshold_curves, runs=some, chosen=chosen, y_label="mAP")
        )
        band = CROSSED_BAND if crossed else BAND
        yield Chart(Path(f"thresholds{end}"), title, f"{note} {band}"), draw


def calibrated_of(model: Model) -> float | None:
    """Mean over the seeds of the calibrated score threshold."""
    found = [run.threshold("test_calibrated") for run in model.runs]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


Part = tuple[str, dict[str, Sequence[Line]], list[Curve], Kinds]
"""End of a file's name, curves by title, the same crossed (if they are), and all kinds."""


def _parts(data: DataSet, every: Mapping[str, list[Line]]) -> Iterator[Part]:
    """A picture's worth of curves at a time; a model's curves stay together where they cross."""
    full = {name: [line for line in lines if line] for name, lines in every.items()}
    names = [name for name, lines in full.items() if lines]
    if not any(len(line) > 1 for lines in full.values() for line in lines):
        return
    crossed = _crossed(data, {name: full[name] for name in names})
    kinds = kinds_of(crossed)
    shown = [model.title for model in data.models if model.title in names]
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


def _labels(data: DataSet) -> Iterator[Job]:
    """Scores against the share of labels and their number, fixed and calibrated side by side."""
    note = "Test images, last checkpoint. Dots are runs, lines join their means."
    for name, title, words, place in (
        ("fraction", "mAP against the annotated fraction", "annotated fraction", _fraction),
        ("nuclei", "mAP against the number of labelled nuclei", "labelled nuclei", _count),
    ):
        panels = {PARTS[p]: families(data, p, place) for p in ("test", "test_calibrated")}
        places = {x for panel in panels.values() for points in panel.values() for x, _ in points}
        if len(places) > 1:
            draw = partial(
                save_label_curves, panels=panels, x_label=words, shares=name == "fraction"
            )
            yield Chart(Path(f"labels_{name}"), title, note), draw


def _fraction(model: Model) -> float | None:
    return model.fraction


def _count(model: Model) -> float | None:
    return float(np.mean(model.nuclei)) or None if model.nuclei else None


def families(
    data: DataSet, part: str, place: Callable[[Model], float | None]
) -> dict[str, LabelPoints]:
    """Values of mAP of the models of each family at their places on an axis.

    Where there are many families (ablations), those with a single place are left out.
    """
    found: dict[str, dict[float, tuple[float, ...]]] = {}
    for model in data.models:
        x, values = place(model), model.scores(part, "map")
        if x is not None and values:
            points = found.setdefault(model.family, {})
            points[x] = points.get(x, ()) + values
    few = len(found) <= CURVES
    kept = {name: points for name, points in found.items() if few or len(points) > 1}
    return {name: sorted(points.items()) for name, points in sorted(kept.items())}
