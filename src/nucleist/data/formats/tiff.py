"""Decode a TIFF: which of its images, which plane, and what its samples mean.

Understood are gray, white-is-zero, RGB, palettes and YCbCr inside JPEG. Other colours (CMYK,
YCbCr without JPEG, CIELAB, raw sensors) are refused, because their samples are not red, green and
blue. Extra samples are dropped where the file calls them alpha or they are constant; else they
are channels. Thumbnails, masks and smaller copies are passed over; of several images left none
can be preferred. The orientation tag is not followed, as in ImageJ.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC

from nucleist.data.formats.alpha import check_alpha
from nucleist.data.formats.axes import axes_of, largest
from nucleist.data.formats.channels import Choice, Planes, one_of_each
from nucleist.data.formats.tiff_header import check_header
from nucleist.data.formats.tiff_series import GRAY, TiffImage, image_of, opened
from nucleist.types import UserError

MAX_VALUES = 1_200_000_000
"""Largest stack that is decoded, in samples of all planes and channels."""

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
        choice: Which plane and time; the channel is not chosen here.

    Returns:
        The pixels, without alpha.

    Raises:
        UserError: If it holds several images or planes and none is chosen, too many values, or
            colours that are not understood.
        Exception: Whatever tifffile raises on damaged files.
    """
    check_header(data, where)
    with opened(data) as tiff:
        image = image_of(data, tiff, where)
        pixels = _chosen(image, choice)
        if colors:
            return shown(pixels, image, extra_samples(pixels, image.page))
        if pixels.ndim == 3 and any(image.page.extrasamples[-1:]):
            check_alpha(pixels[..., :-1], pixels[..., -1], where)
        pixels = without(pixels, extra_samples(pixels, image.page))
        if pixels.ndim == 3 and pixels.shape[2] != 3:
            raise UserError(
                f"{where}: several channels ({image.shape}); save one of them as its own file"
            )
        return Planes(pixels, shape=image.shape)


def _chosen(image: TiffImage, choice: Choice) -> np.ndarray:
    """Pixels `(H, W)` or `(H, W, S)`; raises where planes have no order or are too many."""
    series, where, shape = image.series, image.where, image.shape
    axes = axes_of(series.axes, series.shape, where, shape, choice.t is not None)
    if prod(series.shape) > MAX_VALUES:
        raise UserError(
            f"{where}: {prod(series.shape)} values ({shape}), over the limit of {MAX_VALUES}; "
            "save the plane that shows the nuclei as its own file"
        )
    time, planes = one_of_each(axes.counts, choice, where, shape)
    pixels = series.asarray()
    return largest(lambda plane: axes.take(pixels, time, plane), planes)


def shown(pixels: np.ndarray, image: TiffImage, extra: Sequence[int]) -> Planes:
    """Pixels as they are meant to be seen, and what the file says of them.

    Args:
        pixels: `(h, w)` or `(h, w, S)`, as stored.
        image: What they are from.
        extra: Samples that are left out, see `extra_samples`.
    """
    kept = _as_shown(without(pixels, extra), image.page, image.tiff.is_imagej)
    is_rgb = image.page.photometric not in GRAY and kept.ndim == 3
    names = image.names(kept.shape[2] if kept.ndim == 3 else 1)
    return Planes(kept, is_rgb, image.shape, names)


def extra_samples(pixels: np.ndarray, page: Any) -> list[int]:
    """The samples beside gray or colours that are alpha, or constant.

    Args:
        pixels: `(H, W)` or `(H, W, S)`, as stored.
        page: What its file says of it.
    """
    own = 1 if page.photometric in (*GRAY, PHOTOMETRIC.PALETTE) else 3
    if pixels.ndim == 2 or page.samplesperpixel != pixels.shape[2]:
        return []  # channels that are pages, not samples
    kinds = [0] * (pixels.shape[2] - own)
    kinds[: len(page.extrasamples)] = [int(kind) for kind in page.extrasamples]
    extra = range(own, pixels.shape[2])
    return [
        index
        for index, kind in zip(extra, kinds, strict=False)
        if kind or (pixels[..., index] == pixels.flat[index]).all()
    ]


def without(pixels: np.ndarray, samples: Sequence[int]) -> np.ndarray:
    """Pixels without some of their samples; `(H, W)` if one is left.

    Args:
        pixels: `(H, W)` or `(H, W, S)`.
        samples: Which, from 0.
    """
    if pixels.ndim == 2:
        return pixels
    kept = np.delete(pixels, samples, axis=2) if samples else pixels
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
