"""Images on another grid, window by window, and label maps back on their own.

Pixel i is the interval [i, i + 1) of its axis, on either grid; the grids share both ends. So the
middle of pixel i of n lies at (i + 0.5) / n of the side, and nothing moves by half a pixel.
"""

import numpy as np
from scipy.sparse import csr_matrix


def reach(old: int, new: int, start: int, stop: int) -> tuple[int, int]:
    """Which pixels of the old grid are needed for some of the new one.

    Args:
        old: Pixels of the side.
        new: Pixels of the side after resampling.
        start: First new pixel.
        stop: One after the last.

    Returns:
        First old pixel, and one after the last.
    """
    step = old / new
    wide = max(step, 1.0)
    first = (start + 0.5) * step - 0.5 - wide
    last = (stop - 0.5) * step - 0.5 + wide
    return max(0, int(np.floor(first))), min(old, int(np.ceil(last)) + 1)


def weights(old: int, new: int, start: int, stop: int) -> csr_matrix:
    """What each old pixel gives to some pixels of the new grid: linear, without aliasing.

    Enlarged, a new pixel is interpolated between two; made smaller, it is the mean under a
    triangle as wide as it needs to be, as in Pillow and in PyTorch's `interpolate` with
    `antialias`. A row depends on its pixel alone, not on where the window begins.

    Args:
        old: Pixels of the side.
        new: Pixels of the side after resampling.
        start: First new pixel.
        stop: One after the last.

    Returns:
        `(stop - start, n)` `float32`, for the `n` old pixels of `reach`; rows have the sum 1.
    """
    step = old / new
    wide = max(step, 1.0)
    first, last = reach(old, new, start, stop)
    middles = (np.arange(start, stop) + 0.5) * step - 0.5
    lowest = np.floor(middles - wide).astype(np.int64)
    taps = lowest[:, None] + np.arange(int(np.ceil(2 * wide)) + 2)
    share = np.maximum(1 - np.abs(taps - middles[:, None]) / wide, 0)
    share[(taps < 0) | (taps >= old)] = 0
    share /= share.sum(1, keepdims=True)
    rows, columns = share.nonzero()
    places = taps[rows, columns] - first
    shape = (stop - start, last - first)
    return csr_matrix((share[rows, columns].astype(np.float32), (rows, places)), shape)


def resampled(pixels: np.ndarray, rows: csr_matrix, columns: csr_matrix) -> np.ndarray:
    """An image on another grid.

    Args:
        pixels: `(n, m, C)`, the window of `reach` along both axes.
        rows: `(h, n)`, of `weights`.
        columns: `(w, m)`, of `weights`.

    Returns:
        `(h, w, C)` of the type of `pixels`; whole numbers are rounded.
    """
    count, wide, depth = pixels.shape
    tall = rows @ pixels.reshape(count, wide * depth).astype(np.float32)
    flat = tall.reshape(-1, wide, depth).transpose(1, 0, 2).reshape(wide, -1)
    found = (columns @ flat).reshape(columns.shape[0], rows.shape[0], depth).transpose(1, 0, 2)
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)
        found = np.clip(np.rint(found), limits.min, limits.max)
    return np.ascontiguousarray(found, dtype=pixels.dtype)


def nearest(old: int, new: int, start: int, stop: int) -> np.ndarray:
    """Pixels of the old grid that lie under the middles of some of the new one.

    Args:
        old: Pixels of the side.
        new: Pixels of the side after resampling.
        start: First new pixel.
        stop: One after the last.

    Returns:
        `(stop - start,)` `int64`, as `interpolate` with `nearest-exact`, but where a middle lies on
        the border of two pixels, as of an image made twice as large: there it is the left and the
        right one in turn, so that nothing moves on average.
    """
    numbers = np.arange(start, stop)
    found, rest = np.divmod((2 * numbers + 1) * old, 2 * new)
    return found - ((rest == 0) & (numbers % 2 == 0))
