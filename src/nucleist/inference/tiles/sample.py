"""What is measured on an image as a whole before its tiles are outlined, from a sample if need be.

The sample is the same at every start: windows spread evenly over the image.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.data.targets import to_tensor
from nucleist.inference.own_grid import rounded, seen_of
from nucleist.inference.tiles.grid import Grid
from nucleist.models.net import Net, Part, Parts
from nucleist.types import UserError, Window

WHOLE = 4096 * 4096
"""Images of at most so many pixels are measured as a whole."""

CROP, CROPS = 512, 8
"""Of larger ones `CROPS` x `CROPS` windows with this side (pixels): 16.8 million pixels too."""

SURVEYED = 4
"""At most so many rows and columns of tiles are surveyed by nets that measure an image."""

Normalize = Callable[[np.ndarray], np.ndarray]


def sample(picture: Picture) -> list[np.ndarray]:
    """The pixels of a picture, or windows of a large one.

    Returns:
        `(h, w, 3)` each, of the picture's type.
    """
    height, width = picture.height, picture.width
    if height * width <= WHOLE:
        return [picture.read(picture.whole)]
    rows, cols = (_spread(side, min(CROPS, -(-side // CROP))) for side in (height, width))
    corners = [(y, x) for y in rows for x in cols]
    windows = [Window(y, x, min(y + CROP, height), min(x + CROP, width)) for y, x in corners]
    return [picture.read(window) for window in windows]


def _spread(side: int, count: int) -> list[int]:
    """Where `count` windows begin along a side, each in the middle of its part of it."""
    return [max(int((i + 0.5) * side / count) - CROP // 2, 0) for i in range(count)]


def fitted(normalize: Any, picture: Picture) -> Normalize:
    """A normalisation that does to each tile what it does to the image.

    Args:
        normalize: From `nucleist.ops.normalize`, or another one with `fit`.
        picture: The image.

    Raises:
        UserError: If it has no `fit`.
    """
    fit = getattr(normalize, "fit", None)  # it may be of the user's own package
    if fit is None:
        raise UserError(
            f"normalize={type(normalize).__name__}: without `fit` each tile would be normalised by "
            "itself; give it one, as nucleist.ops.normalize.Percentile has, or use tile=none"
        )
    measured: Normalize = fit(sample(picture))
    return measured


def survey(
    net: Net, picture: Picture, grid: Grid, read: Callable[[int], np.ndarray]
) -> dict[str, float] | None:
    """What a net measures on the image; None if it measures nothing.

    Args:
        net: In eval mode.
        picture: The image.
        grid: Its tiles: all are looked at, or of many rows and columns `SURVEYED` each.
        read: The normalised pixels that the net is shown of a tile, `(h, w, 3)` `float32`.
    """
    if not net.can.surveys:
        return None
    rows, cols = _some(grid.rows), _some(grid.cols)
    tiles = [row * grid.cols + col for row in rows for col in cols]

    def part(number: int) -> Part:
        tile = tiles[number]
        top, left, _, _ = seen_of(picture, grid.window(tile))
        core = rounded(picture, grid.core(tile))
        own = Window(core.y0 - top, core.x0 - left, core.y1 - top, core.x1 - left)
        return Part(to_tensor(read(tile)).to(net.device), own)

    return dict(net.survey(Parts(len(tiles), part)))


def _some(count: int) -> list[int]:
    few = min(count, SURVEYED)
    return [int((i + 0.5) * count / few) for i in range(few)]
