"""Write nuclei as the GeoJSON that QuPath 0.5 to 0.7 opens; `nucleist.data.formats.geojson` reads.

Rings are valid after rounding to 0.01 px, as QuPath rounds them from 0.6 on. A classification has a
name and a colour, an id is a UUID, values of `metadata` are texts, and of one part there is no
MultiPolygon. More than 2,000 nuclei are detections, which QuPath draws faster than annotations;
fewer are annotations, which a person can edit there.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nucleist.data.formats.geometry import STEP, geometry_of
from nucleist.data.formats.traced import GOAL, NucleusWriter, Traced, counted, shape_hash
from nucleist.files import replacing
from nucleist.ops.splines import curve

MANY = 2000
"""Largest number of nuclei that are annotations."""

CLASS = {"name": "Nucleus", "color": [0, 180, 120]}
SPACING = 0.5
"""Distance of the vertices of a spline, pixels, about: fine ones become invalid by rounding."""


class GeoJsonWriter(NucleusWriter):
    """Writes the features of an open file, one a line; what they are is known at the end."""

    def __init__(self, file: TextIO, splines: bool):
        """Begin a collection.

        Args:
            file: To write to.
            splines: Whether the outlines are splines, with their anchors and IoU in `metadata`;
                else those of the pixels.
        """
        self._file, self._splines = file, splines
        self._first: list[dict[str, Any]] | None = []
        self._separator = "\n"
        self._lost = self._not_simple = self._coarse = 0
        file.write('{"type": "FeatureCollection", "features": [')

    def add(self, nucleus: Traced) -> None:
        """See `NucleusWriter.add`."""
        geometry, about = self._spline(nucleus) if self._splines else self._pixels(nucleus)
        if geometry is None:
            self._lost += 1
            return
        feature = _feature(nucleus, geometry, about)
        if self._first is None:
            self._write(feature, "detection")
            return
        self._first.append(feature)
        if len(self._first) > MANY:
            self._flush("detection")

    def end(self) -> None:
        """Write what was held back, and the end of the collection."""
        self._flush("annotation")
        self._file.write("\n]}\n")

    def notes(self) -> list[str]:
        """See `NucleusWriter.notes`."""
        lost = f"no area after rounding to {STEP} px"
        parts = "holes or several parts: the spline is of the largest"
        coarse = f"a spline with an IoU below {GOAL}; see iou in metadata"
        return [
            *counted(self._lost, f"has {lost} and is left out", f"have {lost} and are left out"),
            *counted(self._not_simple, f"has {parts}", f"have {parts}"),
            *counted(self._coarse, f"has {coarse}", f"have {coarse}"),
        ]

    def _pixels(self, nucleus: Traced) -> tuple[dict[str, Any] | None, dict[str, str]]:
        return geometry_of(nucleus.polygons), {}

    def _spline(self, nucleus: Traced) -> tuple[dict[str, Any] | None, dict[str, str]]:
        anchors, iou = nucleus.spline
        self._not_simple += not nucleus.is_simple
        self._coarse += iou < GOAL
        geometry = geometry_of([[curve(anchors, SPACING)]])
        about = {"anchors": json.dumps(anchors.tolist()), "iou": f"{iou:.4f}"}
        if geometry and geometry["type"] == "Polygon":
            about["shape"] = shape_hash(geometry["coordinates"][0], round(1 / STEP))
        return geometry, about

    def _flush(self, kind: str) -> None:
        for feature in self._first or ():
            self._write(feature, kind)
        self._first = None

    def _write(self, feature: dict[str, Any], kind: str) -> None:
        feature["properties"]["objectType"] = kind
        self._file.write(self._separator + json.dumps(feature))
        self._separator = ",\n"


@contextmanager
def writing_geojson(path: Path, splines: bool = False) -> Iterator[GeoJsonWriter]:
    """Write a collection whole or not at all.

    Args:
        path: The file.
        splines: See `GeoJsonWriter`.

    Raises:
        UserError: If it cannot be written.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        writer = GeoJsonWriter(file, splines)
        yield writer
        writer.end()


def _feature(nucleus: Traced, geometry: dict[str, Any], about: dict[str, str]) -> dict[str, Any]:
    label, score = nucleus.nucleus.label, float(nucleus.nucleus.score)
    return {
        "type": "Feature",
        "id": nucleus.id,
        "geometry": geometry,
        "properties": {
            "objectType": "",
            "name": str(label),
            "classification": CLASS,
            "measurements": {"Score": round(score, 4)},
            "metadata": {"label": str(label), "score": f"{score:.4f}", "origin": "model", **about},
        },
    }
