"""A picture's annotation as a file: GeoJSON that QuPath opens, one nucleus a line, sorted by id.

Nuclei that were labelled have the class `Nucleus`, proposals `Proposal`, rejected ones `Ignore*`,
finished rectangles `complete`. The class is what counts when the file comes back: who changes
`Proposal` to `Nucleus` in QuPath accepts it. The anchors are in the metadata, as text, because
QuPath keeps only texts there; an outline that was changed elsewhere is fitted anew.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucleist.annotation import geometry
from nucleist.annotation.things import State, Thing, from_json, outline
from nucleist.data.formats.complete import is_region
from nucleist.data.formats.geojson import PROPOSAL, load_features
from nucleist.data.readers.names import OWN_END
from nucleist.types import UserError

ENDING = OWN_END
"""Of the file beside an image: `a.tif` has `a.nucleist.geojson`."""

SCHEMA = 1
CLASSES: dict[State, tuple[str, list[int]]] = {
    "labelled": ("Nucleus", [0, 170, 0]),
    "proposed": (PROPOSAL, [230, 150, 0]),
    "rejected": ("Ignore*", [120, 120, 120]),
}
_COMPLETE = ("complete", [0, 110, 220])
_METADATA = ("state", "origin", "round", "score", "model", "who", "when")
_SAME = 0.03
"""QuPath rounds coordinates to 0.01 px; rings this near are one (pixels)."""


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
        things: By id.
        revision: Of the picture; None if another program wrote the file.
        image: Hash of the image; empty if none is stored.
    """

    things: dict[str, Thing]
    revision: int | None
    image: str


def to_geojson(
    things: Iterable[Thing], revision: int, image: str, size: tuple[int, int], whole: bool = True
) -> bytes:
    """The file's content.

    Args:
        things: In any order.
        revision: Of the picture.
        image: Hash of the image.
        size: Its height and width, pixels.
        whole: Also proposals and what was rejected.
    """
    head = {"schema": SCHEMA, "revision": revision, "image": image, "size": list(size)}
    kept = [thing for thing in things if whole or thing.state == "labelled"]
    body = ",\n".join(_line(thing) for thing in sorted(kept, key=lambda thing: thing.id))
    return (
        f'{{"type":"FeatureCollection","nucleist":{json.dumps(head)},"features":[\n{body}\n]}}\n'
    ).encode()


@lru_cache(maxsize=50_000)  # of thousands of nuclei one has changed since the last writing
def _line(thing: Thing) -> str:
    return json.dumps(_feature(thing), separators=(",", ":"), ensure_ascii=False)


def _feature(thing: Thing) -> dict[str, Any]:
    name, color = CLASSES[thing.state] if thing.kind == "nucleus" else _COMPLETE
    metadata = {key: str(getattr(thing, key)) for key in _METADATA}
    metadata["anchors"] = json.dumps([list(point) for point in thing.anchors])
    return {
        "type": "Feature",
        "id": thing.id,
        "geometry": {"type": "Polygon", "coordinates": [_ring(thing).tolist()]},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": color},
            "metadata": metadata,
        },
    }


def _ring(thing: Thing) -> np.ndarray:
    if thing.kind == "region":
        (x0, y0), (x1, y1) = thing.anchors
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    return geometry.ring_of(thing.anchors).points


def from_geojson(data: bytes, where: str, known: Mapping[str, Thing] | None = None) -> Stored:
    """Read what `to_geojson` wrote, perhaps changed by QuPath since, or any GeoJSON of nuclei.

    Args:
        data: Content of the file.
        where: The file, for messages.
        known: What lay on the picture before, for programs that drop metadata.

    Raises:
        UserError: If the file is damaged.
    """
    features = load_features(data, where)
    things: dict[str, Thing] = {}
    for feature in features:
        thing = _thing(feature, known or {})
        if thing is not None and thing.id not in things:
            things[thing.id] = thing
    head = _head(data.partition(b"\n")[0])
    if not head:
        return Stored(things, None, "")
    if head.get("schema") != SCHEMA:
        raise UserError(
            f"{where}: schema {head.get('schema')}, this version has {SCHEMA}; update nucleist"
        )
    return Stored(things, int(head.get("revision", 0)), str(head.get("image", "")))


