"""What lies on an image: outlined nuclei, proposals of a model, and finished rectangles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from nucleist.types import UserError, Window

Point = tuple[float, float]
"""x and y, pixels; the corner of the image is (0, 0), the middle of its first pixel (0.5, 0.5)."""

State = Literal["labelled", "proposed", "rejected"]
Origin = Literal["drawn", "proposed", "corrected", "imported"]

STATES = ("labelled", "proposed", "rejected")
ORIGINS = ("drawn", "proposed", "corrected", "imported")
FEWEST, MOST = 3, 400
"""Anchors of an outline."""

_FAR = 1e6


@dataclass(frozen=True)
class Thing:
    """A nucleus with its outline, or a rectangle in which every nucleus is outlined.

    Attributes:
        id: UUID, as text.
        kind: `nucleus` or `region`.
        anchors: Of a nucleus the points that its closed spline runs through, of a region the upper
            left and the lower right corner, pixels.
        state: `labelled`, `proposed` by a model, or `rejected`: a proposal that is no nucleus.
        origin: `drawn` by hand, `proposed` (and perhaps accepted as it was), `corrected` (a
            proposal that was changed), or `imported` from other labels.
        round: Number of the training whose model proposed it; 0 for none.
        score: The model's, in [0, 1]; 1 for what was drawn.
        model: Hash of the model; empty for none.
        who: Who drew, accepted or changed it last.
        when: UTC, ISO 8601, of the last change.
    """

    id: str
    kind: Literal["nucleus", "region"]
    anchors: tuple[Point, ...]
    state: State = "labelled"
    origin: Origin = "drawn"
    round: int = 0
    score: float = 1.0
    model: str = ""
    who: str = ""
    when: str = ""

    @property
    def is_label(self) -> bool:
        """Whether it is a nucleus that training learns from."""
        return self.kind == "nucleus" and self.state == "labelled"

    @property
    def window(self) -> Window:
        """The rectangle of a region."""
        (x0, y0), (x1, y1) = self.anchors
        return Window(int(y0), int(x0), int(y1), int(x1))

    def with_anchors(self, anchors: Sequence[Point]) -> Thing:
        """The same nucleus with another outline: a proposal that is touched becomes a label."""
        origin = "corrected" if self.origin == "proposed" else self.origin
        return replace(self, anchors=tuple(anchors), state="labelled", origin=origin)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file or the page."""
        return asdict(self)


def from_json(content: Mapping[str, Any]) -> Thing:
    """A thing from plain values.

    Raises:
        UserError: If they are none.
    """
    try:
        plain = dict(content)
        region = plain["kind"] == "region"
        anchors = corners(plain.pop("anchors")) if region else outline(plain.pop("anchors"))
        known = plain.get("state", "labelled") in STATES and plain.get("origin", "drawn") in ORIGINS
        if not known or plain["kind"] not in ("nucleus", "region"):
            raise ValueError("an unknown state, origin or kind")
        return Thing(anchors=anchors, **plain)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"no outline: {error}; restore an older version of the file") from error


def outline(anchors: Any) -> tuple[Point, ...]:
    """Anchors of a nucleus, checked and rounded to 0.01 px.

    Raises:
        UserError: If they are no points, too few, too many, or lie far from any image.
    """
    points = _points(anchors)
    points = tuple(p for i, p in enumerate(points) if p != points[i - 1])  # no two in one place
    if not FEWEST <= len(points) <= MOST:
        raise UserError(f"an outline of {len(points)} points; give {FEWEST} to {MOST}")
    return points


def corners(anchors: Any) -> tuple[Point, ...]:
    """Two corners of a rectangle, the upper left one first, on whole pixels.

    Raises:
        UserError: If they are no two points, or the rectangle is empty.
    """
    points = _points(anchors)
    if len(points) != 2:
        raise UserError(f"a rectangle of {len(points)} corners; give 2")
    (x0, x1), (y0, y1) = (sorted(round(c) for c in side) for side in zip(*points, strict=True))
    if x0 == x1 or y0 == y1:
        raise UserError("an empty rectangle; draw a larger one")
    return (float(x0), float(y0)), (float(x1), float(y1))


def _points(anchors: Any) -> tuple[Point, ...]:
    try:
        points = tuple((round(float(x), 2), round(float(y), 2)) for x, y in anchors)
    except (TypeError, ValueError) as error:
        raise UserError(f"points that are no numbers ({error})") from error
    if not all(math.isfinite(c) and abs(c) < _FAR for point in points for c in point):
        raise UserError("points far from the image; draw inside it")
    return points
