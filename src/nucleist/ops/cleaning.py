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
