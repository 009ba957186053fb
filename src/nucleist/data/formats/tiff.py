"""Decode a TIFF: which of its images, which plane, and what its samples mean.

Understood are gray, white-is-zero, RGB, palettes and YCbCr inside JPEG. Other colours (CMYK,
YCbCr without JPEG, CIELAB, raw sensors) are refused, because their samples are not red, green and
blue. Extra samples are dropped where the file calls them alpha or they are constant; else they
are channels. Thumbnails, masks and smaller copies are passed over; of several images left none
can be preferred. The orientation tag is not followed, as in ImageJ.
"""

import io
import logging
import re
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from nucleist.data.formats.alpha import check_alpha
from nucleist.data.formats.channels import Choice, Planes, one_plane
from nucleist.data.formats.limits import MAX_PIXELS
from nucleist.data.formats.tiff_header import check_header
from nucleist.types import UserError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds wrong is raised as well

MAX_VALUES = 1_200_000_000
"""Largest stack that is decoded, in samples of all planes and channels."""

_GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MASK)
_JPEG = (6, 7, 33007, 34892)  # codecs that turn YCbCr into RGB themselves
_MAX_PLANES = 1_000_000  # that metadata may promise
_TABLE_COLORS, _TABLE_PATH = 64, 6 * 765
"""A colour map that shows intensities has many colours, and steps between them so small that
their sum is at most this (8 bits, three colours); a photograph's palette has some 25,000."""


def decode_tiff(data: bytes, where: str, colors: bool, choice: Choice) -> Planes:
    """Decode the image of a TIFF.

    Args:
        data: Content of the file.
        where: The file, for messages.
        colors: Whether palettes are looked up and white-is-zero inverted; else values are given
            as they are stored.
        choice: Which plane; the channel is not chosen here.

    Returns:
        The pixels, without alpha.

    Raises:
        UserError: If it holds several images or planes and none is chosen, too many values, or
            colours that are not understood.
        Exception: Whatever tifffile raises on damaged files.
    """
    check_header(data, where)
    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as tiff:
        _check_metadata(tiff)
        series = _series(tiff, data, where)
        page = series.keyframe
        _check_colors(page, where)
        _check_complete(series, len(data))
        shape = f"axes {series.axes}, {' x '.join(map(str, series.shape))}"
        pixels = one_plane(_stack(series, where, shape), choice.z, where, shape)
        if not colors and pixels.ndim == 3 and any(page.extrasamples[-1:]):
            check_alpha(pixels[..., :-1], pixels[..., -1], where)
        pixels = _without_extra(pixels, page)
        if colors:
            pixels = _as_shown(pixels, page, tiff.is_imagej)
        elif pixels.ndim == 3 and pixels.shape[2] != 3:
            raise UserError(
                f"{where}: several channels ({shape}); save one of them as its own file"
            )
        is_rgb = page.photometric not in _GRAY and pixels.ndim == 3
        names = _channel_names(tiff, pixels.shape[2] if pixels.ndim == 3 else 1)
        return Planes(pixels, is_rgb, shape, names)


def _stack(series: tifffile.TiffPageSeries, where: str, shape: str) -> np.ndarray:
    """Pixels `(Z, H, W)` or `(Z, H, W, S)`; raises where planes have two axes or are too many."""
    sizes = zip(series.axes, series.shape, strict=True)
    kept = [(axis, size) for axis, size in sizes if size > 1 or axis in "YX"]
    axes = "".join(axis for axis, _ in kept)
    stacks, channels = [a for a in axes if a not in "YXSC"], [a for a in axes if a in "SC"]
    if len(stacks) > 1 or len(channels) > 1 or axes.count("Y") != 1 or axes.count("X") != 1:
        raise UserError(
            f"{where}: several planes ({shape}); save the plane that shows the nuclei as its own "
            "file"
        )
    if prod(series.shape) > MAX_VALUES:
        raise UserError(
            f"{where}: {prod(series.shape)} values ({shape}), over the limit of {MAX_VALUES}; "
            "save the plane that shows the nuclei as its own file"
        )
    pixels = series.asarray().reshape([size for _, size in kept])
    pixels = pixels.transpose([axes.index(axis) for axis in [*stacks, *"YX", *channels]])
    return pixels if stacks else pixels[None]


def _check_metadata(tiff: tifffile.TiffFile) -> None:
    """Raise if OME-XML has entities or promises more planes than any file holds."""
    text = tiff.ome_metadata or ""
    if "<!ENTITY" in text:
        raise ValueError("OME-XML that defines entities")
    for block in re.findall(r"<(?:\w+:)?Pixels\b[^>]*", text):
        sizes = [int(number) for number in re.findall(r'\bSize[ZCT]="(\d{1,20})"', block)]
        plane = [int(number) for number in re.findall(r'\bSize[XY]="(\d{1,20})"', block)]
        if prod(sizes) > _MAX_PLANES or prod(plane) > MAX_PIXELS:
            raise ValueError(f"OME-XML promises {prod(sizes)} planes of {prod(plane)} pixels")


