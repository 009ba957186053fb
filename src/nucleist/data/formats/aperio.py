"""Outlines in the XML of Aperio ImageScope, as published with Kumar's images.

Each `Region` is one nucleus drawn freehand. The file does not hold the last stroke: an outline is
closed by joining its ends. In the published files that gap is at most 0.4 of the
nucleus' width, and three regions in 4,951 are slips of the mouse, shorter than 5 pixels.
"""

from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from nucleist.data.formats.limits import is_outline
from nucleist.data.outlines import Shape, fill
from nucleist.types import UserError

MIN_AREA_PX = 1.0
"""Outlines of a smaller area (pixels squared) are not nuclei."""

SLIP_PX = 10.0
"""Of these, the ones not wider than this are slips of the mouse; longer ones are open lines."""

MAX_GAP = 0.6
"""Gap between the ends, relative to the length drawn, above which an outline is open. Half a
circle has 0.64. Outlines of fewer than 5 vertices are corners clicked one by one: not judged."""


def read_aperio(
    data: bytes, shape: tuple[int, int], where: str
) -> tuple[list[Shape], tuple[str, ...]]:
    """Read the regions of an Aperio XML file as nuclei.

    Region number `k` of the file (from 1, in file order) gets the id `k`. Coordinates are
    pixels; see `nucleist.data.outlines.fill` for which pixels an outline holds.

    Args:
        data: Content of the file.
        shape: Height and width of the image, pixels.
        where: The file, for messages.

    Returns:
        The nuclei, and which regions were left out and why, one sentence each.

    Raises:
        UserError: If the XML is broken or has entities, or a region is open or no polygon.
    """
    nuclei, notes = [], []
    for number, region in enumerate(_parse(data, where).iter("Region"), 1):
        name = region.get("Id", str(number))
        if region.find(".//Region") is not None:
            raise UserError(f"{where}: region {name} holds another; draw the nuclei one by one")
        vertices = _vertices(region, f"{where}: region {name}")
        if _is_slip(vertices, f"{where}: region {name}"):
            notes.append(f"region {name} encloses no area and was left out")
        elif nucleus := fill(vertices, shape, number):
            nuclei.append(nucleus)
        else:
            notes.append(f"region {name} holds no pixel of the image and was left out")
    return nuclei, tuple(notes)


def _parse(data: bytes, where: str) -> Element:
    try:
        root = fromstring(data)
    except DefusedXmlException as error:
        raise UserError(
            f"{where}: XML that defines entities, not read ({type(error).__name__}); save the "
            "outlines anew from ImageScope"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise UserError(f"{where}: broken XML ({error}); copy the file again") from error
    if root.tag != "Annotations":
        raise UserError(f"{where}: root <{root.tag}>; Aperio XML with <Annotations> is needed")
    return root


def _vertices(region: Element, where: str) -> np.ndarray:
    """`(N, 2)` x and y, pixels."""
    if region.get("NegativeROA", "0") != "0" or region.get("Type", "0") not in ("0", "1"):
        raise UserError(
            f"{where}: Type={region.get('Type')}, NegativeROA={region.get('NegativeROA')}, not a "
            "filled polygon; draw it as a freehand outline or delete it"
        )
    try:
        points = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
    except (KeyError, ValueError) as error:
        raise UserError(f"{where}: vertex without numbers ({error}); correct it") from error
    vertices = np.array(points, np.float64).reshape(-1, 2)
    if not is_outline(vertices):
        raise UserError(f"{where}: coordinates that are no pixels; correct or delete the region")
    return vertices


def _is_slip(vertices: np.ndarray, where: str) -> bool:
    """Whether an outline is a slip of the mouse; raises if it is a line that was never closed."""
    if not len(vertices):
        raise UserError(f"{where}: no vertices; delete the region or outline it again")
    x, y = vertices.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    extent = np.ptp(vertices, axis=0).max()
    drawn = np.hypot(*np.diff(vertices, axis=0).T).sum()
    gap = np.hypot(*(vertices[0] - vertices[-1]))
    if area < MIN_AREA_PX and extent <= SLIP_PX:
        return True
    if area < MIN_AREA_PX or len(vertices) < 3 or (len(vertices) > 4 and gap > MAX_GAP * drawn):
        raise UserError(
            f"{where}: open outline, its ends {gap:.1f} px apart after {drawn:.1f} px; close it "
            "or delete the region"
        )
    return False
