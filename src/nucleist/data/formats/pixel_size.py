"""Width of a pixel in micrometres, as files say it, where they say it of a microscope.

A resolution for print (72, 96, 300 dots an inch) says nothing of the specimen. So a plain TIFF is
believed only if its pixels are finer than any printer's or scanner's.
"""

import re
from collections.abc import Sequence
from typing import Any

from nucleist.data.formats.damage import DAMAGE
from nucleist.data.formats.tiff_series import TiffImage, image_of, opened
from nucleist.types import UserError

MICROMETRES = {
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer"), 1.0),
    **dict.fromkeys(("micrometre", "micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-3),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "angstrom", "ångström"), 1e-4),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters"), 1e4),
    **dict.fromkeys(("m", "meter", "metre", "meters"), 1e6),
}
"""Micrometres of a unit, by its name in small letters."""

COARSEST = 5.0
"""Micrometres: pixels of a plain TIFF that are wider are those of a print or a scanner."""

_FINEST = 1e-3
_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Micrometres of TIFF's units of resolution: inch and centimetre."""


def in_micrometres(value: object, unit: str) -> float | None:
    """A length in micrometres; None if it is no length of a pixel.

    Args:
        value: A number, or its text.
        unit: Its unit, in any case.
    """
    try:
        length = float(str(value)) * MICROMETRES[unit.strip().lower()]
    except (ValueError, KeyError):
        return None
    return length if _FINEST < length < 1e4 else None


def of_tiff(image: TiffImage) -> float | None:
    """Width of a pixel of a TIFF, micrometres; None where it does not say.

    That is, in this order, OME-XML's PhysicalSizeX, ImageJ's unit, Aperio's MPP, or the tag of
    the resolution if it is a microscope's.
    """
    if image.tiff.is_ome and image.tiff.ome_metadata:
        return _of_ome(image.tiff.ome_metadata)
    per_pixel = _resolution(image.page)
    if image.tiff.is_imagej:
        unit = str((image.tiff.imagej_metadata or {}).get("unit", ""))
        return None if per_pixel is None else in_micrometres(per_pixel, unit)
    if image.tiff.is_svs:
        found = re.search(r"\bMPP\s*=\s*([\d.]+)", image.page.description or "")
        return in_micrometres(found[1], "um") if found else None
    micrometres = _PER_UNIT.get(_tag(image.page, 296, 2))
    if micrometres is None or per_pixel is None:
        return None
    length = per_pixel * micrometres
    return length if _FINEST < length <= COARSEST else None


def of_bytes(data: bytes) -> float | None:
    """Width of a pixel of an image file, micrometres; None where it does not say, or is damaged.

    Args:
        data: Content of the file.
    """
    try:
        with opened(data) as tiff:
            return of_tiff(image_of(data, tiff, ""))
    except (*DAMAGE, UserError):
        return None


def common(sizes: Sequence[float | None]) -> float | None:
    """The size that several images share, to 2 %; None if they do not, or one does not say.

    Args:
        sizes: Of each image.
    """
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes) or max(known) > 1.02 * min(known):
        return None
    return known[0]


def _of_ome(xml: str) -> float | None:
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*", xml)
    if pixels is None:
        return None
    size = re.search(r'\bPhysicalSizeX="([^"]*)"', pixels[0])
    unit = re.search(r'\bPhysicalSizeXUnit="([^"]*)"', pixels[0])
    name = unit[1].replace("&#181;", "µ").replace("&#xB5;", "µ") if unit else "µm"
    return in_micrometres(size[1], name) if size else None


def _resolution(page: Any) -> float | None:
    """Units of a pixel, from the tag of pixels in a unit."""
    value = _tag(page, 282, None)
    if not isinstance(value, tuple) or len(value) != 2 or not all(value):
        return None
    return float(value[1]) / float(value[0])


def _tag(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value
