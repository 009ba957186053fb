"""Curves of several models, each with several amounts of labels: colours are labels, dashes models.

The five curves of Fig. 4 of Feng et al., IEEE Access 2019, can have their names at their ends.
With more curves, two legends show the effect of more labels and the effect of the model.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nucleist.plots.curves import DASHES, Line, fit_height, mean_and_range, save_figure


class Curve(NamedTuple):
    """A model with some amount of labels.

    Attributes:
        model: Name of the model, which has a dash.
        labels: The amount of labels in words, which has a colour.
        lines: One for each seed.
        dot: Position of a dot on the mean; `None` for no dot.
    """

    model: str
    labels: str
    lines: Sequence[Line]
    dot: float | None = None


class Kinds(NamedTuple):
    """All amounts of labels and all models of a report; their look is the same in all pictures."""

    labels: tuple[str, ...]
    models: tuple[str, ...]


def kinds_of(curves: Sequence[Curve]) -> Kinds:
    """Amounts of labels and models in the order in which they occur."""
    labels = dict.fromkeys(curve.labels for curve in curves)
    return Kinds(tuple(labels), tuple(dict.fromkeys(curve.model for curve in curves)))


def save_crossed_curves(
    path: Path,
    curves: Sequence[Curve],
    words: tuple[str, str],
    kinds: Kinds | None = None,
    fixed: float | None = None,
) -> None:
    """Write `crossed_figure` as PNG, SVG or PDF by the suffix.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If a line is not fit to draw, see `nucleist.plots.curves.mean_and_range`.
    """
    save_figure(path, crossed_figure(curves, words, kinds, fixed))


def crossed_figure(
    curves: Sequence[Curve],
    words: tuple[str, str],
    kinds: Kinds | None = None,
    fixed: float | None = None,
) -> Figure:
    """Means over seeds, bands from the lowest to the highest value, and two legends.

    Args:
        curves: In the order of the legends; dots are drawn if `fixed` is given.
        words: Labels of the horizontal and of the vertical axis.
        kinds: The kinds of all curves of the report; `None` if `curves` are all.
        fixed: Position of a vertical line.
    """
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds, shown = kinds or kinds_of(curves), kinds_of(curves)
    colors = _colors(kinds.labels)
    dashes = {model: DASHES[i % len(DASHES)] for i, model in enumerate(kinds.models)}
    means = [mean_and_range(curve.lines) for curve in curves]
    for curve, mean in zip(curves, means, strict=True):
        color, dash = colors[curve.labels], dashes[curve.model]
        axes.fill_between(mean.x, mean.low, mean.high, color=color, alpha=0.12, lw=0)
        marker = "o" if len(mean.x) == 1 else None  # a line of one point would not show
        axes.plot(mean.x, mean.mean, color=color, ls=dash, lw=2.0, marker=marker)
        if fixed is not None and curve.dot is not None:
            value = np.interp(curve.dot, mean.x, mean.mean)
            axes.plot(curve.dot, value, "o", color=color, markersize=7, markeredgecolor="w")
    if fixed is not None:
        axes.axvline(fixed, color="0.55", lw=0.8, zorder=0)
    axes.set(xlabel=words[0], ylabel=words[1])
    axes.margins(x=0.01)
    fit_height(axes, min(mean.low.min() for mean in means), max(mean.high.max() for mean in means))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    shares = [Line2D([], [], color=colors[name], lw=4, label=name) for name in shown.labels]
    lines = [
        Line2D([], [], color="0.3", ls=dashes[name], label=textwrap.fill(name, 24))
        for name in shown.models
    ]
    figure.legend(handles=shares, loc="outside right upper", frameon=False)
    figure.legend(handles=lines, loc="outside right lower", frameon=False, handlelength=4)
    return figure


def _colors(labels: Sequence[str]) -> dict[str, str]:
    """Dark for the first, light for the last; the lightest is still visible on white."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(labels)))
    return {words: to_hex(shade) for words, shade in zip(labels, shades, strict=True)}
