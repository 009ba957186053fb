"""Labels of other formats as outlines, and which pixels proposals may not have."""

import uuid
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nucleist.annotation import geometry
from nucleist.annotation.things import Thing, corners, outline
from nucleist.data.outlines import Shape
from nucleist.types import Record

_NAMESPACE = uuid.UUID("5d3b6f0e-5d0e-4c57-9d3f-6a5b1f3c7a10")


class Taken:
    """Which pixels no proposal may have: of labelled nuclei, of rejected ones, of regions.

    Args:
        things: What is settled.
        size: Height and width of the image, pixels.
    """

    SHARE = 0.3
    """Of its pixels that a proposal may share with what is settled."""

    def __init__(self, things: Sequence[Thing], size: tuple[int, int]):
        self._taken, self._size = np.zeros(size, bool), size
        for thing in things:
            if thing.kind == "region":
                self._taken[thing.window.slices] = True
            elif shape := geometry.shape_of(thing.anchors, size):
                self._view(shape)[shape.mask] = True

    def claims(self, anchors: Sequence[tuple[float, float]]) -> bool:
        """Whether an outline lies on what is settled, or holds no pixel of the image."""
        shape = geometry.shape_of(anchors, self._size)
        if shape is None:
            return True
        return bool(self._view(shape)[shape.mask].mean() > self.SHARE)

    def _view(self, shape: Shape) -> np.ndarray:
        height, width = shape.mask.shape
        return self._taken[shape.top : shape.top + height, shape.left : shape.left + width]


def imported(record: Record) -> list[Thing]:
    """The labels of a record as outlines, and where it is complete as regions."""
    found = []
    for number, anchors in traced(record.labels).items():
        own = str(uuid.uuid5(_NAMESPACE, f"{record.id}/{number}"))
        found.append(Thing(own, "nucleus", outline(anchors), origin="imported"))
    height, width = record.labels.shape
    whole = record.complete is True
    windows = [(0, 0, height, width)] if whole else record.complete or ()
    for y0, x0, y1, x1 in windows:  # type: ignore[union-attr]
        own = str(uuid.uuid5(_NAMESPACE, f"{record.id}/region/{y0},{x0},{y1},{x1}"))
        found.append(Thing(own, "region", corners([(x0, y0), (x1, y1)]), origin="imported"))
    return found


def traced(labels: np.ndarray) -> dict[int, list[tuple[float, float]]]:
    """Outlines around the nuclei of a label map `(H, W)`, by id; too small ones are left out."""
    found = {}
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None:
            corner = (box[1].start, box[0].start)
            if anchors := geometry.anchors_of(labels[box] == number, corner):
                found[number] = anchors
    return found