def _thing(feature: Mapping[str, Any], known: Mapping[str, Thing]) -> Thing | None:
    properties = feature.get("properties") or {}
    kind = properties.get("classification")
    name = kind.get("name") if isinstance(kind, Mapping) else kind
    metadata = properties.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    ring = _outer_ring(feature)
    if ring is None:
        return None
    own = _uuid(feature.get("id"))
    if is_region(name) or is_region(properties.get("name")):
        low, high = ring.min(0), ring.max(0)
        return from_json({"id": own, "kind": "region", "anchors": [low, high], **_told(metadata)})
    state: State = next((s for s, (word, _) in CLASSES.items() if word == name), "labelled")
    return _nucleus(own, ring, state, metadata, known.get(own))


def _nucleus(
    own: str, ring: np.ndarray, state: State, metadata: Mapping[str, Any], thing: Thing | None
) -> Thing | None:
    try:
        anchors = json.loads(str(metadata.get("anchors", "null")))
        thing = from_json({"id": own, "kind": "nucleus", "anchors": anchors, **_told(metadata)})
    except (ValueError, UserError):
        pass  # by another program: what was known of it before stands
    if thing is not None and _is_same(_ring(thing), ring):
        return replace(thing, state=state)
    fitted = geometry.anchors_around(ring)
    if not fitted:
        return None
    if thing is None:
        return Thing(own, "nucleus", outline(fitted), state, "imported")
    return replace(thing.with_anchors(outline(fitted)), state=state)


def _told(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that are understood, with their types."""
    kinds: dict[str, Any] = {"round": int, "score": float}
    found = {}
    for key in _METADATA:
        if key in metadata:
            try:
                found[key] = kinds.get(key, str)(metadata[key])
            except ValueError:
                continue
    return found


def _outer_ring(feature: Mapping[str, Any]) -> np.ndarray | None:
    """The outline of a polygon, of several the longest; None if it is no area."""
    shape = feature.get("geometry") or {}
    kinds = {"Polygon": lambda c: [c], "MultiPolygon": lambda c: c}
    try:
        rings = [polygon[0] for polygon in kinds[shape["type"]](shape["coordinates"])]
        ring = np.array([point[:2] for point in max(rings, key=len)], np.float64)
    except (KeyError, TypeError, IndexError, ValueError):
        return None
    if len(ring) < 3 or not (np.abs(ring) < 1e6).all():
        return None
    return ring[:-1] if (ring[0] == ring[-1]).all() else ring


def _uuid(given: object) -> str:
    try:
        return str(uuid.UUID(str(given)))
    except ValueError:
        return str(uuid.uuid4())


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a closed ring and an open one have the same points, wherever they begin and run."""
    rounded = one[:-1]
    if len(rounded) != len(other):
        return False
    start = int(np.abs(other - rounded[0]).sum(1).argmin())
    ways = (np.roll(other, -start, 0), np.roll(other[::-1], start + 1, 0))
    return any(bool((np.abs(way - rounded) < _SAME).all()) for way in ways)


def header(path: Path) -> tuple[tuple[int, int] | None, str]:
    """Size and hash of the image, from the first line of a file; None and "" if not there."""
    try:
        with path.open("rb") as file:
            head = _head(file.readline(10_000))
        height, width = head["size"]
        return (int(height), int(width)), str(head["image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _head(line: bytes) -> dict[str, Any]:
    """What the first line of our files says; empty for those that other programs wrote."""
    try:
        found = json.loads(line.rstrip().removesuffix(b'"features":[').rstrip(b",") + b"}")
        return dict(found["nucleist"])
    except (ValueError, KeyError, TypeError):
        return {}
