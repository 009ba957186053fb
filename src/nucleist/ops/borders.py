"""What a foreground net is taught: nuclei that do not touch, and weights that insist on the gaps.

Source: Ronneberger et al., *U-Net*, MICCAI 2015, Eq. 2, and Yang et al., *NuSeT*, PLoS
Computational Biology 2020. Both give more weight to background between two close nuclei; NuSeT has
other weights for rare events.
"""

import math

import numpy as np
from scipy import ndimage

HEIGHT = 10.0
"""Weight added where two nuclei are one pixel apart or less, before it falls off (w0)."""

VARIANCE = 5.0
"""Square of the width of the fall-off, px^2: NuSeT's. The U-Net paper has 25."""

EVENT_HEIGHTS = (100.0, 50.0, 20.0)
"""Weights of the rings around an event, the innermost first (NuSeT's code, for mitoses)."""

EVENT_RING = 10
"""Width of such a ring, steps from pixel to pixel across their sides."""

BLUR = 2.0
"""Standard deviation of the blur before pixels are compared, pixels."""


def separated(labels: np.ndarray) -> np.ndarray:
    """Nuclei with a gap between those that touch, so that 4-connectivity tells them apart.

    Args:
        labels: `(H, W)` integer, 0 background; other values are nuclei, or -1 unknown.

    Returns:
        A copy, 0 at each nucleus pixel whose right or lower neighbour is in another nucleus.
    """
    cut = labels.copy()
    for here, there in (
        ((slice(None), slice(-1)), (slice(None), slice(1, None))),
        ((slice(-1), slice(None)), (slice(1, None), slice(None))),
    ):
        first, second = labels[here], labels[there]
        cut[here][(first > 0) & (second > 0) & (first != second)] = 0
    return cut


def nearest_two(labels: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of each pixel to the nearest and to the second nearest nucleus.

    How it works: each nucleus is transformed in its own box, widened by `reach`, and two minima
    are kept: the time grows with the area of the boxes, not with nuclei times pixels.

    Args:
        labels: `(H, W)` integer, 0 or less background.
        reach: Larger distances need not be known, pixels.

    Returns:
        Two `(H, W)` `float32`, pixels: 0 inside a nucleus, 1 beside it, infinite where no nucleus
        is within reach.
    """
    nearest, second = (np.full(labels.shape, np.inf, np.float32) for _ in range(2))
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:  # no nucleus has this number
            continue
        wide = tuple(slice(max(span.start - reach, 0), span.stop + reach) for span in box)
        distance = ndimage.distance_transform_edt(labels[wide] != label).astype(np.float32)
        distance[distance > reach] = np.inf
        np.minimum(second[wide], np.maximum(nearest[wide], distance), out=second[wide])
        np.minimum(nearest[wide], distance, out=nearest[wide])
    return nearest, second


def class_weights(inside: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Weights with which foreground and background count the same.

    Args:
        inside: `(H, W)` bool, the nuclei.
        known: `(H, W)` bool, pixels that count.

    Returns:
        `(H, W)` `float32`: 1 for the rarer class, their ratio (below 1) for the other, 0 where
        nothing is known. All 1 if there is only one class.
    """
    front, back = int((inside & known).sum()), int((~inside & known).sum())
    rare, other = min(front, back), max(front, back)
    ratio = rare / other if rare else 1.0
    common = inside if front > back else ~inside
    return np.where(common, ratio, 1.0).astype(np.float32) * known


def border_weights(
    labels: np.ndarray,
    known: np.ndarray | None = None,
    height: float = HEIGHT,
    variance: float = VARIANCE,
) -> np.ndarray:
    """Weights of the pixels in the cross-entropy of foreground.

    `w = class weight + height exp(-(d1 + d2)^2 / (2 variance))`, the second term in the background
    only; `d1` and `d2` are the distances to the two nearest nuclei.

    Args:
        labels: `(H, W)` integer, as `separated` gives it.
        known: `(H, W)` bool, pixels that count; None for all.
        height: Of the second term.
        variance: px^2.

    Returns:
        `(H, W)` `float32`, 0 where nothing is known.
    """
    inside = labels > 0
    known = np.ones(labels.shape, bool) if known is None else known
    weights = class_weights(inside, known)
    reach = math.ceil(4 * math.sqrt(variance))  # beyond, the term is below 0.04 % of its height
    nearest, second = nearest_two(labels, reach)
    between = height * np.exp(-np.square(nearest + second) / (2 * variance))
    return weights + np.where(inside | ~known, 0, between).astype(np.float32)


def event_weights(labels: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Weights of the pixels in the cross-entropy where the nuclei are rare events.

    Almost all of the image is background, which would outweigh the events: they and what is around
    them has more weight, `EVENT_HEIGHTS` in three rings of `EVENT_RING` steps, the rest has 1.

    Args:
        labels: `(H, W)` integer, 0 or less background.
        known: `(H, W)` bool, pixels that count; None for all.

    Returns:
        `(H, W)` `float32`, 0 where nothing is known.
    """
    weights = np.ones(labels.shape, np.float32)
    outside = labels <= 0
    if not outside.all():
        ring = np.ceil(ndimage.distance_transform_cdt(outside, "taxicab") / EVENT_RING).astype(int)
        heights = np.array([EVENT_HEIGHTS[0], *EVENT_HEIGHTS, 1.0], np.float32)  # events: ring 0
        weights = heights[np.minimum(ring, len(heights) - 1)]
    return weights if known is None else weights * known


def near(labels: np.ndarray, band: int) -> np.ndarray:
    """Pixels around nuclei: outside of all, at most `band` pixels from one.

    Args:
        labels: `(H, W)` integer, 0 or less background.
        band: Euclidean distance, pixels; 1 has the four neighbours.

    Returns:
        `(H, W)` bool.
    """
    outside = labels <= 0
    if outside.all():
        return np.zeros(labels.shape, bool)
    return outside & (ndimage.distance_transform_edt(outside) <= band)


def like_band(gray: np.ndarray, labels: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Pixels that look less like the labelled nuclei than half of the band around them does.

    How it works: if the band is darker than the nuclei, these are the pixels that are darker than
    the band's median, after a blur of `BLUR` px against noise; otherwise those that are brighter.
    Nuclei that nobody labelled are on the other side of it, as long as they look like the labelled
    ones more than like their surroundings.

    Args:
        gray: `(H, W)` float.
        labels: `(H, W)` integer, 0 or less background.
        band: `(H, W)` bool, around the nuclei.

    Returns:
        `(H, W)` bool, False in labelled nuclei; nowhere True without nuclei or without a band.
    """
    inside = labels > 0
    if not inside.any() or not band.any():
        return np.zeros(labels.shape, bool)
    smooth = ndimage.gaussian_filter(np.asarray(gray, np.float32), BLUR)
    middle = np.median(smooth[band])
    darker = middle <= np.median(smooth[inside])
    return ~inside & (smooth < middle if darker else smooth > middle)
