"""Intensities to [0, 1], so that a net's input does not depend on the camera's bit depth.

The choice is part of a trained net: it is stored with the weights and used again in prediction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Normalize = Callable[[np.ndarray], np.ndarray]
"""Gives an image `(H, W, 3)` of any type as `float32` in [0, 1]."""

HIGHEST_FLOOR = 20.0
"""Highest least range, in units of the noise: noise-free training images would ask for any.

With two nets trained on drawn nuclei, 0 to 8 nuclei in images of noise came back as 0 to 8 with 20,
but with up to 5 false ones with 15; with 25, nuclei 2.5 times as bright as the noise were lost.
"""

SAMPLED = 500_000
"""About so many values of an image are looked at to measure its noise."""


@dataclass(frozen=True)
class Stretch:
    """Move and scale intensities by fixed numbers, and clip: what `Percentile` does to one image.

    Attributes:
        low: What becomes 0.
        scale: Factor after `low` is subtracted.
    """

    low: float
    scale: float

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """`(H, W, 3)` of any type to `float32` in [0, 1]."""
        scaled = (image.astype(np.float32) - np.float32(self.low)) * np.float32(self.scale)
        return np.clip(scaled, 0.0, 1.0)


@dataclass(frozen=True)
class Percentile:
    """Stretch each image between two percentiles of its own intensities, and clip.

    The percentiles are taken over all channels together, which keeps the hues of a stain, and
    over the whole image, so that a crop of it is normalised as the image is.

    In a nearly empty image both percentiles lie in the noise, which would be stretched until it
    looks like nuclei. The range is therefore at least `floor` times the noise of the image.

    Attributes:
        low: Percentile that becomes 0, in [0, 100].
        high: Percentile that becomes 1.
        floor: Least range between the two, in standard deviations of the image's noise, as
            `floor_of` measures it on training images; None and 0 for none.
    """

    low: float = 1.0
    high: float = 99.8
    floor: float | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """`(H, W, 3)` of any type to `float32` in [0, 1]; a constant image becomes 0."""
        return self.fit([image])(image)

    def fit(self, parts: Sequence[np.ndarray]) -> Stretch:
        """The same stretch for all windows of an image.

        Args:
            parts: The image, or a sample of it: `(h, w, 3)` each, of one type.

        Returns:
            Of the whole image, what a call does to it, number for number.
        """
        low, span, sigma = self._measured(parts)
        span = max(span, self.floor * sigma) if self.floor else span
        return Stretch(low, 1.0 / span if span > 0 else 0.0)

    def range_in_noise(self, image: np.ndarray) -> float:
        """Range between the percentiles in standard deviations of the noise; inf without noise.

        Args:
            image: `(H, W, 3)` of any type.
        """
        _, span, sigma = self._measured([image], noisy=True)
        return float(span / sigma) if sigma > 0 else float("inf")

    def _measured(self, parts: Sequence[np.ndarray], noisy: bool = False) -> tuple[Any, Any, float]:
        """Low percentile, range, and the noise where it is needed."""
        values = parts[0] if len(parts) == 1 else np.concatenate([part.ravel() for part in parts])
        low, high = np.percentile(values, [self.low, self.high])
        return low, high - low, noise(*parts) if self.floor or noisy else 0.0


@dataclass(frozen=True)
class FullRange:
    """Divide by the largest value of the type (the papers' nets: 8 bits, then a fixed mean).

    The fixed mean and standard deviation themselves are the net's: `model.transform.image_mean`.
    """

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """`(H, W, 3)` `uint8` or `uint16` to `float32` in [0, 1]; floats are clipped to it."""
        if np.issubdtype(image.dtype, np.integer):
            return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
        return np.clip(image.astype(np.float32), 0.0, 1.0)

    def fit(self, parts: Sequence[np.ndarray]) -> "FullRange":
        """Itself: it measures nothing."""
        return self


def noise(*parts: np.ndarray) -> float:
    """Standard deviation of an image's noise, from the differences of neighbouring pixels.

    Their median is hardly changed by edges, of which there are few. 0 where more than half of the
    neighbours are equal.

    Args:
        *parts: The image, or a sample of it: `(h, w, C)` each, of one type, in whose unit the
            result is.
    """
    size = sum(part.size for part in parts)
    every = max(1, size // SAMPLED)  # rows apart: a sample of a large image will do
    steps = [np.abs(np.diff(part[::every].astype(np.float32), axis=1)) for part in parts]
    differences = steps[0] if len(parts) == 1 else np.concatenate([step.ravel() for step in steps])
    # |difference| of two normal values has the median 0.6745 sqrt(2) sigma
    return float(np.median(differences) / 0.9539) if differences.size else 0.0


def floor_of(ranges: list[float]) -> float:
    """The least range in prediction: three quarters of the smallest in training.

    It changes no training image, and leaves room for fainter ones. With half of it a net trained
    on drawn nuclei still found 18 of them in the noise of an empty image, with this none.

    Args:
        ranges: `Percentile.range_in_noise` of each training image with a labelled nucleus.

    Returns:
        Standard deviations of the noise, in [0, `HIGHEST_FLOOR`]; 0 without images.
    """
    return min(0.75 * min(ranges, default=0.0), HIGHEST_FLOOR)
