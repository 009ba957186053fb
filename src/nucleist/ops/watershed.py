"""Label maps out of maps: nuclei from predicted distances or from foreground probabilities.

Source of `split_distances`: Naylor et al., IEEE TMI 2019 (DIST), and the authors' code, whose rule
is kept exactly: two peaks are one nucleus if they are joined by a path that nowhere drops by more
than `h` below the lower one. The predicted map is inverted, basins are filled by `h`
(reconstruction by erosion), and each regional minimum that is left is the marker of a nucleus.
`skimage.morphology.h_minima` differs: it marks each group of equally deep pixels of a filled basin
and splits a nucleus where the prediction is flat.
"""

import math

import numpy as np
from scipy import ndimage
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from nucleist.ops.cleaning import SQUARE, mean_area, without_holes
from nucleist.types import one_of

METHODS = ("components", "watershed")
"""How a foreground becomes nuclei, see `split_foreground`."""


def fill_basins(depth: np.ndarray, h: float) -> np.ndarray:
    """Turn peaks into basins and fill these by `h`, or up to where they flow over.

    Args:
        depth: `(H, W)`, 0 in the background, large in the middle of nuclei.
        h: Height to fill, in the map's unit.

    Returns:
        `(H, W)` `float64`: minus the depth, filled. A peak of at most `h` above its
        surroundings has no basin left.
    """
    basins = -depth.astype(np.float64)
    return reconstruction(np.minimum(basins + h, 0), basins, method="erosion")


def markers_of(filled: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Regional minima inside a mask, numbered by 8-connectivity.

    Args:
        filled: `(H, W)`, from `fill_basins`.
        mask: `(H, W)` bool.

    Returns:
        `(H, W)` `int32`, 0 or 1..N.
    """
    minima = local_minima(filled, connectivity=2) & mask
    return ndimage.label(minima, SQUARE, output=np.int32)[0]


def split_distances(
    distances: np.ndarray,
    h: float = 1.0,
    threshold: float = 0.5,
    min_size: int = 0,
    parity: bool = False,
) -> np.ndarray:
    """Nuclei of a predicted distance map (DIST's post-processing).

    Args:
        distances: `(H, W)` float, pixels; negative values count as 0.
        h: Drop between two peaks, in pixels, above which they are two nuclei; at the same time
            the height that a peak needs at all. Must be below every nucleus's peak.
        threshold: Pixels with a larger distance are nucleus.
        min_size: Smaller nuclei are removed, pixels.
        parity: As the authors' code: distances cut to whole numbers 0..255, and nuclei that touch
            pulled apart by two pixels (each loses its side), then numbered by connectivity.
            Otherwise distances stay floats and touching nuclei touch.

    Returns:
        `(H, W)` `int32` label map, 0 or 1..N.
    """
    depth = np.clip(distances, 0, 255 if parity else None)
    if parity:
        depth = np.trunc(depth)
    mask = depth > threshold
    filled = fill_basins(depth, h)
    labels = watershed(filled, markers_of(filled, mask), mask=mask).astype(np.int32)
    if parity:
        apart = (labels > 0) & ~touching(labels)
        labels = ndimage.label(apart, SQUARE, output=np.int32)[0]
    return without_small(labels, min_size)


def split_foreground(
    probability: np.ndarray,
    method: str = "components",
    threshold: float = 0.5,
    min_size: int = 0,
    h: float = 1.0,
    clean: float = 0.0,
    mean: float | None = None,
) -> np.ndarray:
    """Nuclei of a map of foreground probabilities.

    Args:
        probability: `(H, W)` in [0, 1].
        method: `"components"`: each 4-connected piece of the foreground is one nucleus, so those
            that touch are one. `"watershed"`: pieces are cut at their waists, by flooding the
            Euclidean distance to the background; every piece keeps at least one nucleus.
        threshold: Pixels with a larger probability are foreground.
        min_size: Smaller nuclei are removed, pixels.
        h: For the watershed: depth of the waist, in pixels, from which two are seen.
        clean: Share of the mean area of the foreground's pieces below which holes are filled,
            before anything is cut, and nuclei are removed.
        mean: That mean area, pixels, if the map is a part of an image; None measures it.

    Returns:
        `(H, W)` `int32` label map, 0 or 1..N.

    Raises:
        UserError: If the method is another.
    """
    one_of("model.instances", method, METHODS)
    mask = probability > threshold
    least = clean * (mean_area(mask) if mean is None else mean)
    mask = without_holes(mask, least)
    pieces = ndimage.label(mask, output=np.int32)[0]
    if method == "watershed" and not mask.all():
        # Where there is no background, there is no distance to it and nothing to cut.
        filled = fill_basins(ndimage.distance_transform_edt(mask), h)
        labels = watershed(filled, markers_of(filled, mask), mask=mask).astype(np.int32)
        missed = pieces * (labels == 0)  # pieces thinner than h have no marker
        pieces = np.where(missed > 0, labels.max(initial=0) + missed, labels)
    return without_small(pieces, max(min_size, math.ceil(least)))


def touching(labels: np.ndarray) -> np.ndarray:
    """Pixels of a nucleus of which one of the eight neighbours is in another nucleus.

    Args:
        labels: `(H, W)` integer, 0 background.

    Returns:
        `(H, W)` bool.
    """
    none = np.iinfo(labels.dtype).max
    highest = ndimage.maximum_filter(labels, footprint=SQUARE, mode="nearest")
    others = np.where(labels > 0, labels, none)
    lowest = ndimage.minimum_filter(others, footprint=SQUARE, mode="nearest")
    return (labels > 0) & ((highest != labels) | (lowest != labels))


def without_small(labels: np.ndarray, min_size: int) -> np.ndarray:
    """Remove nuclei with fewer pixels and number the others 1..N in their old order.

    Args:
        labels: `(H, W)` integer, 0 background, any positive ids.
        min_size: Pixels that a nucleus needs.

    Returns:
        `(H, W)` `int32`.
    """
    area = np.bincount(labels.ravel())
    keep = area >= max(min_size, 1)
    keep[:1] = False
    return (np.cumsum(keep) * keep).astype(np.int32)[labels]
