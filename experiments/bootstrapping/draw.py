"""The plots: what an annotation is worth against its actions, and what is gained by rounds."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.bootstrapping.cells import SHIPPED
from nucleist.plots.curves import curve_style, save_figure

Result = Mapping[str, Any]


def name_of(cell: Mapping[str, Any]) -> str:
    """Such as `520x696, 10 outlines, worklist`."""
    first = f"{cell['outlines']} outlines" if cell["outlines"] else "shipped weights"
    rules = "" if cell["rules"] == "nucleist" else f", rules of {cell['rules']}"
    group = cell["group"].replace(SHIPPED, "unseen ")
    return f"{group}, {first}, {cell['policy']}{rules}, seed {cell['seed']}"


def save_curves(
    path: Path, results: Sequence[Result], own: Mapping[str, str], goal: tuple[float, float]
) -> None:
    """Recall, precision and mean IoU of what is labelled, against the share of all by hand."""
    figure, places = _figure(3, (13, 4.6))
    for i, result in enumerate(results):
        count = own[result["cell"]["rules"]]
        shares = [100 * one.get(count, 0) / result["by_hand"][count] for one in result["curve"]]
        color, dash = curve_style(i)
        for axes, key in zip(places, ("recall", "precision", "mean_iou"), strict=True):
            points = [(x, one[key]) for x, one in zip(shares, result["curve"], strict=True) if x]
            axes.plot(*zip(*points, strict=True), color=color, ls=dash, lw=1.8,
                      label=name_of(result["cell"]))  # fmt: skip
    places[0].plot([0, 100], [0, 1], color="0.6", lw=1, ls="--", label="all by hand")
    places[0].plot(100 * goal[0], goal[1], "k*", ms=11, label="goal")
    for axes, low in zip(places, (0, 0.5, 0.5), strict=True):
        axes.set(ylim=(low, 1.01))
    for axes, words in zip(places, ("recall", "precision", "mean IoU"), strict=True):
        axes.set(xlabel="actions, % of all by hand", xlim=(0, 101))
        axes.set_title(f"{words} of the annotation", loc="left", fontsize=11)
    _legend(figure, places[0])
    save_figure(path, figure)


def save_rounds(
    path: Path,
    results: Sequence[Result],
    rows_of: Callable[[Result], Sequence[Mapping[str, Any]]],
    own: Mapping[str, str],
    goal: float,
) -> None:
    """What a finished annotation takes if one stops after each round, by either rules."""
    figure, places = _figure(len(own), (11, 4.6))
    for i, result in enumerate(results):
        rows, (color, dash) = rows_of(result), curve_style(i)
        for axes, (rules, count) in zip(places, own.items(), strict=True):
            numbers = [row["round"] for row in rows]
            shares = [100 * row[f"{rules}|{count}|end"] for row in rows]
            axes.plot(numbers, shares, color=color, ls=dash, marker="o", label=name_of(rows[0]))
    for axes, (rules, count) in zip(places, own.items(), strict=True):
        axes.axhline(100 * goal, color="0.6", lw=1, ls="--", label="goal")
        axes.set(xlabel="finished after round", xticks=[1, 2, 3], ylim=(0, None))
        axes.set_title(f"actions ({count}), % of all by hand: rules of {rules}", loc="left",
                       fontsize=11)  # fmt: skip
    _legend(figure, places[0])
    save_figure(path, figure)


def _figure(columns: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(1, columns)
    for axes in places:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9", lw=0.8)
        axes.set_axisbelow(True)
    return figure, places


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2,
                  frameon=False, fontsize=9)  # fmt: skip
