"""Clean-up of a foreground: holes and specks that are small beside its nuclei.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020: objects below a fifth of the mean
area are removed for all methods that are compared, and holes as small are filled.
"""

import numpy as np
from scipy import ndimage

SQUARE = np.ones((3, 3), bool)
"""A pixel and its eight neighbours."""


def mean_area(mask: np.ndarray) -> float:
    """Mean area of the 4-connected pieces of a foreground `(H, W)` bool, pixels; 0 without any."""
    pieces = ndimage.label(mask)[1]
    return float(mask.sum()) / pieces if pieces else 0.0


def without_holes(mask: np.ndarray, least: float) -> np.ndarray:
    """Fill the holes that are smaller than an area.

    Args:
        mask: `(H, W)` bool.
        least: Larger holes, and those of this size, stay; pixels.

    Returns:
        `(H, W)` bool. Background that reaches the image's border is no hole.
    """
    holes = ndimage.label(~mask, SQUARE)[0]
    fill = np.bincount(holes.ravel()) < least
    for side in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        fill[side] = False
    fill[0] = True  # the foreground itself
    return fill[holes]


def pieces_from(pieces: np.ndarray, core: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """The pieces that begin in a part of a window: their first pixel, from the top left.

    So a piece counts once in windows that overlap, whose parts do not.

    Args:
        pieces: `(H, W)` integer with values 0..N, all present.
        core: Rows and columns of the part.

    Returns:
        Their ids and their areas in the window (pixels), `(K,)` `int64` each.
    """
    place = np.flatnonzero(pieces)
    ids = pieces.ravel()[place]
    first = np.zeros(int(pieces.max(initial=0)) + 1, np.int64)
    first[ids[::-1]] = place[::-1]  # the last one written is the first
    row, col = np.unravel_index(first, pieces.shape)
    own = (row >= core[0].start) & (row < core[0].stop)
    own &= (col >= core[1].start) & (col < core[1].stop)
    own[0] = False  # background
    return np.flatnonzero(own), np.bincount(ids, minlength=len(first))[own]
