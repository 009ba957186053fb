"""Contours over an image of any size, read and drawn with little memory."""

from collections.abc import Callable, Iterator

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.plots.contours import draw_contours, to_display
from nucleist.types import Window

LARGEST = 4096
"""Longer side of an overlay, pixels; those of larger images are smaller by a whole factor."""

BLOCK = 1024
"""Side of the windows in which images are read and painted, pixels."""


def overlay(
    picture: Picture, paint: Callable[[Window], np.ndarray], side: int = LARGEST
) -> np.ndarray:
    """The image with the contours of its nuclei, `(h, w, 3)` `uint8`.

    Args:
        picture: The image.
        paint: The label map of a window of it, `(h, w)` integers.
        side: Longest side of the result, pixels. Pixels of the image are averaged, contours are
            drawn afterwards.
    """
    height, width = picture.height, picture.width
    factor = -(-max(height, width) // side)
    small = -(-height // factor), -(-width // factor)
    pixels, labels = np.zeros((*small, 3), picture.dtype), np.zeros(small, np.int32)
    for window in windows(height, width, BLOCK // factor * factor or factor):
        top, left = window.y0 // factor, window.x0 // factor
        part = reduced(picture.read(window), factor)
        own = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        pixels[own] = part
        middles = slice(factor // 2, None, factor)
        labels[own] = _filled(paint(window), factor)[middles, middles]
    return draw_contours(to_display(pixels), labels)


def windows(height: int, width: int, side: int) -> Iterator[Window]:
    """Windows that cover an image row by row, at its right and lower border smaller.

    Args:
        height: Pixels.
        width: Pixels.
        side: Of the windows, pixels.
    """
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(top, left, min(top + side, height), min(left + side, width))


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of pixels.

    Args:
        pixels: `(h, w, C)`. The last squares are filled up with the last pixels.
        factor: Side of the squares, pixels.

    Returns:
        `(ceil(h / factor), ceil(w / factor), C)`, of the same type.
    """
    if factor == 1:
        return pixels
    full = _filled(pixels, factor)
    rows, cols = full.shape[0] // factor, full.shape[1] // factor
    means = full.reshape(rows, factor, cols, factor, -1).mean((1, 3), dtype=np.float64)
    whole = pixels.dtype.kind in "iu"
    return (np.round(means) if whole else means).astype(pixels.dtype)


def _filled(values: np.ndarray, factor: int) -> np.ndarray:
    """Values continued downwards and to the right, to a multiple of a factor."""
    more = [(0, -side % factor) for side in values.shape[:2]]
    return np.pad(values, more + [(0, 0)] * (values.ndim - 2), mode="edge")
