"""Curves of several models and seeds: a metric against iteration, or against score threshold.

Each seed is a thin line, their mean a thick one; the band goes from the lowest to the highest
value. The name of a curve is at its end, so that no legend is needed. The first kind of picture is
Fig. 4 of the PA paper (Feng et al., IEEE Access 2019).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from nucleist.files import replacing

Line = Sequence[tuple[float, float]]
"""Points (x, value) of one seed, x ascending."""

# Okabe and Ito (2008), the colours that are dark enough on white, then the same dashed
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Dash = str | tuple[int, tuple[float, ...]]
DASHES: tuple[Dash, ...] = (
    "-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (8, 1.5, 1, 1.5, 1, 1.5)),
)  # fmt: skip
TEXT_GAP = 0.055
"""Smallest distance between two names, as a share of the height of the axes."""


class MeanAndRange(NamedTuple):
    """Seeds of one model at common positions, each `(points,)` `float64`."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_and_range(lines: Sequence[Line]) -> MeanAndRange:
    """Mean and range of several seeds, at every x of any seed within the range common to all.

    A seed is interpolated between its own points, so seeds may be logged at different steps.

    Raises:
        ValueError: If a line is empty, x does not ascend, or the seeds have no x in common.

    Examples:
        >>> summary = mean_and_range([[(0, 0.0), (10, 1.0)], [(0, 0.2), (5, 0.4), (10, 0.8)]])
        >>> summary.x.tolist(), summary.mean.round(3).tolist()
        ([0.0, 5.0, 10.0], [0.1, 0.45, 0.9])
    """
    arrays = [np.asarray(line, np.float64).reshape(-1, 2) for line in lines]
    if not arrays or any(len(a) == 0 or (np.diff(a[:, 0]) <= 0).any() for a in arrays):
        raise ValueError("Expected at least one line, each with points of ascending x")
    start, end = max(a[0, 0] for a in arrays), min(a[-1, 0] for a in arrays)
    x = np.unique(np.concatenate([a[:, 0] for a in arrays]))
    x = x[(x >= start) & (x <= end)]
    if len(x) == 0:
        raise ValueError(f"Expected seeds with a common range of x, but got {start} to {end}")
    y = np.stack([np.interp(x, *a.T) for a in arrays])
    return MeanAndRange(x, y.mean(0), y.min(0), y.max(0))


def save_curves(
    path: str | os.PathLike[str],
    runs: Mapping[str, Sequence[Line]],
    *,
    x_label: str = "training iteration",
    y_label: str = "mAP, mean over IoU 0.50:0.05:0.95",
    title: str = "",
) -> None:
    """Draw a metric against the iteration, one colour a model.

    Args:
        path: PNG, SVG or PDF by its suffix; its folder is made if it is missing.
        runs: For each model a line of (iteration, value) for each seed.
        x_label: Words below.
        y_label: Words at the left.
        title: Words above.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If there are no runs, or a line is not fit to draw (see `mean_and_range`).
    """
    save_figure(path, curves_figure(runs, x_label=x_label, y_label=y_label, title=title))


def save_threshold_curves(
    path: str | os.PathLike[str],
    runs: Mapping[str, Sequence[Line]],
    *,
    chosen: Mapping[str, float] | None = None,
    fixed: float | None = 0.5,
    y_label: str = "mAP, mean over IoU 0.50:0.05:0.95",
    title: str = "",
) -> None:
    """Draw a metric against the score threshold, one colour a model.

    Args:
        path: PNG, SVG or PDF by its suffix; its folder is made if it is missing.
        runs: For each model a line of (score threshold, value) for each seed.
        chosen: Calibrated threshold of each model: a dot on its mean curve.
        fixed: Threshold at which all models are compared: a vertical line.
        y_label: Words at the left.
        title: Words above.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If there are no runs, or a line is not fit to draw (see `mean_and_range`).
    """
    figure = threshold_figure(runs, chosen=chosen, fixed=fixed, y_label=y_label, title=title)
    save_figure(path, figure)


