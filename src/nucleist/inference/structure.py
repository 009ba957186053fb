"""Whether an image has structure: things that stand out from their surroundings and the noise."""

import numpy as np
from scipy.ndimage import uniform_filter

BLOCK = 4
"""Side of the squares whose means are compared, in pixels."""
NEIGHBOURHOOD = 15
"""Side of the surroundings of a square, in squares."""
LEAST = 6
"""Squares that must stand out: about a nucleus of 10 px."""


def has_structure(image: np.ndarray) -> bool:
    """Whether something in an image plainly stands out, so that no nucleus is a surprise.

    Means of squares of 4 px are compared with those around them: 8 times the standard deviation
    that the noise of the pixels explains, and a tenth of the range of the image.

    Args:
        image: `(H, W, 3)`, any type.
    """
    gray = image.astype(np.float32)
    return any(_stands_out(gray[..., plane]) for plane in range(gray.shape[-1]))


def _stands_out(gray: np.ndarray) -> bool:
    height, width = (side // BLOCK * BLOCK for side in gray.shape)
    if min(height, width) < 4 * BLOCK:
        return False
    gray = np.nan_to_num(gray[:height, :width], posinf=0, neginf=0)
    low, high = np.quantile(gray, (0.0005, 0.9995))
    steps = np.abs(np.diff(gray, axis=1))
    noise = 1.4826 * float(np.median(steps)) / np.sqrt(2)
    squares = gray.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))
    contrast = np.abs(squares - uniform_filter(squares, NEIGHBOURHOOD, mode="reflect"))
    least = max(8 * noise / BLOCK, 0.1 * float(high - low))
    return bool(high > low and (contrast > least).sum() >= LEAST)
