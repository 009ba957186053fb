"""Read nuclei from the GeoJSON of QuPath (RFC 7946 with QuPath's properties).

Coordinates are pixels of the whole image: pixel (row i, column j) is the square from (j, i) to
(j + 1, i + 1). Detections and cells are nuclei, of a cell its nucleus; without any the annotations
are nuclei. Which pixels an outline holds: see `nucleist.data.outlines`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nucleist.data.formats.complete import is_region
from nucleist.data.formats.geometry import STEP
from nucleist.data.formats.traced import Corrected, Corrections, shape_hash
from nucleist.data.outlines import Drawn, Shape, area, compose, fill, union
from nucleist.types import UserError

PROPOSAL = "Proposal"
"""Class of what a model found: no nucleus until somebody accepts it, in `nucleist annotate`."""

_MAX_COORDINATE = 1e7
_AREAS = ("Polygon", "MultiPolygon")
_OTHERS = ("Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection")

Ring = np.ndarray
"""`(N, 2)` `float64`, x and y, pixels; the last vertex is joined to the first."""


def read_geojson(data: bytes, where: str, shape: tuple[int, int]) -> Drawn:
    """Read the nuclei of an image.

    Overlaps follow the rule of `nucleist.data.outlines`. What is no area, lies outside the image or
    is an annotation around detections is left out, with a note. What is called `complete`, by
    name or class, is no nucleus: in it all nuclei are labelled.

    Args:
        data: Content of the file.
        where: The file, for messages.
        shape: Height and width of the image, pixels.

    Returns:
        The label map, in which the k-th feature that is taken has the id k, notes and area.

    Raises:
        UserError: If the file is damaged, or no GeoJSON of outlines.
    """
    nuclei, regions, notes = _sorted_out(load_features(data, where), where, shape)
    labels, overlaps = compose(shape, [one for _, one in nuclei])
    return Drawn(labels, (*notes, *overlaps), area(shape, regions))


def read_corrected_geojson(data: bytes, where: str, shape: tuple[int, int]) -> Corrections:
    """Read each nucleus by itself, as `read_geojson`, with the identity that it was exported with.

    Args:
        data: Content of the file.
        where: The file, for messages.
        shape: Height and width of the image, pixels.

    Raises:
        UserError: As `read_geojson`.
    """
    nuclei, regions, notes = _sorted_out(load_features(data, where), where, shape)
    found = [Corrected(one, _id(feature), _is_intact(feature)) for feature, one in nuclei]
    return Corrections(found, notes, area(shape, regions))


class _Sorted(NamedTuple):
    nuclei: list[tuple[Mapping[str, Any], Shape]]
    regions: list[Shape]
    notes: list[str]


def _sorted_out(
    everything: Sequence[Mapping[str, Any]], where: str, shape: tuple[int, int]
) -> _Sorted:
    """Nuclei with their features, and regions; notes on what is neither."""
    complete = [feature for feature in everything if _is_complete(feature)]
    others = [feature for feature in everything if not _is_complete(feature)]
    settled = [feature for feature in others if not _is_called(feature, PROPOSAL)]
    features = [feature for feature in settled if not _is_called(feature, "Region*", "Ignore*")]
    found = [feature for feature in features if _kind(feature) != "annotation"]
    notes = []
    if ignored := len(settled) - len(features):
        notes.append(f"{ignored} regions (Region*, Ignore*) are no nuclei")
    if proposed := len(others) - len(settled):
        notes.append(f"{proposed} proposals are no nuclei until somebody accepts them")
    if found and len(found) < len(features):
        notes.append(
            f"{len(features) - len(found)} annotations beside {len(found)} detections are taken "
            "for regions, not nuclei, and were left out"
        )
    regions = _filled(complete, "region 'complete'", where, shape, notes)
    taken = found or features
    nuclei = _filled(taken, "feature", where, shape, notes)
    return _Sorted([(taken[one.id - 1], one) for one in nuclei], regions, notes)


def _id(feature: Mapping[str, Any]) -> str:
    return str(feature.get("id") or "")


def _is_intact(feature: Mapping[str, Any]) -> bool:
    """Whether the ring is the one whose hash was exported with it."""
    properties, geometry = feature.get("properties"), feature.get("geometry")
    about = properties.get("metadata") if isinstance(properties, Mapping) else None
    if not isinstance(about, Mapping) or not isinstance(geometry, Mapping):
        return False
    if geometry.get("type") != "Polygon" or len(geometry["coordinates"]) != 1:
        return False
    ring = _ring(geometry["coordinates"][0])
    return about.get("shape") == shape_hash(ring, round(1 / STEP))


def is_geojson(head: bytes) -> bool:
    """Whether a JSON file is GeoJSON, from its first bytes."""
    return bool(re.search(rb'"type"\s*:\s*"Feature(Collection)?"', head))


def load_features(data: bytes, where: str) -> list[Mapping[str, Any]]:
    """The features of a GeoJSON file: of a collection, a list, or a single one.

    Raises:
        UserError: If it is no such file.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: broken JSON ({error}); export the objects anew") from error
    if isinstance(content, Mapping):
        one = content.get("type") == "Feature"
        content = [content] if one else content.get("features")
    if not isinstance(content, list) or not all(
        isinstance(feature, Mapping) and feature.get("type") == "Feature" for feature in content
    ):
        raise UserError(
            f"{where}: no GeoJSON features; export the objects from QuPath (File, Export objects "
            "as GeoJSON)"
        )
    return content


