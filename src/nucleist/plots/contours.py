"""Any microscope image as a picture, and contours of nuclei on it."""

import numpy as np

Color = tuple[int, int, int]

# after Okabe and Ito (2008), for colour-blind readers; brightened for dark images
INSTANCE_COLORS: tuple[Color, ...] = (
    (255, 170, 30),
    (86, 180, 233),
    (20, 200, 140),
    (240, 228, 66),
    (240, 100, 30),
    (225, 130, 190),
)
CONTOURS: dict[str, Color] = {
    "truth": (0, 215, 255),
    "prediction": (255, 225, 0),
    "held": (255, 40, 255),
    "complete": (0, 200, 70),
}
"""Bright on stained tissue too: contours are drawn inside nuclei, which are dark there."""


def to_display(image: np.ndarray, low: float = 0.1, high: float = 99.8) -> np.ndarray:
    """Any microscope image as an 8-bit RGB picture.

    8-bit images that use half of their range are not changed; dark ones, 16-bit and float images
    are stretched between two percentiles, taken over all channels to preserve hues.

    Args:
        image: `(H, W)` or `(H, W, 1|3|4)`, any number type; alpha is dropped, NaN is black.
        low: Percentile that becomes 0.
        high: Percentile that becomes 255.

    Returns:
        `(H, W, 3)` `uint8`, a copy.

    Raises:
        ValueError: If the shape is another one.
    """
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        raise ValueError(f"Expected an (H, W) or (H, W, 1|3|4) image, but got {image.shape}")
    pixels = pixels[..., :3]
    if not (pixels.dtype == np.uint8 and np.percentile(pixels, high) >= 128):
        values = pixels.astype(np.float32)
        values[~np.isfinite(values)] = np.nan
        finite = values[~np.isnan(values)]
        bottom, top = np.percentile(finite, (low, high)) if finite.size else (0.0, 1.0)
        scaled = (values - bottom) / max(top - bottom, 1e-12)
        pixels = np.round(255 * np.nan_to_num(scaled, nan=0.0).clip(0, 1)).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()


def draw_contours(
    image: np.ndarray, labels: np.ndarray, color: Color | None = None, thick: int = 1
) -> np.ndarray:
    """A copy of an image with the contour of every nucleus drawn inside it.

    Args:
        image: `(H, W, 3)` `uint8`.
        labels: `(H, W)` integer label map, 0 background.
        color: RGB of all contours; `None` gives each label its own, the same on every image.
        thick: Width of the contours in pixels, inwards.
    """
    drawn, inside = image.copy(), np.pad(labels, 1)  # padded, so that the border closes contours
    for _ in range(thick):
        rim = _rim(inside)
        inside[rim] = 0
        rim = rim[1:-1, 1:-1]
        drawn[rim] = colors_of(labels[rim]) if color is None else color
    return drawn


def _rim(labels: np.ndarray) -> np.ndarray:
    """The pixels of nuclei that have another label or none above, below, left or right.

    As `skimage.segmentation.find_boundaries(mode="inner")`, which takes far longer.
    """
    rim = np.zeros(labels.shape, bool)
    for axis in range(2):
        one = np.moveaxis(rim, axis, 0)  # views
        along = np.moveaxis(labels, axis, 0)
        change = along[1:] != along[:-1]
        one[1:] |= change
        one[:-1] |= change
    return rim & (labels != 0)


def colors_of(labels: np.ndarray) -> np.ndarray:
    """The colour of each label, `(..., 3)` `uint8`, the same on every image."""
    return np.array(INSTANCE_COLORS, np.uint8)[(labels - 1) % len(INSTANCE_COLORS)]
