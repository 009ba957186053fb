"""The largest images and outlines that are read."""

import numpy as np

from nucleist.types import UserError

MAX_PIXELS = 400_000_000
"""Images that claim more pixels (height times width) are refused before decoding."""

MAX_COORDINATE = 1e7
"""Vertices of outlines that are farther out (pixels) are no pixels."""

MAX_LENGTH, MANY_VERTICES = 4e6, 1000
"""Way around an outline (pixels) of more vertices than these: longer ones zigzag, and filling
them would take the time and memory of one crossing for each pixel of the way."""


def is_outline(vertices: np.ndarray) -> bool:
    """Whether coordinates are finite, near an image, and no endless zigzag.

    Args:
        vertices: `(N, 2)` x and y, pixels.
    """
    if not (np.abs(vertices) < MAX_COORDINATE).all():  # NaN fails too
        return False
    way = np.abs(np.diff(vertices, axis=0)).sum()
    return len(vertices) <= MANY_VERTICES or bool(way < MAX_LENGTH)


def check_size(height: int, width: int, where: str, most: int = MAX_PIXELS) -> None:
    """Refuse an image that is too large.

    Args:
        height: Pixels, as the file claims.
        width: Likewise.
        where: The file, for messages.
        most: Largest number of pixels.

    Raises:
        UserError: If it claims more.
    """
    if height * width > most:
        raise UserError(
            f"{where}: claims {height} x {width} pixels, over the limit of {most}; "
            "cut it into tiles"
        )
