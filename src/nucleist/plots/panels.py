"""Pictures side by side with captions and boxes, and maps in [0, 1] over an image."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from nucleist.files import replacing
from nucleist.plots.overlay import to_display


class Panel(NamedTuple):
    """One picture of a row.

    Attributes:
        pixels: `(H, W, 3)` `uint8`.
        caption: Above it.
        boxes: `(K, 4)` pixels, xyxy, half-open, outlined in yellow; `None` for none.
    """

    pixels: np.ndarray
    caption: str
    boxes: np.ndarray | None = None


def save_panels(path: str | os.PathLike[str], panels: Sequence[Panel], title: str) -> None:
    """Write a PNG of panels side by side with captions, boxes outlined.

    Args:
        path: PNG to write; its folder is made if it is missing.
        panels: At least one; all are as high as the first.
        title: Above all.

    Raises:
        UserError: If the file cannot be written.
    """
    height, width = panels[0].pixels.shape[:2]
    size = 4.0 * len(panels), 4.0 * height / width + 0.8
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(every, panels, strict=True):
        axes.imshow(panel.pixels, interpolation="nearest")
        axes.set_title(panel.caption, loc="left", fontsize=9)
        axes.set_axis_off()
        for x0, y0, x1, y1 in panel.boxes if panel.boxes is not None else ():
            corner = (x0 - 0.5, y0 - 0.5)  # imshow centres a pixel on its whole number
            box = Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="#ffe100", lw=1.0)
            axes.add_patch(box)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=150, bbox_inches="tight", pad_inches=0.1)


def heat_map(image: np.ndarray, heat: np.ndarray | Tensor) -> np.ndarray:
    """A map in [0, 1] over a gray image; its colours are matplotlib's inferno.

    Args:
        image: `(H, W)` or `(H, W, C)`, anything that `to_display` accepts.
        heat: `(h, w)` in [0, 1], of any size; enlarged or reduced to the image by its nearest
            values.

    Returns:
        `(H, W, 3)` `uint8`.
    """
    size = image.shape[:2]
    small = torch.as_tensor(heat)[None, None].float().cpu()
    grown = F.interpolate(small, size=size, mode="nearest-exact")[0, 0].numpy()
    color = matplotlib.colormaps["inferno"](grown)[..., :3] * 255
    gray = to_display(image).astype(np.float64).mean(2, keepdims=True)
    weight = 0.25 + 0.75 * grown[..., None]
    return (weight * color + (1 - weight) * gray).astype(np.uint8)
