"""What writers of outlines share: a nucleus with its outlines, its identity, and what got lost.

An exported nucleus has a UUID that follows from what it was made from and its label, so that a
correction of it is recognised without a list of all that was ever exported; and a hash of its
drawn shape, so that a shape that came back untouched is recognised too.
"""

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nucleist.data.outlines import Shape
from nucleist.ops.polygons import Ring, outlines
from nucleist.ops.splines import Spline, fit
from nucleist.types import Complete, Nucleus

NAMESPACE = uuid.UUID("5c1f3e0a-7d0b-5a86-9a5e-6b1f0c4d2e77")
"""Of the UUIDs of nuclei (RFC 9562, version 5)."""

GOAL = 0.97
"""IoU that a spline shall have with the pixels of its nucleus."""


def nucleus_id(origin: str, label: int) -> str:
    """The UUID of a nucleus.

    Args:
        origin: What the label map was made from: the same text only for the same label map.
        label: Of the nucleus in it.

    Examples:
        >>> nucleus_id("a.tif", 1) == nucleus_id("a.tif", 1) != nucleus_id("b.tif", 1)
        True
    """
    return str(uuid.uuid5(NAMESPACE, f"{origin} {label}"))


def shape_hash(vertices: np.ndarray, steps: int) -> str:
    """A hash of a closed shape, 12 hexadecimal digits, wherever it begins and whichever way round.

    Args:
        vertices: `(N, 2)`, pixels.
        steps: A pixel's; coordinates are rounded to this part of it.
    """
    whole = np.unique(np.round(np.asarray(vertices) * steps).astype(np.int64), axis=0)
    return hashlib.sha256(np.ascontiguousarray(whole, "<i8").tobytes()).hexdigest()[:12]


class Traced:
    """A nucleus with its outlines in the image, each computed when it is first asked for."""

    def __init__(self, nucleus: Nucleus, origin: str = ""):
        """Wrap a nucleus.

        Args:
            nucleus: With at least one pixel.
            origin: See `nucleus_id`.
        """
        self.nucleus = nucleus
        self.id = nucleus_id(origin, nucleus.label)
        self._corner = np.array([nucleus.window.x0, nucleus.window.y0], np.float64)

    @cached_property
    def polygons(self) -> list[list[Ring]]:
        """See `nucleist.ops.polygons.outlines`; pixels of the image."""
        found = outlines(self.nucleus.mask)
        return [[ring + self._corner for ring in rings] for rings in found]

    @cached_property
    def spline(self) -> Spline:
        """See `nucleist.ops.splines.fit`; pixels of the image."""
        found = fit(self.nucleus.mask, GOAL)
        return Spline(found.anchors + self._corner, found.iou)

    @property
    def is_simple(self) -> bool:
        """Whether one ring outlines it: it has one part and no hole."""
        return len(self.polygons) == 1 and len(self.polygons[0]) == 1


class Corrected(NamedTuple):
    """A nucleus that came back.

    Attributes:
        shape: Its pixels; the id is its number in the file.
        id: UUID that it was exported with; empty if it is new or the format holds none.
        intact: Whether the file says that its outline is what was exported. The pixels may differ
            all the same from those that were exported, of which it was an approximation.
    """

    shape: Shape
    id: str = ""
    intact: bool = False


class Corrections(NamedTuple):
    """The nuclei of an image that came back.

    Attributes:
        nuclei: In the order of the file; they may overlap.
        notes: What had to be decided, one sentence each.
        complete: Where the file says that every nucleus is labelled.
    """

    nuclei: list[Corrected]
    notes: Sequence[str] = ()
    complete: Complete = False


class NucleusWriter(ABC):
    """Takes nuclei one by one and keeps none, so that any number of them can be written."""

    @abstractmethod
    def add(self, nucleus: Traced) -> None:
        """Write one more nucleus."""

    def notes(self) -> Sequence[str]:
        """What the format cannot hold of the nuclei, counted, one sentence each."""
        return ()


def counted(count: int, one: str, many: str) -> list[str]:
    """A note on some nuclei, none if there are none: `1 nucleus ONE` or `3 nuclei MANY`."""
    return [f"{count} nuclei {many}" if count > 1 else f"1 nucleus {one}"] if count else []
