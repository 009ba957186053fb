"""What is measured on an image as a whole before its tiles are outlined, from a sample if need be.

The sample is the same at every start: windows spread evenly over the image.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.data.targets import to_tensor
from nucleist.inference.tiles.grid import MULTIPLE, Grid
from nucleist.models.net import Net, Part, Parts
from nucleist.ops.normalize import Normalize
from nucleist.types import UserError, Window

WHOLE = 4096 * 4096
"""Images of at most so many pixels are measured as a whole."""

CROP, CROPS = 512, 8
"""Of larger ones `CROPS` x `CROPS` windows with this side (pixels): 16.8 million pixels too."""


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
    net: Net, picture: Picture, margin: int, read: Callable[[Window], np.ndarray]
) -> dict[str, Any] | None:
    """What a net measures on the image; None if it measures nothing.

    It looks at windows that have nothing to do with the tiles, so that it measures the same
    whatever their size: at all of the image up to `WHOLE` pixels, else at `CROPS` x `CROPS`.

    Args:
        net: In eval mode.
        picture: The image.
        margin: Pixels that a window shows around its core at least.
        read: The normalised pixels that the net is shown of a window, `(h, w, 3)` `float32`.
    """
    if not net.can.surveys:
        return None
    around = max(-(-margin // MULTIPLE), 1) * MULTIPLE
    grid = Grid(picture.height, picture.width, CROP + 2 * around, 2 * around)
    most = max(grid.rows, grid.cols) if picture.height * picture.width <= WHOLE else CROPS
    rows, cols = _some(grid.rows, most), _some(grid.cols, most)
    tiles = [row * grid.cols + col for row in rows for col in cols]

    def part(number: int) -> Part:
        window, core = grid.window(tiles[number]), grid.core(tiles[number])
        top, left, _, _ = window
        own = Window(core.y0 - top, core.x0 - left, core.y1 - top, core.x1 - left)
        return Part(to_tensor(read(window)).to(net.device), own)

    return dict(net.survey(Parts(len(tiles), part)))


def _some(count: int, most: int) -> list[int]:
    few = min(count, most)
    return [int((i + 0.5) * count / few) for i in range(few)]
