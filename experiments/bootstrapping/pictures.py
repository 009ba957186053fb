"""Draw a folder that a simulated annotator has finished, each outline by where it comes from.

The two images in which most was to be fixed, of each folder that is given.

python -m experiments.bootstrapping.pictures PICTURE.png RUNS/CELL/images ...
"""

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from nucleist.annotation.geometry import ring_of
from nucleist.annotation.session import Session
from nucleist.annotation.things import Thing
from nucleist.plots.contours import to_display
from nucleist.plots.curves import save_figure

MOST = 2
COLORS = {
    "accepted": "#56B4E9",
    "corrected": "#E69F00",
    "drawn": "#F0E442",
    "rejected": "#E00000",
}


def kind_of(thing: Thing) -> str:
    """A key of `COLORS`; empty for what is not drawn."""
    if thing.kind != "nucleus" or thing.state == "proposed":
        return ""
    if thing.state == "rejected":
        return "rejected"
    return "accepted" if thing.origin == "proposed" else thing.origin


def fixed(session: Session, index: int) -> int:
    """Number of outlines that were not right."""
    kinds = [kind_of(thing) for thing in session.picture(index).things.values()]
    return sum(kind not in ("", "accepted") for kind in kinds)


def draw(axes: Axes, session: Session, index: int) -> None:
    """One image with its outlines."""
    axes.imshow(to_display(session.image(index)))
    axes.axis("off")
    for thing in session.picture(index).things.values():
        if kind := kind_of(thing):
            x, y = ring_of(thing.anchors).points.T - 0.5  # here pixel centres are whole numbers
            axes.plot(x, y, color=COLORS[kind], lw=1)


def main(path: str, *folders: str) -> None:
    figure = Figure(figsize=(4 * MOST, 3.4 * len(folders)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(folders), MOST, squeeze=False)
    for row, folder in zip(rows, folders, strict=True):
        with Session(folder, who="picture") as session:
            order = sorted(range(len(session)), key=lambda index: -fixed(session, index))
            for axes, index in zip(row, order, strict=False):
                draw(axes, session, index)
    lines = [Line2D([], [], color=color, label=kind) for kind, color in COLORS.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False,
                  facecolor="0.3")  # fmt: skip
    save_figure(Path(path), figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a quarter as large


if __name__ == "__main__":
    main(*sys.argv[1:])
