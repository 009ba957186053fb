"""The one image of a TIFF that is meant, among thumbnails, masks and smaller copies; checked."""

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import tifffile
from tifffile import PHOTOMETRIC

from nucleist.data.formats.limits import MAX_PIXELS
from nucleist.types import UserError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds wrong is raised as well

GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MASK)
_JPEG = (6, 7, 33007, 34892)  # codecs that turn YCbCr into RGB themselves
_MAX_PLANES = 1_000_000  # that metadata may promise
_NAME = 40
"""Longest name of a channel."""


class ColorsError(UserError):
    """Colours of a TIFF that are not understood here; another reader may."""


@dataclass(frozen=True, eq=False)
class TiffImage:
    """The image of an open TIFF.

    Attributes:
        tiff: The file.
        series: The image: axes, shape, pages, pixels.
        where: The file, for messages.
    """

    tiff: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    where: str

    @property
    def page(self) -> Any:
        """The page that says what all pages are."""
        return self.series.keyframe

    @property
    def shape(self) -> str:
        """What it holds, for messages: `axes CYX, 2 x 64 x 64`."""
        return f"axes {self.series.axes}, {' x '.join(map(str, self.series.shape))}"

    def names(self, count: int) -> Sequence[str]:
        """Names of its channels, cut to 40 characters; empty if there are not as many.

        They are those of OME-XML, the labels of the slices of ImageJ where each is a channel, or
        the names on the pages of QPTIFF.
        """
        if self.tiff.is_imagej:
            found = (self.tiff.imagej_metadata or {}).get("Labels") or []
            names = [str(label) for label in found] if len(self.series.pages) == count else []
        elif self.tiff.is_qpi:
            texts = [getattr(page, "description", "") or "" for page in self.series.pages]
            matches = [re.search(r"<Name>([^<]*)</Name>", text) for text in texts]
            names = [match[1] if match else "" for match in matches]
        else:
            tags = re.findall(r"<(?:\w+:)?Channel\b[^>]*", self.tiff.ome_metadata or "")
            matches = [re.search(r'\bName="([^"<>]*)"', tag) for tag in tags]
            names = [match[1] if match else "" for match in matches]
        return [name[:_NAME] for name in names] if len(names) == count else ()


def image_of(
    source: bytes | Path, tiff: tifffile.TiffFile, where: str, most: int = MAX_PIXELS
) -> TiffImage:
    """The image of a TIFF, after its metadata are checked.

    Args:
        source: Content of the file, or the file.
        tiff: The same, opened.
        where: The file, for messages.
        most: Largest number of pixels of a plane.

    Raises:
        UserError: If it holds several images, or colours that are not understood.
        Exception: Whatever tifffile raises on damaged files.
    """
    _check_metadata(tiff, most)
    series = _series(tiff, source, where)
    _check_colors(series.keyframe, where)
    length = len(source) if isinstance(source, bytes) else source.stat().st_size
    _check_complete(series, length)
    return TiffImage(series.parent or tiff, series, where)


def opened(source: bytes | Path, **options: Any) -> tifffile.TiffFile:
    """A TIFF without the files that its metadata name besides."""
    content = io.BytesIO(source) if isinstance(source, bytes) else source
    return tifffile.TiffFile(content, _multifile=False, **options)


def _check_metadata(tiff: tifffile.TiffFile, most: int) -> None:
    """Raise if OME-XML has entities or promises more planes than any file holds."""
    text = tiff.ome_metadata or ""
    if "<!ENTITY" in text:
        raise ValueError("OME-XML that defines entities")
    for block in re.findall(r"<(?:\w+:)?Pixels\b[^>]*", text):
        sizes = [int(number) for number in re.findall(r'\bSize[ZCT]="(\d{1,20})"', block)]
        plane = [int(number) for number in re.findall(r'\bSize[XY]="(\d{1,20})"', block)]
        if prod(sizes) > _MAX_PLANES or prod(plane) > most:
            raise ValueError(f"OME-XML promises {prod(sizes)} planes of {prod(plane)} pixels")


def _series(tiff: tifffile.TiffFile, source: bytes | Path, where: str) -> tifffile.TiffPageSeries:
    """The one image that is no thumbnail, mask or smaller copy."""
    every: Sequence[Any] = tiff.series
    if any(page is None for series in every for page in series.pages):
        every = _without_ome(tiff, source, where)
    whole = [s for s in every if not (s.keyframe.is_reduced or s.keyframe.is_mask)] or [every[0]]
    if len(whole) > 1 and whole[0].name == "Baseline":  # whole slides, with pictures of the label
        whole = whole[:1]
    if len(whole) > 1:
        listed = ", ".join(" x ".join(map(str, series.shape)) for series in whole[:6])
        raise UserError(
            f"{where}: {len(whole)} images that are no stack ({listed}); save each as its own file"
        )
    sizes = zip(whole[0].axes, whole[0].shape, strict=True)
    there = prod(size for axis, size in sizes if axis not in "YXS")
    if (promised := _imagej_images(tiff)) > there:
        raise ValueError(f"{promised} planes are promised, {there} are there")
    page, stored = whole[0].keyframe, dict(zip(whole[0].axes, whole[0].shape, strict=True))
    if (stored.get("Y"), stored.get("X")) != (page.imagelength, page.imagewidth):
        raise ValueError(f"metadata promise {whole[0].shape}, the image has {page.shape}")
    return whole[0]


def _without_ome(tiff: tifffile.TiffFile, source: bytes | Path, where: str) -> Sequence[Any]:
    """The planes in this file of an image whose others are in files beside it."""
    if not re.search(r"\bFileName\s*=", tiff.ome_metadata or ""):
        raise UserError(
            f"{where}: its metadata promise planes that are not in the file; copy the file again, "
            "or save it anew"
        )
    return opened(source, is_ome=False).series


def _imagej_images(tiff: tifffile.TiffFile) -> int:
    """Number of planes that ImageJ wrote, as its description says; 0 of other files."""
    if not tiff.is_imagej or tiff.pages.first.description is None:
        return 0
    found = re.search(r"^images=(\d{1,18})$", tiff.pages.first.description, re.MULTILINE)
    return int(found[1]) if found else 1


def _check_colors(page: Any, where: str) -> None:
    known = page.photometric in (*GRAY, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
    if known or (page.photometric == PHOTOMETRIC.YCBCR and int(page.compression) in _JPEG):
        return
    name = getattr(page.photometric, "name", page.photometric)
    raise ColorsError(f"{where}: colours of the kind {name}; save it as RGB or gray")


def _check_complete(series: tifffile.TiffPageSeries, length: int) -> None:
    """Raise where pixel data would lie beyond the file's end; tifffile reads those as zeros."""
    end = 0
    for page in series.pages:
        if page is None:
            raise ValueError("a page is missing")
        parts = zip(page.dataoffsets, page.databytecounts, strict=True)
        end = max([end, *(offset + count for offset, count in parts)])
    if series.dataoffset is not None:
        end = max(end, series.dataoffset + series.nbytes)
    if end > length:
        raise ValueError(f"cut short at byte {length} of {end}")
