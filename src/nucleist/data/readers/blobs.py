"""Shapes of synthetic nuclei and debris: painted with soft edges, and divided where they overlap.

A nucleus is a closed curve around its centre, an ellipse times a smooth random radius profile.
"""

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

_ANGLES = np.linspace(0, 2 * np.pi, 65)

Blob = tuple[tuple[slice, slice], np.ndarray]
"""The window of the image a nucleus lies in, and how much of each pixel there it covers."""


def outline(
    rng: np.random.Generator, radius: float, elongation: float, roughness: float
) -> np.ndarray:
    """Draw the outline of a nucleus.

    Args:
        rng: Source of randomness.
        radius: Of the circle of about the same area, pixels.
        elongation: Longest ratio of the axes, 1 or more; drawn from 1 up to it.
        roughness: Standard deviation of the k-th cosine of the radius profile, times k.

    Returns:
        `(65,)` radius in pixels at evenly spaced angles, the last the same as the first.
    """
    order = np.arange(2, 7)[:, None]
    strength, phase = rng.normal(0, roughness / order), rng.uniform(0, 2 * np.pi, order.shape)
    profile = 1 + (strength * np.cos(order * _ANGLES + phase)).sum(0)
    axes, turn = rng.uniform(1, elongation), _ANGLES - rng.uniform(0, np.pi)
    # An ellipse of axes sqrt(axes) and 1 / sqrt(axes), so of area pi.
    ellipse = 1 / np.sqrt(np.cos(turn) ** 2 / axes + np.sin(turn) ** 2 * axes)
    return radius * ellipse * np.clip(profile, 0.6, 1.4)


def cover(curve: np.ndarray, center: np.ndarray, shape: tuple[int, ...]) -> Blob:
    """Paint an outline with soft edges.

    Args:
        curve: `(65,)` radii as from `outline`, pixels.
        center: Row and column of the centre, inside the image, pixels.
        shape: Height and width of the image, pixels.

    Returns:
        Window of the image that holds the nucleus, and the share in [0, 1] of each pixel there
        that it covers; what lies outside the image is cut off.
    """
    reach = curve.max() + 1
    low = np.maximum(np.floor(center - reach), 0).astype(int)
    high = np.minimum(np.ceil(center + reach) + 1, shape).astype(int)
    y = np.arange(low[0], high[0])[:, None] - center[0]
    x = np.arange(low[1], high[1])[None] - center[1]
    radius = np.interp(np.arctan2(y, x) % (2 * np.pi), _ANGLES, curve)
    covered = np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)
    return (slice(low[0], high[0]), slice(low[1], high[1])), covered


def line(corners: np.ndarray, width: float, shape: tuple[int, ...]) -> np.ndarray:
    """Paint a line through `corners` `(n, 2)`, row and column, `width` pixels wide.

    Returns:
        `shape` `float64`, the share in [0, 1] of each pixel that the line covers.
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    nearest = np.full(shape, np.inf)
    for (y0, x0), (dy, dx) in zip(corners[:-1], np.diff(corners, axis=0), strict=True):
        along = ((y - y0) * dy + (x - x0) * dx) / (dy**2 + dx**2 + 1e-12)
        along = np.clip(along, 0, 1)
        nearest = np.minimum(nearest, np.hypot(y - y0 - along * dy, x - x0 - along * dx))
    return np.clip(width / 2 - nearest + 0.5, 0, 1)


def split(owner: np.ndarray) -> np.ndarray:
    """Divide pixels that several nuclei cover by a watershed on the distance to the outside.

    The markers are the pixels that one nucleus alone covers, not its centre as in the paper: a
    watershed from the centres also moves the borders of nuclei where nothing overlaps. Of a
    nucleus cut in two by another only the larger part is a marker, so that no label has two
    pieces.

    Args:
        owner: `(H, W)` integer: the nucleus a pixel belongs to, 0 to none, -1 to several.

    Returns:
        `(H, W)` `int32` label map.
    """
    pieces = label(np.maximum(owner, 0), connectivity=1)
    sizes = np.bincount(pieces.ravel())
    of_piece = np.zeros(len(sizes), np.int32)
    of_piece[pieces.ravel()] = owner.ravel()
    of_piece[0] = 0
    largest = np.zeros(len(sizes), bool)
    order = np.argsort(sizes, kind="stable")
    _, last = np.unique(of_piece[order][::-1], return_index=True)
    largest[order[::-1][last]] = True
    markers = np.where(largest[pieces], np.maximum(owner, 0), 0)
    depth = ndimage.distance_transform_edt(owner != 0)
    return watershed(-depth, markers, connectivity=1, mask=owner != 0).astype(np.int32)
