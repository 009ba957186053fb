"""Read nuclei outlined in ImageJ or Fiji: a zip of ROIs (`RoiSet.zip`) or a single `.roi`.

Coordinates are those of ImageJ: pixel (row i, column j) is the square from (j, i) to
(j + 1, i + 1) and belongs to a selection if its centre lies inside. An outline with the flag
"spline fit" is the curve that ImageJ draws through its anchors, not their polygon; see
`nucleist.ops.splines`.
"""

import io
import logging
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.complete import is_region
from nucleist.data.formats.imagej_writer import ID, SHAPE, anchors_hash
from nucleist.data.formats.limits import is_outline
from nucleist.data.formats.traced import Corrected, Corrections
from nucleist.data.outlines import Drawn, Shape, area, compose, fill, union
from nucleist.ops.splines import curve
from nucleist.types import UserError

logging.getLogger("roifile").setLevel(logging.CRITICAL)  # what matters is raised as well

MAX_ROI_BYTES = 16 * 1024**2
"""Largest ROI that is read, unpacked; one of a thousand vertices has some 12 kB."""

MAX_RATIO, RATIO_FROM_BYTES = 100, 64 * 1024**2
"""ROIs of more than 64 MiB together may not unpack to more than 100 times their zip."""

_AREAS = {
    ROI_TYPE.POLYGON,
    ROI_TYPE.RECT,
    ROI_TYPE.OVAL,
    ROI_TYPE.FREEHAND,
    ROI_TYPE.TRACED,
}
# What roifile and zipfile are known to raise on damaged files.
_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    RuntimeError,
    NotImplementedError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Outline:
    """One selection of ImageJ.

    Attributes:
        name: Its name in the ROI manager.
        paths: Closed outlines, `(N, 2)` `float64`, x and y, pixels, each vertex joined to the
            next and the last to the first; several for a composite, where what lies in an even
            number of them is outside. None if the selection is no area (a point, a line).
        region: Whether its name or its file's says that it is no nucleus, but where all nuclei
            are labelled.
        id: UUID of the exported nucleus that it is; empty of what was drawn in ImageJ.
        intact: Whether it is a spline whose anchors are those that were exported.
    """

    name: str
    paths: list[np.ndarray] | None
    region: bool = False
    id: str = ""
    intact: bool = False


def read_rois(data: bytes, where: str, shape: tuple[int, int]) -> Drawn:
    """Read the nuclei of an image from a zip of ROIs or a `.roi` file.

    Overlaps follow the rule of `nucleist.data.outlines`. Selections that are no area or lie
    outside the image are left out, with a note. One that is called `complete` is no nucleus: in
    it all nuclei are labelled.

    Args:
        data: Content of the file.
        where: The file, for messages.
        shape: Height and width of the image, pixels.

    Returns:
        The label map, in which the k-th selection of the file has the id k, notes and area.

    Raises:
        UserError: If the file is damaged or not safe, or holds no ROI.
    """
    return _painted(read_outlines(data, where), shape)


def read_corrected_rois(data: bytes, where: str, shape: tuple[int, int]) -> Corrections:
    """Read each nucleus by itself, as `read_rois`, with the identity that it was exported with.

    Args:
        data: Content of the file.
        where: The file, for messages.
        shape: Height and width of the image, pixels.

    Raises:
        UserError: As `read_rois`.
    """
    outlines = read_outlines(data, where)
    found = _sorted_out(outlines, shape)
    by_number = dict(enumerate(outlines, 1))
    nuclei = [
        Corrected(nucleus, by_number[nucleus.id].id, by_number[nucleus.id].intact)
        for nucleus in found.nuclei
    ]
    return Corrections(nuclei, found.notes, area(shape, found.regions))


def read_roi_files(tree: FileTree, names: Sequence[str], shape: tuple[int, int]) -> Drawn:
    """Read the nuclei of an image from a folder of `.roi` files, as `read_rois` from a zip.

    Args:
        tree: Holds the files.
        names: The files; their nuclei get the ids 1, 2, ... in this order.
        shape: Height and width of the image, pixels.

    Raises:
        UserError: If a file is damaged or no ROI.
    """
    outlines: list[Outline] = []
    for name in names:
        outlines += read_outlines(tree.read(name), tree.describe(name))
    return _painted(outlines, shape)


class _Sorted(NamedTuple):
    nuclei: list[Shape]
    regions: list[Shape]
    notes: list[str]


def _painted(outlines: Sequence[Outline], shape: tuple[int, int]) -> Drawn:
    nuclei, regions, notes = _sorted_out(outlines, shape)
    labels, overlaps = compose(shape, nuclei)
    return Drawn(labels, (*notes, *overlaps), area(shape, regions))


