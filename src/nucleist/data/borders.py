"""What of an image is compared with others: its pixels' hash, its four borders, means of blocks.

A border is the line of pixels next to the cut, without what varies slowly, because illumination is
the same in all images of a microscope. Signals have length 1, so the dot product of two is a
correlation.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d, uniform_filter, uniform_filter1d

SIDE = 32
"""Blocks a side in which whole images are compared."""

WINDOW, WINDOWS = 31, 16
"""What varies over more than 31 px, or a 16th of the side if that is more, is no detail."""


class Border(NamedTuple):
    """The cut at one side of an image.

    Attributes:
        detail: `(W,)` or `(H,)` `float32`, what varies fast, with mean 0 and length 1; all 0 where
            nothing is seen.
        strength: Standard deviation of the detail, gray values.
        level: Mean of the whole line, gray values.
        spread: Its standard deviation.
    """

    detail: np.ndarray
    strength: float
    level: float
    spread: float


class Look(NamedTuple):
    """What of an image is compared; a few kB.

    Attributes:
        digest: Hash of the pixels.
        size: Height and width, pixels.
        borders: `top`, `bottom`, `left` and `right`.
        blocks: `(1024,)` `float32`, see `block_means`.
    """

    digest: str
    size: tuple[int, int]
    borders: Mapping[str, Border]
    blocks: np.ndarray


def look_at(image: np.ndarray) -> Look:
    """What of an image is compared.

    Args:
        image: `(H, W, 3)`, any number type.
    """
    digest = blake2b(repr((image.shape, image.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    gray = image.mean(2, dtype=np.float32)
    turned = {"top": gray, "bottom": gray[::-1], "left": gray.T, "right": gray.T[::-1]}
    borders = {name: _border(lines[:2]) for name, lines in turned.items()}
    return Look(digest.hexdigest(), (gray.shape[0], gray.shape[1]), borders, _blocks(gray))


def block_means(image: np.ndarray) -> np.ndarray:
    """Normalised means of 32 x 32 blocks: the dot product of two such vectors is a correlation.

    Args:
        image: `(H, W, 3)`, any number type.

    Returns:
        `(1024,)` `float32` with mean 0 and length 1, or all 0 if the image is flat.
    """
    return _blocks(image.mean(2, dtype=np.float32))


def window_of(length: int) -> int:
    """Over how many pixels of a border details vary, at most.

    Args:
        length: Of the border, pixels.
    """
    return max(WINDOW, length // WINDOWS | 1)


def detail_of(blocks: np.ndarray, window: int) -> np.ndarray:
    """Blocks `(32, 32)` without what varies over more than `window` blocks, of length 1."""
    return _unit(blocks - uniform_filter(blocks, window), 1.0)


def _blocks(gray: np.ndarray) -> np.ndarray:
    means = Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BOX)
    return _unit(np.asarray(means).ravel(), float(np.abs(gray).max(initial=0)))


def _border(lines: np.ndarray) -> Border:
    """The cut outside of two lines of pixels, the outer first: half a pixel from it."""
    cut = gaussian_filter1d(1.5 * lines[0] - 0.5 * lines[-1], 1.0, mode="nearest")
    detail = cut - uniform_filter1d(cut, window_of(len(cut)), mode="nearest")
    unit = _unit(detail, float(np.abs(lines).max(initial=0)))
    return Border(unit, float(detail.std()), float(cut.mean()), float(cut.std()))


def _unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Values with mean 0 and length 1; all 0 if what is left is rounding.

    Args:
        values: Any shape.
        scale: Largest value that they were made of.
    """
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    flat = length <= 1e-5 * values.size**0.5 * scale
    return np.zeros_like(values) if flat else values / length