def _kind(feature: Mapping[str, Any]) -> str:
    properties = feature.get("properties")
    kind = properties.get("objectType", "") if isinstance(properties, Mapping) else ""
    # QuPath before 0.3 wrote it as id: PathAnnotationObject, PathDetectionObject.
    kind = str(kind or feature.get("id", "")).lower()
    return "detection" if "detection" in kind or "cell" in kind else "annotation"


def _names(feature: Mapping[str, Any]) -> list[object]:
    """Its name and class, as far as it has them."""
    properties = feature.get("properties")
    if not isinstance(properties, Mapping):
        return []
    kind = properties.get("classification")
    return [properties.get("name"), kind.get("name") if isinstance(kind, Mapping) else None]


def _is_complete(feature: Mapping[str, Any]) -> bool:
    return any(map(is_region, _names(feature)))


def _is_called(feature: Mapping[str, Any], *words: str) -> bool:
    """Whether name or class is one of some words, whatever the case.

    `Region*` and `Ignore*` are classes of QuPath, which are no objects.
    """
    wanted = {word.lower() for word in words}
    return any(str(name).lower() in wanted for name in _names(feature))


def _filled(
    features: Sequence[Mapping[str, Any]],
    word: str,
    where: str,
    shape: tuple[int, int],
    notes: list[str],
) -> list[Shape]:
    """Rasterise features; what is left out is added to the notes."""
    shapes = []
    for number, feature in enumerate(features, 1):
        name = f"{word} {number}"
        polygons = _polygons(feature, f"{where}: {name}")
        if polygons is None:
            notes.append(f"{name} outlines no area and was left out")
        elif drawn := _rasterised(polygons, shape, number):
            shapes.append(drawn)
        else:
            notes.append(f"{name} holds no pixel of the image and was left out")
    return shapes


def _polygons(feature: Mapping[str, Any], where: str) -> list[list[Ring]] | None:
    """Polygons of rings, the first of each its outline, the others holes; None if no area."""
    geometry = feature.get("nucleusGeometry") or feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind in _OTHERS:
        return None
    if not isinstance(geometry, Mapping) or kind not in _AREAS:
        raise UserError(f"{where}: geometry {kind!r}, no polygon; export the objects anew")
    try:
        polygons = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
        return [[_ring(ring) for ring in polygon] for polygon in polygons]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{where}: coordinates that are no pixels ({error}); export the objects anew"
        ) from error


def _ring(points: Sequence[Any]) -> Ring:
    ring = np.array([[point[0], point[1]] for point in points], np.float64)
    if len(ring) < 3 or not (np.abs(ring) < _MAX_COORDINATE).all():  # NaN fails too
        raise ValueError(f"a ring of {len(ring)} points")
    return ring


def _rasterised(polygons: list[list[Ring]], shape: tuple[int, int], number: int) -> Shape | None:
    parts = []
    for rings in polygons:
        filled = [fill(ring, shape, number) for ring in rings]
        if part := union([ring for ring in filled if ring is not None], holes=True):
            parts.append(part)
    return union(parts)
