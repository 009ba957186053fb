"""What a simulated annotator sees in an image: its nuclei, and what each costs to draw."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from nucleist.annotation.geometry import SMALLEST, shape_of
from nucleist.annotation.things import Point, outline
from nucleist.ops.splines import fit

GOAL, ROUGH = 0.97, 0.85
"""IoU of a careful and of a quick drawing."""


class Nucleus(NamedTuple):
    """One true nucleus.

    Attributes:
        number: In the label map.
        area: Pixels.
        anchors: The fewest with which the spline has an IoU of `GOAL`, or the best of 24.
        rough: Number of anchors for an IoU of `ROUGH`.
        ellipse: IoU of the ellipse in its bounding box, which the page's tool O draws.
    """

    number: int
    area: int
    anchors: tuple[Point, ...]
    rough: int
    ellipse: float


class Truth(NamedTuple):
    """One image.

    Attributes:
        labels: `(H, W)` label map of all nuclei that are counted.
        nuclei: By number.
    """

    labels: np.ndarray
    nuclei: dict[int, Nucleus]


def truth_of(labels: np.ndarray) -> Truth:
    """Nuclei of a label map, those too small for an outline left out."""
    nuclei = {one.number: one for one in _nuclei(labels)}
    return Truth(np.where(np.isin(labels, list(nuclei)), labels, 0), nuclei)


def _nuclei(labels: np.ndarray) -> Iterator[Nucleus]:
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None or (area := np.count_nonzero(mask := labels[box] == number)) < SMALLEST:
            continue
        corner = np.array([box[1].start, box[0].start])
        careful = outline(fit(mask, GOAL).anchors + corner)
        rough = len(fit(mask, ROUGH).anchors)
        yield Nucleus(number, area, careful, rough, _ellipse_iou(mask))


def _ellipse_iou(mask: np.ndarray) -> float:
    """Of the ellipse in the box of a mask, drawn with eight anchors as the page does."""
    height, width = mask.shape
    angles = np.arange(8) * np.pi / 4
    x, y = width / 2 * (1 + np.cos(angles)), height / 2 * (1 + np.sin(angles))
    return iou_of(list(zip(x, y, strict=True)), mask)


def iou_of(anchors: list[Point], mask: np.ndarray) -> float:
    """IoU of an outline, in the frame of a mask, with the pixels of the mask."""
    shape = shape_of(anchors, mask.shape)
    if shape is None:
        return 0.0
    height, width = shape.mask.shape
    view = mask[shape.top : shape.top + height, shape.left : shape.left + width]
    both = int(np.count_nonzero(view & shape.mask))
    return both / (int(np.count_nonzero(mask)) + int(np.count_nonzero(shape.mask)) - both)