def _series(tiff: tifffile.TiffFile, data: bytes, where: str) -> tifffile.TiffPageSeries:
    """The one image that is no thumbnail, mask or smaller copy."""
    every: Sequence[Any] = tiff.series
    if any(page is None for series in every for page in series.pages):
        every = _without_ome(tiff, data, where)
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


def _without_ome(tiff: tifffile.TiffFile, data: bytes, where: str) -> Sequence[Any]:
    """The planes in this file of an image whose others are in files beside it."""
    if not re.search(r"\bFileName\s*=", tiff.ome_metadata or ""):
        raise UserError(
            f"{where}: its metadata promise planes that are not in the file; copy the file again, "
            "or save it anew"
        )
    return tifffile.TiffFile(io.BytesIO(data), is_ome=False).series


def _imagej_images(tiff: tifffile.TiffFile) -> int:
    """Number of planes that ImageJ wrote, as its description says; 0 of other files."""
    if not tiff.is_imagej or tiff.pages.first.description is None:
        return 0
    found = re.search(r"^images=(\d{1,18})$", tiff.pages.first.description, re.MULTILINE)
    return int(found[1]) if found else 1


def _check_colors(page: Any, where: str) -> None:
    known = page.photometric in (*_GRAY, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
    if known or (page.photometric == PHOTOMETRIC.YCBCR and int(page.compression) in _JPEG):
        return
    name = getattr(page.photometric, "name", page.photometric)
    raise UserError(f"{where}: colours of the kind {name}; save it as RGB or gray")


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


def _without_extra(pixels: np.ndarray, page: Any) -> np.ndarray:
    """Without the samples beside gray or colours that are alpha, or constant."""
    own = 1 if page.photometric in (*_GRAY, PHOTOMETRIC.PALETTE) else 3
    if pixels.ndim == 2 or page.samplesperpixel != pixels.shape[2]:
        return pixels  # channels that are pages, not samples
    kinds = [0] * (pixels.shape[2] - own)
    kinds[: len(page.extrasamples)] = [int(kind) for kind in page.extrasamples]
    extra = range(own, pixels.shape[2])
    drop = [
        index
        for index, kind in zip(extra, kinds, strict=False)
        if kind or (pixels[..., index] == pixels.flat[index]).all()
    ]
    kept = np.delete(pixels, drop, axis=2) if drop else pixels
    return kept[..., 0] if kept.shape[2] == 1 else kept


def _as_shown(pixels: np.ndarray, page: Any, imagej: bool) -> np.ndarray:
    """Colours of a palette; what is white at zero turned round."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        if page.colormap is None or pixels.ndim != 2:
            raise ValueError("no colour map")
        # Old writers stored 8 bits a colour; libtiff reads them as such.
        table = page.colormap >> (8 if page.colormap.max() > 255 else 0)
        if shows_intensities(table, imagej):
            return pixels
        return np.asarray(np.moveaxis(table[:, pixels], 0, -1).astype(np.uint8))
    if page.photometric != PHOTOMETRIC.MINISWHITE:
        return pixels
    if pixels.dtype.kind == "u" and page.bitspersample <= 16:
        return pixels.dtype.type(2**page.bitspersample - 1) - pixels
    if pixels.dtype == bool:
        return ~pixels
    return np.asarray(pixels.max() - pixels + pixels.min())  # no value is known to be white


def shows_intensities(table: np.ndarray, imagej: bool = False) -> bool:
    """Whether a colour map only shows intensities (ImageJ's blue, green, fire).

    The indices are then the data. Such a table rises in brightness in small steps; one of ImageJ
    need not rise (spectrum), for ImageJ has tables for display and hardly ever palettes.

    Args:
        table: `(3, N)`, red, green and blue, from 0 to 255.
        imagej: Whether ImageJ wrote it.
    """
    colors = table.astype(np.int64)
    path = np.abs(np.diff(colors, axis=1)).sum()
    if len(np.unique(colors, axis=1).T) < _TABLE_COLORS or path > _TABLE_PATH:
        return False
    brightness = np.array([299, 587, 114]) @ colors / 1000
    falls = -np.minimum(np.diff(brightness), 0).sum()
    return imagej or bool(falls <= 0.05 * np.ptp(brightness))


def _channel_names(tiff: tifffile.TiffFile, count: int) -> Sequence[str]:
    """Names of the channels in OME-XML, cut to 40 characters; empty if there are not as many."""
    tags = re.findall(r"<(?:\w+:)?Channel\b[^>]*", tiff.ome_metadata or "")
    found = [re.search(r'\bName="([^"<>]*)"', tag) for tag in tags]
    names = [match[1][:40] if match else "" for match in found]
    return names if len(names) == count else ()
