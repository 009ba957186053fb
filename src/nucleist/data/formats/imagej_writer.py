"""Write nuclei as a zip of ImageJ selections; `nucleist.data.formats.imagej` reads it.

A nucleus is a polygon with the flag "spline fit", which Fiji draws as a curve through anchors that
can be dragged, wherever the curve is good enough; else the polygon around its pixels, or with holes
or several parts a composite selection. Coordinates are floats, names unique. The zip is made anew:
`roifile.roiwrite` adds to one that is there, and deleted selections would return.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from nucleist.data.formats.traced import GOAL, NucleusWriter, Traced, counted, shape_hash
from nucleist.files import replacing
from nucleist.ops.polygons import Ring
from nucleist.ops.splines import GRID

FARTHEST = 60_000
"""Selections beyond this row or column are left out: ImageJ keeps places in 16 bits."""

ID, SHAPE = "nucleist_id", "nucleist_shape"
"""Properties of a selection, which ImageJ keeps: the UUID, and the hash of the anchors."""

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # steps of a path, as in java.awt.geom.PathIterator


class ImageJWriter(NucleusWriter):
    """Writes selections into an open zip."""

    def __init__(self, archive: zipfile.ZipFile):
        """Take a zip that is open for writing."""
        self._archive = archive
        self._far = self._polygons = self._composites = 0

    def add(self, nucleus: Traced) -> None:
        """See `NucleusWriter.add`."""
        window = nucleus.nucleus.window
        if max(window.y1, window.x1) > FARTHEST:
            self._far += 1
            return
        name = f"nucleus_{nucleus.nucleus.label:05d}"
        selection = self._selection(nucleus)
        selection.name = name
        selection.props = f"{ID}: {nucleus.id}\n{selection.props}"
        self._archive.writestr(f"{name}.roi", selection.tobytes())

    def notes(self) -> list[str]:
        """See `NucleusWriter.notes`."""
        far, coarse = f"beyond {FARTHEST} px", f"no spline reaches an IoU of {GOAL}"
        parts = "holes or several parts"
        return [
            *counted(self._far, f"lies {far} and is left out", f"lie {far} and are left out"),
            *counted(self._polygons, f"is a polygon: {coarse}", f"are polygons: {coarse}"),
            *counted(self._composites, f"has {parts}: a composite", f"have {parts}: composites"),
        ]

    def _selection(self, nucleus: Traced) -> ImagejRoi:
        if not nucleus.is_simple:
            self._composites += 1
            return _composite([ring for rings in nucleus.polygons for ring in rings])
        if nucleus.spline.iou < GOAL:
            self._polygons += 1
            return _polygon(nucleus.polygons[0][0])
        anchors = nucleus.spline.anchors
        selection = _polygon(anchors)
        selection.options |= ROI_OPTIONS.SPLINE_FIT
        selection.props = f"{SHAPE}: {anchors_hash(anchors)}\n"
        return selection


def anchors_hash(anchors: np.ndarray) -> str:
    """The hash of a spline's anchors, `(K, 2)` pixels, as the 32-bit floats that ImageJ keeps."""
    return shape_hash(np.asarray(anchors, np.float32).astype(np.float64), GRID)


@contextmanager
def writing_rois(path: Path) -> Iterator[ImageJWriter]:
    """Write a zip of selections whole or not at all.

    Args:
        path: The file.

    Raises:
        UserError: If it cannot be written.
    """
    with (
        replacing(path) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        yield ImageJWriter(archive)


def _polygon(vertices: np.ndarray) -> ImagejRoi:
    selection = ImagejRoi.frompoints(np.asarray(vertices, np.float32), name="nucleus")
    selection.roitype = ROI_TYPE.POLYGON
    return selection


def _composite(rings: list[Ring]) -> ImagejRoi:
    """A selection of several paths, where what lies in an even number of them is outside."""
    steps: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring.tolist()):
            steps += [_LINE if number else _MOVE, x, y]
        steps.append(_CLOSE)
    low, high = np.concatenate(rings).min(0), np.concatenate(rings).max(0)
    selection = ImagejRoi()
    selection.roitype = ROI_TYPE.RECT  # what ImageJ writes for composites
    selection.left, selection.top = (int(v) for v in np.floor(low))
    selection.right, selection.bottom = (int(v) for v in np.ceil(high))
    selection.multi_coordinates = np.array(steps, np.float32)
    selection.shape_roi_size = len(steps)
    return selection
