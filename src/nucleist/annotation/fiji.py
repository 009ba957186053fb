"""A picture as selections of ImageJ and Fiji, and their corrections back.

Every nucleus is a polygon with "spline fit" whose anchors can be dragged. What is left in the zip
when it comes back is right: proposals in it are accepted, what is missing was deleted.
"""

import uuid
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from nucleist.annotation import geometry
from nucleist.annotation.commands import Change
from nucleist.annotation.picture import Picture
from nucleist.annotation.things import Thing, outline
from nucleist.data.formats.complete import is_region
from nucleist.data.formats.imagej_writer import ID
from nucleist.files import replacing
from nucleist.types import UserError

_NEAR = 0.02
"""Anchors this near (pixels) are the same: ImageJ keeps 32-bit floats."""


def write_zip(picture: Picture, path: Path, least: float = 0.0) -> int:
    """Write labelled nuclei and proposals of a score.

    Args:
        picture: The annotation of an image.
        path: The zip; it is written whole or not at all.
        least: Lowest score of a proposal.

    Returns:
        Number of selections.

    Raises:
        UserError: If it cannot be written.
    """
    kept = exported(picture, least)
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, thing in enumerate(kept, 1):
            name = f"{number:05d}_{thing.state}_{thing.score:.2f}"
            selection = ImagejRoi.frompoints(np.asarray(thing.anchors, np.float32), name=name)
            selection.roitype = ROI_TYPE.POLYGON
            selection.options |= ROI_OPTIONS.SPLINE_FIT
            selection.name = name
            selection.props = f"{ID}: {thing.id}\n"
            archive.writestr(f"{name}.roi", selection.tobytes())
    return len(kept)


def exported(picture: Picture, least: float) -> list[Thing]:
    """What `write_zip` writes, sorted by id."""
    found = [
        one
        for one in picture.things.values()
        if one.is_label or (one.state == "proposed" and one.score >= least)
    ]
    return sorted(found, key=lambda one: one.id)


def corrections(picture: Picture, path: Path, least: float = 0.0) -> Change:
    """What a zip that came back changes.

    Args:
        picture: The annotation that was exported.
        path: The zip.
        least: As it was exported with.

    Raises:
        UserError: If it cannot be read.
    """
    left = {one.id: one for one in exported(picture, least)}
    change: Change = []
    for selection in _selections(path):
        if is_region(selection.name):
            continue
        points = np.asarray(selection.coordinates(), np.float64)
        old = left.pop(_id_of(selection), None)
        if old is not None and _is_same(np.asarray(old.anchors), points):
            if old.state == "proposed":
                change.append((old.id, old, replace(old, state="labelled")))
            continue
        anchors = _anchors(selection, points)
        if anchors is None:
            continue
        new = old.with_anchors(anchors) if old else Thing(str(uuid.uuid4()), "nucleus", anchors)
        change.append((new.id, old, new))
    for old in left.values():
        gone = replace(old, state="rejected") if old.state == "proposed" else None
        change.append((old.id, old, gone))
    return change


def _selections(path: Path) -> list[ImagejRoi]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".roi")]
            return [ImagejRoi.frombytes(archive.read(name)) for name in names]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); save the selections again") from error


def _id_of(selection: ImagejRoi) -> str:
    for line in (selection.props or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == ID:
            return value.strip()
    return ""


def _anchors(selection: ImagejRoi, points: np.ndarray) -> tuple[tuple[float, float], ...] | None:
    """Those of a spline as they are; of another selection a spline is fitted."""
    is_spline = bool(ROI_OPTIONS(selection.options) & ROI_OPTIONS.SPLINE_FIT)
    found = points.tolist() if is_spline else geometry.anchors_around(points)
    return outline(found) if found else None


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((np.abs(one - other) < _NEAR).all())
