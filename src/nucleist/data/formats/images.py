"""Decode images, masks and label maps of every kind that microscopes and tools write.

Images become `(H, W, 3)`. The format is recognised by the first bytes, not by the file's name;
the size is read from the header and checked before a pixel is decoded, so a small file that
claims a billion pixels costs nothing.

PNG, JPEG and BMP go through Pillow, except PNGs of 16 bits, which Pillow cuts to 8 where they
have colour: those go through imagecodecs. TIFF goes through tifffile. A TIFF must hold one
image: gray, RGB, either with alpha, or 3 channels. Stacks and images of 2, 4 or more channels are
refused, because it cannot be guessed which plane shows the nuclei.
"""

import io
import logging
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin

from nucleist.files import replacing
from nucleist.types import UserError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds wrong is raised as well

MAX_PIXELS = 400_000_000
"""Images that claim more pixels (height times width) are refused before decoding."""

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What decoders are known to raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)


def read_image(data: bytes, where: str) -> np.ndarray:
    """Decode an image of any supported kind.

    Args:
        data: Content of the file.
        where: The file, for messages.

    Returns:
        `(H, W, 3)`: `uint8` or `uint16` as stored, anything else as `float32`. Gray is repeated,
        alpha dropped, palettes are looked up, 1 bit becomes 0 and 255.

    Raises:
        UserError: If the file is damaged, too large, no image, or holds several planes.
    """
    pixels = without_alpha(decoded(data, where, colors=True), where)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype not in (np.uint8, np.uint16):
        pixels = _narrow(pixels, where)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    # A copy, because decoders may return an array that cannot be written to.
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def write_image(stem: Path, image: np.ndarray) -> Path:
    """Write an image so that it is read back bit by bit, whole or not at all.

    Args:
        stem: The file without extension: `.png` is added, for `float32` `.tif`.
        image: `(H, W, 3)` `uint8`, `uint16` or `float32`; gray ones get one channel.

    Returns:
        The file.

    Raises:
        UserError: If the file cannot be written.
    """
    if image.dtype == np.float32:
        path = stem.with_name(stem.name + ".tif")
        with replacing(path) as temporary:
            tifffile.imwrite(temporary, image, photometric="rgb", compression="zlib")
        return path
    gray = bool((image == image[..., :1]).all())
    pixels = np.ascontiguousarray(image[..., 0] if gray else image)
    path = stem.with_name(stem.name + ".png")
    with replacing(path) as temporary:
        temporary.write_bytes(imagecodecs.png_encode(pixels, level=3))
    return path


def image_size(data: bytes, where: str) -> tuple[int, int]:
    """Height and width, pixels, from the first 33 bytes of a PNG.

    Raises:
        UserError: If it is no PNG or claims more than `MAX_PIXELS`.
    """
    if len(data) < 26 or not data.startswith(_PNG):
        raise UserError(f"{where}: not a PNG, or cut short; copy the file again")
    width, height = struct.unpack(">II", data[16:24])
    _check_size(height, width, where)
    return height, width


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins as a JPEG does."""
    return data.startswith(_JPEG)


def decoded(data: bytes, where: str, colors: bool) -> np.ndarray:
    """Decode the pixels of an image as they are stored.

    Args:
        data: Content of the file.
        where: The file, for messages.
        colors: Whether palettes are looked up; else their indices are given.

    Returns:
        `(H, W)` or `(H, W, S)`, any number type.

    Raises:
        UserError: If the file is damaged, too large, no image, or holds several planes.
    """
    try:
        if data.startswith(_TIFF):
            return _decode_tiff(data, where, colors)
        for magic, plugin in (
            (_PNG, PngImagePlugin.PngImageFile),
            (_JPEG, JpegImagePlugin.JpegImageFile),
            (_BMP, BmpImagePlugin.BmpImageFile),
        ):
            if data.startswith(magic):
                if magic is _PNG:
                    image_size(data, where)  # even of a file that ends after its header
                # The plugin itself: Image.open has a lower limit of its own and warns.
                with plugin(io.BytesIO(data)) as image:
                    _check_size(image.height, image.width, where)
                    return _decode_pillow(image, data, colors)
    except (*_DAMAGE, MemoryError) as error:
        raise UserError(f"{where}: damaged image ({error}); copy the file again") from error
    except tifffile.TiffFileError as error:
        raise UserError(f"{where}: damaged TIFF ({error}); copy the file again") from error
    kind = "empty file" if not data else "not a PNG, TIFF, JPEG or BMP"
    raise UserError(f"{where}: {kind}; convert the image to one of these")


def _decode_pillow(image: Image.Image, data: bytes, colors: bool) -> np.ndarray:
    if data.startswith(_PNG) and data[24] == 16:
        return np.asarray(imagecodecs.png_decode(data))
    if image.mode in ("P", "PA") and not colors:
        return np.asarray(image)[..., :1] if image.mode == "PA" else np.asarray(image)
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16"):
        image = image.convert("RGB")
    if not colors and data.startswith(_PNG) and data[24] in (2, 4) and data[25] == 0:
        # Pillow stretches gray of 2 and 4 bits to 255; label ids are the values as stored.
        return np.asarray(image) // np.uint8(255 // (2 ** data[24] - 1))
    return np.asarray(image)


def _decode_tiff(data: bytes, where: str, colors: bool) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _check_size(page.imagelength, page.imagewidth, where)
        series = tiff.series[0]
        sizes = zip(series.axes, series.shape, strict=True)
        kept = [(axis, size) for axis, size in sizes if size > 1 or axis in "YX"]
        axes = "".join(axis for axis, _ in kept)
        samples, channels = dict(kept).get("S", 1), dict(kept).get("C", 3)
        if axes not in ("YX", "YXS", "SYX", "CYX") or samples > 4 or channels != 3:
            raise UserError(
                f"{where}: several planes (axes {series.axes}, {series.shape}); save the plane "
                "that shows the nuclei as its own file"
            )
        _check_complete(series, len(data))
        pixels = series.asarray().reshape([size for _, size in kept])
        if axes in ("SYX", "CYX"):
            pixels = np.moveaxis(pixels, 0, -1)
        if colors and page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            if page.colormap is None:
                raise ValueError("no colour map")
            return (np.moveaxis(page.colormap[:, pixels], 0, -1) >> 8).astype(np.uint8)
        if colors and page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            return ~pixels if pixels.dtype.kind in "bu" else pixels
        return pixels


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


def _check_size(height: int, width: int, where: str) -> None:
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{where}: claims {height} x {width} pixels, over the limit of {MAX_PIXELS}; "
            "cut it into tiles"
        )


def without_alpha(pixels: np.ndarray, where: str) -> np.ndarray:
    """`(H, W)` or `(H, W, 1 or 3)` of up to 4 channels: the 2nd of 2 and the 4th of 4 are alpha.

    Raises:
        UserError: If the pixels have another shape.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3)):
        return pixels
    raise UserError(f"{where}: pixels of shape {pixels.shape}; save it as gray or RGB")


def _narrow(pixels: np.ndarray, where: str) -> np.ndarray:
    """`uint16` where wider integers fit, else `float32`."""
    if pixels.dtype.kind in "iu" and 0 <= pixels.min(initial=0) <= pixels.max(initial=0) < 2**16:
        return pixels.astype(np.uint16)
    if pixels.dtype.kind not in "iuf":
        raise UserError(f"{where}: {pixels.dtype} pixels; save it as 8 or 16 bits or float")
    if not np.isfinite(pixels).all():
        raise UserError(f"{where}: pixels that are not finite; replace NaN and infinity")
    return pixels.astype(np.float32)
