"""Shapes of known position, and where they are found again.

Pixel (row i, column j) is the square [i, i + 1) x [j, j + 1), so its middle is (i + 0.5, j + 0.5).
Positions are (y, x) in pixels, with any fraction.
"""

import numpy as np


def distances(shape, center, fine=1):
    """Distance of the middles of pixels, or of `fine` times finer ones, to a point, in pixels."""
    y, x = (
        (np.arange(side * fine) + 0.5) / fine - c for side, c in zip(shape, center, strict=True)
    )
    return np.hypot(y[:, None], x)


def disc(shape, center, radius):
    """A disc as a label map `(H, W)` `int32`: 1 where the middle of a pixel is inside."""
    return (distances(shape, center) < radius).astype(np.int32)


def picture_of(shape, center, radius, fine=8):
    """A disc as an image `(H, W)` `float32`: the share of each pixel that it covers."""
    inside = distances(shape, center, fine) < radius
    return inside.reshape(shape[0], fine, shape[1], fine).mean((1, 3)).astype(np.float32)


def many_discs(shape, step, radii, seed=0):
    """Discs that do not touch, one in each square of `step` pixels.

    Returns:
        `(H, W)` `int32` label map, centres `(N, 2)` and radii `(N,)`; entry `i` has the id `i + 1`.
    """
    rng = np.random.default_rng(seed)
    corners = np.stack(np.mgrid[: shape[0] - step + 1 : step, : shape[1] - step + 1 : step], -1)
    corners = corners.reshape(-1, 2)
    sizes = rng.uniform(*radii, len(corners))
    room = step / 2 - 1 - sizes[:, None]
    centers = corners + step / 2 + rng.uniform(-1, 1, corners.shape) * room
    labels = np.zeros(shape, np.int32)
    for i, (center, radius) in enumerate(zip(centers, sizes, strict=True)):
        labels += (i + 1) * disc(shape, center, radius)
    return labels, centers, sizes


def middle(weights):
    """Centroid (y, x) of a mask or an image `(H, W)`."""
    weights = np.asarray(weights, np.float64)
    rows, cols = (np.arange(side) + 0.5 for side in weights.shape)
    return np.array([weights.sum(1) @ rows, weights.sum(0) @ cols]) / weights.sum()


def middles(labels, count):
    """Centroids (y, x) of the nuclei 1..count, `(N, 2)`."""
    return np.stack([middle(labels == i + 1) for i in range(count)])


def areas(labels, count):
    """Pixels of the nuclei 1..count, `(N,)`."""
    return np.bincount(np.ravel(labels), minlength=count + 1)[1 : count + 1]
