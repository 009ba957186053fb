"""Rings to geometries of GeoJSON that are valid after rounding, as strict readers need them."""

from collections.abc import Sequence
from typing import Any

import shapely

from nucleist.ops.polygons import Ring

STEP = 0.01
"""Coordinates are multiples of this part of a pixel, to which QuPath rounds from 0.6 on."""


def geometry_of(polygons: Sequence[Sequence[Ring]]) -> dict[str, Any] | None:
    """A Polygon, or a MultiPolygon of several, with closed rings; None if no area is left.

    Rings that cross themselves are untangled; what rounding makes too thin is left out.

    Args:
        polygons: Of each its outer ring and its holes.
    """
    parts = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    area = shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]
    if not area.is_valid:
        area = shapely.make_valid(area)
    area = shapely.set_precision(area, STEP)
    found = [part for part in _polygons(area) if part.area > 0]
    coordinates = [_coordinates(shapely.orient_polygons(part)) for part in found]
    if len(found) < 2:
        return {"type": "Polygon", "coordinates": coordinates[0]} if found else None
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _polygons(area: Any) -> list[shapely.Polygon]:
    """The polygons in a geometry, which may hold lines and points as well."""
    if area.geom_type == "Polygon":
        return [area]
    return [polygon for part in getattr(area, "geoms", ()) for polygon in _polygons(part)]


def _coordinates(polygon: shapely.Polygon) -> list[list[list[float]]]:
    rings = [polygon.exterior, *polygon.interiors]
    return [[[round(x, 2), round(y, 2)] for x, y in ring.coords] for ring in rings]
