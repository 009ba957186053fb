"""Intensities to [0, 1], so that a net's input does not depend on the camera's bit depth.

The choice is part of a trained net: it is stored with the weights and used again in prediction.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Percentile:
    """Stretch each image between two percentiles of its own intensities, and clip.

    The percentiles are taken over all channels together, which keeps the hues of a stain, and
    over the whole image, so that a crop of it is normalised as the image is.

    Attributes:
        low: Percentile that becomes 0, in [0, 100].
        high: Percentile that becomes 1.
    """

    low: float = 1.0
    high: float = 99.8

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """`(H, W, 3)` of any type to `float32` in [0, 1]; a constant image becomes 0."""
        low, high = np.percentile(image, [self.low, self.high])
        scale = 1.0 / (high - low) if high > low else 0.0
        scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(scale)
        return np.clip(scaled, 0.0, 1.0)


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