def _sorted_out(outlines: Sequence[Outline], shape: tuple[int, int]) -> _Sorted:
    """Nuclei, whose ids are their numbers, and regions; notes on what is neither."""
    notes: list[str] = []
    nuclei: list[Shape] = []
    regions: list[Shape] = []
    for number, outline in enumerate(outlines, 1):
        if outline.paths is None:
            notes.append(f"ROI '{outline.name}' outlines no area and was left out")
        elif drawn := _rasterised(outline.paths, shape, number):
            (regions if outline.region else nuclei).append(drawn)
        else:
            notes.append(f"ROI '{outline.name}' holds no pixel of the image and was left out")
    return _Sorted(nuclei, regions, notes)


def read_outlines(data: bytes, where: str) -> list[Outline]:
    """Read the outlines of a zip of ROIs or a `.roi` file, in the order of the file.

    Raises:
        UserError: If the file is damaged or not safe, or holds no ROI.
    """
    members = [(where, data)] if data.startswith(b"Iout") else _members(data, where)
    outlines = []
    for name, content in members:
        try:
            _check_complete(content)
            outlines.append(_outline(ImagejRoi.frombytes(content), name))
        except _DAMAGE as error:
            raise UserError(
                f"{name}: not a complete ImageJ ROI of straight lines or splines ({error}); "
                "save the selections anew from the ROI manager"
            ) from error
    return outlines


def _members(data: bytes, where: str) -> list[tuple[str, bytes]]:
    """Names, for messages, and contents of the ROIs of a zip."""
    found: list[tuple[str, bytes]] = []
    room = max(RATIO_FROM_BYTES, MAX_RATIO * len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                name = info.filename.replace("\\", "/")
                if name.startswith("/") or ".." in name.split("/") or re.match("[A-Za-z]:/", name):
                    raise UserError(
                        f"{where}: member '{info.filename}' lies outside the archive; save the "
                        "selections anew from the ROI manager"
                    )
                hidden = name.startswith("__MACOSX/") or name.split("/")[-1].startswith(".")
                if hidden or not name.lower().endswith(".roi"):
                    continue
                room -= info.file_size
                if room < 0:
                    raise UserError(
                        f"{where}: unpacks to more than {MAX_RATIO} times its size; save the "
                        "selections anew from the ROI manager"
                    )
                if info.file_size > MAX_ROI_BYTES:
                    raise UserError(
                        f"{where}:{name}: unpacks to {info.file_size} bytes, over the limit of "
                        f"{MAX_ROI_BYTES} for a ROI; outline the nuclei one by one"
                    )
                found.append((f"{where}:{name}", archive.read(info)))
    except _DAMAGE as error:
        raise UserError(
            f"{where}: not a complete .zip of ROIs ({error}); copy the file again"
        ) from error
    if not found:
        raise UserError(f"{where}: holds no .roi file; save the selections from the ROI manager")
    return found


def _check_complete(content: bytes) -> None:
    """Raise if the second header or the name, which end a ROI, are cut off."""
    (header,) = struct.unpack_from(">i", content, 60)
    if header > 0:
        offset, length = struct.unpack_from(">ii", content, header + 16)
        if max(header + 52, offset + 2 * length) > len(content):
            raise ValueError(f"cut short at byte {len(content)}")


def _outline(roi: ImagejRoi, where: str) -> Outline:
    file = re.sub(r"(?i)\.roi$", "", re.split("[/:]", where)[-1])
    name, region = roi.name or file, is_region(roi.name) or is_region(file)
    drawn = roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE)
    if roi.roitype not in _AREAS or (drawn and not roi.composite):
        return Outline(name, None, region)
    pairs = (line.partition(":") for line in roi.props.splitlines())
    about, intact = {key.strip(): value.strip() for key, _, value in pairs}, False
    if roi.composite:
        paths = [np.asarray(path, np.float64) for path in roi.coordinates(multi=True)]
    elif roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        paths = [_box(roi)]
    else:
        paths = [np.asarray(roi.coordinates(), np.float64)]
        if roi.options & ROI_OPTIONS.SPLINE_FIT:
            intact = about.get(SHAPE) == anchors_hash(_checked(paths[0]))
            paths = [curve(paths[0])]
    return Outline(name, [_checked(path) for path in paths], region, about.get(ID, ""), intact)


def _box(roi: ImagejRoi) -> np.ndarray:
    """A rectangle (corners taken as sharp) or an ellipse."""
    x, y = float(roi.left), float(roi.top)
    width, height = float(roi.right) - x, float(roi.bottom) - y
    if roi.subpixelrect:
        x, y, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
    if roi.roitype == ROI_TYPE.RECT:
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    else:
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        unit = 0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.array([x, y]) + unit * [width, height]


def _checked(path: np.ndarray) -> np.ndarray:
    if path.ndim != 2 or not is_outline(path):
        raise ValueError("coordinates that are no pixels, or no end of them")
    return path


def _rasterised(paths: list[np.ndarray], shape: tuple[int, int], number: int) -> Shape | None:
    """Fill closed paths by the even-odd rule, holes and all."""
    parts = [fill(path, shape, number) for path in paths if len(path) >= 3]
    return union([part for part in parts if part is not None], holes=True)
