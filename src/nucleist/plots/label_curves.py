"""Scores against the number or the share of labels: a curve for each family, a dot for each run."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from nucleist.plots.curves import Dash, curve_style, fit_height, moved_apart, save_figure

MEAN_MAP = "mAP, mean over IoU 0.50:0.05:0.95"
"""Words at the left if nothing else is asked for."""

LabelPoints = list[tuple[float, tuple[float, ...]]]
"""Positions in ascending order, each with one value for each run."""

LabelCurves = Mapping[str, LabelPoints]
"""Points by the name of their family."""


def save_label_curves(
    path: Path,
    panels: Mapping[str, LabelCurves],
    x_label: str,
    *,
    shares: bool = False,
    y_label: str = MEAN_MAP,
) -> None:
    """Write `label_figure` as PNG, SVG or PDF, by the suffix.

    Raises:
        UserError: If the file cannot be written.
    """
    save_figure(path, label_figure(panels, x_label, shares=shares, y_label=y_label))


def label_figure(
    panels: Mapping[str, LabelCurves],
    x_label: str,
    *,
    shares: bool = False,
    y_label: str = MEAN_MAP,
) -> Figure:
    """Panels side by side with a common vertical axis and logarithmic horizontal ones.

    Args:
        panels: By title, the points of each family.
        x_label: Words below.
        shares: Whether positions are shares in (0, 1], which are marked in percent.
        y_label: Words at the left.
    """
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    every: list[Axes] = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    names = sorted({name for panel in panels.values() for name in panel})
    styles = {name: curve_style(i) for i, name in enumerate(names)}
    for axes, (title, panel) in zip(every, panels.items(), strict=True):
        for name, points in panel.items():
            _draw_family(axes, points, styles[name])
        axes.set(xscale="log", xlabel=f"{x_label} (log scale)")
        axes.set_title(title, loc="left", fontsize=11)
        places = sorted({x for points in panel.values() for x, _ in points})
        _ticks(axes, places if shares else None)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", lw=0.8)
        axes.set_axisbelow(True)
    every[0].set_ylabel(y_label)
    values = [v for panel in panels.values() for points in panel.values() for _, v in points]
    fit_height(every[0], min(map(min, values)), max(map(max, values)))
    last = list(panels.values())[-1]
    if len({points[-1][0] for points in last.values()}) == 1:
        _name(every[-1], last, styles)
    else:  # lines from names to curves that end early would cross the others
        lines = [
            Line2D([], [], color=styles[n][0], ls=styles[n][1], lw=2.2, label=textwrap.fill(n, 28))
            for n in names
        ]
        figure.legend(handles=lines, loc="outside right upper", frameon=False, handlelength=4)
    return figure


def _ticks(axes: Axes, shares: Sequence[float] | None) -> None:
    """Mark every share in percent, or else 1, 2 and 5 of each power of ten."""
    axes.minorticks_off()
    if shares is not None:
        axes.set_xticks(shares, [f"{100 * x:g} %" for x in shares])
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _draw_family(axes: Axes, points: LabelPoints, drawn: tuple[str, Dash]) -> None:
    color, dash = drawn
    x = [at for at, _ in points]
    low, high = [min(v) for _, v in points], [max(v) for _, v in points]
    axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
    axes.plot(x, [float(np.mean(v)) for _, v in points], color=color, ls=dash, lw=2.2)
    runs = [(at, value) for at, values in points for value in values]
    dots, values = zip(*runs, strict=True)
    axes.plot(dots, values, "o", color=color, markersize=5, alpha=0.7, markeredgewidth=0)


def _name(axes: Axes, panel: LabelCurves, styles: Mapping[str, tuple[str, Dash]]) -> None:
    """Write names beside the last points; names that would overlap are moved apart."""
    ends = sorted((float(np.mean(p[-1][1])), p[-1][0], name) for name, p in panel.items())
    bottom, top = axes.get_ylim()
    heights = moved_apart([(value - bottom) / (top - bottom) for value, _, _ in ends], gap=0.09)
    for (value, x, name), height in zip(ends, heights, strict=True):
        axes.annotate(
            textwrap.fill(name, 28),
            (x, value),
            (1.04, height),
            textcoords="axes fraction",
            color=styles[name][0],
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": styles[name][0], "lw": 0.7, "relpos": (0, 0.5)},
        )
