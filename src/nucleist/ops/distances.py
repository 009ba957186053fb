"""Distance of each pixel of a nucleus to the border of that nucleus, from a label map.

Source: Naylor et al., *Segmentation of Nuclei in Histopathology Images by Deep Regression of the
Distance Map*, IEEE TMI 2019. Every nucleus is measured alone, so that two that touch have a
valley of ones between them, along which a watershed can cut.
"""

import numpy as np
from scipy import ndimage

from nucleist.types import one_of

METRICS = ("chessboard", "euclidean")
"""`chessboard`: largest of row and column difference (the paper's code); `euclidean`."""


def distance_map(labels: np.ndarray, metric: str = "chessboard") -> np.ndarray:
    """Distance of each nucleus pixel to the nearest pixel that is not in the same nucleus.

    How it works: each nucleus is transformed in its own box, widened by one pixel where the image
    goes on. The box ends where the image ends, so that the image's border is not a border of a
    nucleus: a cut nucleus keeps its distances up to the cut. The time grows with the area of the
    boxes.

    Args:
        labels: `(H, W)` integer, 0 background, positive ids, which may have gaps.
        metric: One of `METRICS`.

    Returns:
        `(H, W)` `float32`, pixels: 0 in the background, 1 on pixels beside the border, H + W (more
        than any distance) where a nucleus fills the whole image.

    Raises:
        UserError: If the metric is another.
    """
    one_of("model.metric", metric, METRICS)
    distances = np.zeros(labels.shape, np.float32)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:  # no nucleus has this number
            continue
        rows, cols = (
            slice(max(span.start - 1, 0), min(span.stop + 1, side))
            for span, side in zip(box, labels.shape, strict=True)
        )
        inside = labels[rows, cols] == label
        distances[rows, cols][inside] = _transform(inside, metric, sum(labels.shape))[inside]
    return distances


def _transform(inside: np.ndarray, metric: str, unseen: int) -> np.ndarray:
    if inside.all():  # scipy's transforms are undefined without a pixel to measure from
        return np.full(inside.shape, unseen, np.float32)
    if metric == "chessboard":
        return ndimage.distance_transform_cdt(inside, "chessboard")
    return ndimage.distance_transform_edt(inside)


def edge_distance(shape: tuple[int, int]) -> np.ndarray:
    """Distance of each pixel to the nearest one outside the image, 1 on the image's border.

    A distance that is not larger is certain; of a larger one only the image's part of the border
    was seen, and the true one, with what lies outside, may be smaller.

    Returns:
        `(H, W)` `float32`, pixels.
    """
    height, width = shape
    rows, cols = np.arange(1, height + 1), np.arange(1, width + 1)
    rows, cols = np.minimum(rows, rows[::-1]), np.minimum(cols, cols[::-1])
    return np.minimum(rows[:, None], cols[None]).astype(np.float32)
