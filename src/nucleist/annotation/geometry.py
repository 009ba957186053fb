"""Outlines as shapes: a spline as pixels, pixels as a spline, two joined, one cut."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import shapely

from nucleist.annotation.things import Point
from nucleist.data.formats.geometry import geometry_of
from nucleist.data.outlines import Shape, fill
from nucleist.ops.polygons import inside
from nucleist.ops.splines import curve, fit

SPACING = 1.0
"""Distance of the vertices of what is written, pixels."""

FINE = 4
"""What is joined or cut is fitted on a grid of so many points a pixel."""

SMALLEST = 4
"""Area of the smallest shape that gets an outline, square pixels."""


class Ring(NamedTuple):
    """An outline that is evaluated.

    Attributes:
        points: `(N, 2)` x and y, pixels, the last point the first. It crosses itself nowhere and is
            valid in steps of 0.01 px: of an outline that does cross itself it is the border of the
            largest part, since QuPath refuses other files.
        crosses: Whether the outline crosses itself.
        area: Inside, square pixels.
        length: Of the way around, pixels.
        center: Mean of its corners' box, x and y, pixels.
    """

    points: np.ndarray
    crosses: bool
    area: float
    length: float
    center: Point


@lru_cache(maxsize=50_000)  # of thousands of nuclei one changes between two writings
def ring_of(anchors: tuple[Point, ...]) -> Ring:
    """Evaluate an outline. Do not change the points."""
    points = np.round(curve(np.asarray(anchors), SPACING), 2)
    closed = np.concatenate([points, points[:1]])
    polygon = shapely.Polygon(closed)
    crosses = not polygon.is_valid
    if crosses:
        closed = _largest(points)
        polygon = shapely.Polygon(closed)
    x0, y0, x1, y1 = polygon.bounds
    return Ring(closed, crosses, polygon.area, polygon.length, ((x0 + x1) / 2, (y0 + y1) / 2))


def _largest(points: np.ndarray) -> np.ndarray:
    """The closed border of the largest part of a ring that crosses itself."""
    geometry = geometry_of([[points]])
    if geometry is None:  # no area: a square pixel in its place
        x, y = np.floor(points[0])
        return np.array([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)])
    parts = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        return np.array(parts[0])
    return max((np.array(part[0]) for part in parts), key=lambda ring: shapely.Polygon(ring).area)


def shape_of(anchors: Sequence[Point], size: tuple[int, int], number: int = 1) -> Shape | None:
    """The pixels of an outline; None if it holds none of the image.

    Args:
        anchors: Of the outline.
        size: Height and width of the image, pixels.
        number: Value in a label map.
    """
    return fill(curve(np.asarray(anchors), SPACING), size, number)


def anchors_of(mask: np.ndarray, corner: tuple[int, int]) -> list[Point] | None:
    """A spline of few anchors around the pixels of a mask, of its largest piece.

    Args:
        mask: `(h, w)` `bool`.
        corner: x and y of its upper left corner in the image, pixels.

    Returns:
        Anchors; None if the mask is too small for an outline.
    """
    if np.count_nonzero(mask) < SMALLEST:
        return None
    return _points(fit(mask).anchors + np.asarray(corner))


def anchors_around(ring: np.ndarray) -> list[Point] | None:
    """A spline of few anchors along a ring `(N, 2)`; None if it is too small."""
    low = np.floor(ring.min(0)).astype(int)
    fine = (ring - low) * FINE
    high = np.ceil(fine.max(0)).astype(int)
    mask = inside(fine, (0, 0, int(high[1]) + 1, int(high[0]) + 1))
    if np.count_nonzero(mask) < SMALLEST * FINE**2:
        return None
    return _points(fit(mask).anchors / FINE + low)


def joined(outlines: Sequence[Sequence[Point]]) -> list[Point] | None:
    """One outline around several that touch; of others around the largest part."""
    whole = shapely.union_all([_area(anchors) for anchors in outlines])
    return _around(max(_parts(whole), key=lambda part: part.area, default=None))


def cut(anchors: Sequence[Point], line: Sequence[Point]) -> list[list[Point]]:
    """The two sides of an outline along a straight line, which is prolonged.

    Args:
        anchors: Of the outline.
        line: Two points.

    Returns:
        Two outlines; fewer if the line misses.
    """
    start, end = np.asarray(line, np.float64)
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    far = 1e5 * along
    beside = 1e5 * np.array([-along[1], along[0]])
    found = []
    for side in (beside, -beside):
        half = shapely.Polygon([start - far, start + far, start + far + side, start - far + side])
        parts = _parts(_area(anchors).intersection(half))
        found.append(_around(max(parts, key=lambda part: part.area, default=None)))
    return [outline for outline in found if outline]


def _area(anchors: Sequence[Point]) -> shapely.Geometry:
    return shapely.make_valid(shapely.Polygon(curve(np.asarray(anchors))))


def _parts(area: shapely.Geometry) -> list[shapely.Polygon]:
    found = getattr(area, "geoms", [area])
    return [part for part in found if part.geom_type == "Polygon" and part.area >= SMALLEST]


def _around(part: shapely.Polygon | None) -> list[Point] | None:
    return None if part is None else anchors_around(np.array(part.exterior.coords)[:-1])


def _points(anchors: np.ndarray) -> list[Point]:
    return [(float(x), float(y)) for x, y in anchors]
