"""The canonical shape that a net has learned, as Fig. 3 of Costa et al., MIDL 2022."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle


def shape_picture(shape: np.ndarray, radius: float, deviation: float) -> np.ndarray:
    """The probabilities of a shape, its outline and the circle of the same mean radius.

    Args:
        shape: `(N, N)` probabilities in [0, 1], on a grid of the square from -1 to 1.
        radius: Mean radius of the outline, in the units of the square; not finite if the shape
            has no outline.
        deviation: Standard deviation of the outline's radius over the angle, divided by its mean.

    Returns:
        `(660, 750, 3)` `uint8`.
    """
    middles = (np.arange(len(shape)) + 0.5) / len(shape) * 2 - 1
    figure = Figure(figsize=(5.0, 4.4), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = axes.imshow(shape, extent=(-1, 1, 1, -1), vmin=0, vmax=1, cmap="inferno")
    if shape.min() < 0.5 <= shape.max():
        axes.contour(middles, middles, shape, [0.5], colors="#56B4E9", linewidths=1.5)
    if np.isfinite(radius):
        axes.add_patch(Circle((0, 0), radius, fill=False, ls=":", lw=1.5, color="k", zorder=3))
    text = f"mean radius {radius:.3f} (dots), angular std of radius / mean {deviation:.4f}"
    axes.set_title(f"canonical shape, p = 0.5 (line)\n{text}", loc="left", fontsize=9)
    axes.set(xlabel="x'", ylabel="y'")
    figure.colorbar(shown, ax=axes, label="p(s)")
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