def curves_figure(
    runs: Mapping[str, Sequence[Line]], *, x_label: str, y_label: str, title: str = ""
) -> Figure:
    """The figure that `save_curves` writes, for loggers that accept figures.

    Raises:
        ValueError: If there are no runs, or a line is not fit to draw (see `mean_and_range`).
    """
    if not runs:
        raise ValueError("Expected the curves of at least one run, but got none")
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends, summaries = [], [mean_and_range(lines) for lines in runs.values()]
    for i, (name, lines) in enumerate(runs.items()):
        color, dash = curve_style(i)
        summary = summaries[i]
        if len(lines) > 1:
            axes.fill_between(summary.x, summary.low, summary.high, color=color, alpha=0.15, lw=0)
            for line in lines:
                axes.plot(*np.asarray(line, float).T, color=color, lw=0.7, ls=dash, alpha=0.6)
        marker = "o" if len(summary.x) == 1 else None  # a line of one point would not show
        axes.plot(summary.x, summary.mean, color=color, lw=2.2, ls=dash, marker=marker, label=name)
        ends.append((summary.x[-1], summary.mean[-1], name, color))
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.margins(x=0.01)
    fit_height(axes, min(s.low.min() for s in summaries), max(s.high.max() for s in summaries))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=11)
    _name_curves(axes, ends)
    return figure


def threshold_figure(
    runs: Mapping[str, Sequence[Line]],
    *,
    chosen: Mapping[str, float] | None,
    fixed: float | None,
    y_label: str,
    title: str = "",
) -> Figure:
    """The figure that `save_threshold_curves` writes."""
    x_label = "score threshold"
    if chosen:
        x_label += " (dots: calibrated without test labels)"
    figure = curves_figure(runs, x_label=x_label, y_label=y_label, title=title)
    (axes,) = figure.axes
    if fixed is not None:
        axes.axvline(fixed, color="0.55", lw=0.8, zorder=0)
        above = axes.get_xaxis_transform()
        axes.text(fixed, 1.0, f" fixed at {fixed:g}", transform=above, color="0.4", va="top")
    for i, name in enumerate(runs):
        if chosen is not None and name in chosen:
            summary, at = mean_and_range(runs[name]), chosen[name]
            value = np.interp(at, summary.x, summary.mean)
            axes.plot(at, value, "o", color=curve_style(i)[0], markersize=8, markeredgecolor="w")
    return figure


def _name_curves(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each name beside the end of its curve; names that would overlap are moved apart."""
    ends = sorted(ends, key=lambda end: end[1])
    bottom, top = axes.get_ylim()
    heights = [(value - bottom) / (top - bottom) for _, value, _, _ in ends]
    for (x, value, name, color), height in zip(ends, moved_apart(heights), strict=True):
        axes.annotate(
            name,
            (x, value),
            (1.03, height),
            textcoords="axes fraction",
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.7,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )


def moved_apart(heights: Sequence[float], gap: float = TEXT_GAP) -> list[float]:
    """Heights moved to be `gap` apart, with the smallest sum of squared moves.

    Args:
        heights: In [0, 1], ascending.
        gap: Smallest distance between two of them.

    Examples:
        >>> moved_apart([0.5, 0.5, 0.875], gap=0.25)
        [0.375, 0.625, 0.875]
    """
    # heights minus their places in a stack of gaps must not descend: isotonic regression
    room = gap * np.arange(len(heights))
    moved = isotonic_regression(np.asarray(heights) - room).x
    return (moved.clip(0, max(1 - room[-1], 0)) + room).tolist()


def curve_style(i: int) -> tuple[str, Dash]:
    """Colour and dash of the i-th curve: all colours solid, then all dashed."""
    return COLORS[i % len(COLORS)], DASHES[i // len(COLORS) % len(DASHES)]


def fit_height(axes: Axes, low: float, high: float) -> None:
    """Leave room above the highest value, and begin at 0 unless all values are far from it.

    Scores between 0.60 and 0.65 could not be distinguished on an axis that begins at 0.

    Args:
        axes: The axes whose vertical range is set.
        low: The lowest value drawn.
        high: The highest value drawn.
    """
    bottom = min(low, 0.0) if low < high / 2 else low - 0.1 * (high - low)
    top = high + 0.03 * (high - bottom)
    axes.set_ylim(bottom, top if top > bottom else bottom + 1.0)


def save_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Write a figure whole or not at all, as PNG, SVG or PDF by its suffix.

    Raises:
        UserError: If the file cannot be written.
    """
    with replacing(path) as part:
        figure.savefig(part, format=Path(path).suffix.lstrip(".").lower() or "png", dpi=150)
