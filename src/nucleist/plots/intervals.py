"""Scores with intervals against the share of labels, a line for each method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nucleist.plots.curves import COLORS, save_figure

APART = 1.03
"""Factor between the places of two methods, so that their intervals do not cover each other."""


class IntervalCurve(NamedTuple):
    """A line.

    Attributes:
        name: In the legend.
        points: Value, lower and upper end by their place, which is above 0.
    """

    name: str
    points: Mapping[float, tuple[float, float, float]]


def save_intervals(path: Path, curves: Sequence[IntervalCurve], x_label: str, y_label: str) -> None:
    """Write `interval_figure` as PNG, SVG or PDF, by the suffix.

    Raises:
        UserError: If the file cannot be written.
    """
    save_figure(path, interval_figure(curves, x_label, y_label))


def interval_figure(curves: Sequence[IntervalCurve], x_label: str, y_label: str) -> Figure:
    """Lines through the values, with bars for the intervals; the horizontal axis is logarithmic.

    Args:
        curves: The lines, at least one, each with a point.
        x_label: Words below.
        y_label: Words above the axes.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, curve in enumerate(curves):
        places = sorted(curve.points)
        middle, low, high = zip(*(curve.points[x] for x in places), strict=True)
        below, above = np.subtract(middle, low), np.subtract(high, middle)
        moved = [x * APART ** (i - (len(curves) - 1) / 2) for x in places]
        color = COLORS[i % len(COLORS)]
        axes.errorbar(
            moved, middle, [below, above], color=color, marker="o", capsize=3, lw=1.8,
            label=curve.name,
        )  # fmt: skip
    marks = sorted({x for curve in curves for x in curve.points})
    axes.set(xscale="log", xlabel=x_label)
    axes.minorticks_off()
    axes.set_xticks(marks, [f"{x:g}" for x in marks])
    axes.set_title(y_label, loc="left", fontsize=11)
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
