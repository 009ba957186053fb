"""Decode images, masks and label maps of every kind that microscopes and tools write.

Images become `(H, W, 3)`, label maps `(H, W)` `int32`. The format is told by the first bytes,
not by the file's name; the size is read from the header and judged before a pixel is decoded,
so a small file that claims a billion pixels costs nothing.

PNG, JPEG and BMP go through Pillow, except PNGs of 16 bits, which Pillow cuts to 8 where they
have colour: those go through imagecodecs. TIFF goes through tifffile. A TIFF must hold one
image: gray, RGB, either with alpha, or 3 channels. Stacks and images of 2, 4 or more channels are
refused, for which plane shows the nuclei cannot be guessed.
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
from scipy import ndimage

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
    pixels = _drop_alpha(_decode(data, where, colors=True), where)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype not in (np.uint8, np.uint16):
        pixels = _narrow(pixels, where)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    # A copy, for decoders may lend an array that cannot be written to.
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def read_label_map(data: bytes, where: str) -> np.ndarray:
    """Decode a label map: 0 background, each nucleus its own whole number.

    A palette image gives its indices. Channels that are all equal count as one.

    Returns:
        `(H, W)` `int32`.

    Raises:
        UserError: If the values are colours, negative, not whole or beyond `int32`, or the file
            is a JPEG, whose compression blurs ids.
    """
    if data.startswith(_JPEG):
        raise UserError(f"{where}: a JPEG cannot hold label ids; save it as PNG or TIFF")
    labels = _single_channel(_decode(data, where, colors=False), where)
    if labels.dtype.kind == "f" and not (labels == np.round(labels)).all():  # NaN fails too
        raise UserError(f"{where}: label ids that are not whole numbers; save integer ids")
    if labels.size and labels.min() < 0:
        raise UserError(f"{where}: label id {labels.min()}; ids must be 0 (background) or more")
    if labels.size and labels.max() > np.iinfo(np.int32).max:
        raise UserError(f"{where}: label id {labels.max()} is beyond 32 bits; renumber the ids")
    return np.array(labels, np.int32, order="C")


def read_mask(data: bytes, where: str) -> np.ndarray:
    """Decode a binary mask: `(H, W)` `bool`, true where the file is not zero.

    Raises:
        UserError: As `read_label_map`, but any values are taken if the channels agree.
    """
    return np.ascontiguousarray(_single_channel(_decode(data, where, colors=False), where) != 0)


def check_instances(labels: np.ndarray, where: str) -> None:
    """Refuse a binary mask where a label map is needed.

    That is a label map with a single id whose pixels form several (8-connected) pieces.

    Raises:
        UserError: If so.
    """
    highest = int(labels.max(initial=0))
    if not highest or (labels[labels > 0] != highest).any():
        return
    count = ndimage.label(labels > 0, structure=np.ones((3, 3), int))[1]
    if count > 1:
        raise UserError(
            f"{where}: {count} separate regions share the one label {highest}, a binary mask where "
            "a label map is needed; give each nucleus its own id or, if they are its pieces, set "
            "data.source.masks=components (masks=components in nucleist evaluate)"
        )


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


def write_label_map(path: str | Path, labels: np.ndarray) -> None:
    """Write a label map, whole or not at all; the suffix chooses the format.

    Args:
        path: `.png` (16 bits) or `.tif`/`.tiff` (32 bits, zlib); its folder is made.
        labels: `(H, W)` integers, 0 or more.

    Raises:
        UserError: If an id does not fit the format, or the file cannot be written.
    """
    path = Path(path)
    suffix, highest = path.suffix.lower(), int(labels.max(initial=0))
    if suffix not in (".png", ".tif", ".tiff"):
        raise UserError(f"{path}: label maps are written as .png or .tif; change the suffix")
    if suffix == ".png" and highest > np.iinfo(np.uint16).max:
        raise UserError(f"{path}: label id {highest} does not fit 16 bits; write a .tif")
    with replacing(path) as temporary:
        if suffix == ".png":
            Image.fromarray(labels.astype(np.uint16)).save(temporary)
        else:
            tifffile.imwrite(temporary, labels.astype(np.uint32), compression="zlib")


def _decode(data: bytes, where: str, colors: bool) -> np.ndarray:
    """Pixels as stored, `(H, W)` or `(H, W, S)`; palettes looked up if `colors`."""
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


def _drop_alpha(pixels: np.ndarray, where: str) -> np.ndarray:
    """`(H, W)` or `(H, W, 1 or 3)` from up to 4 channels: the 2nd of 2, the 4th of 4 is alpha."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3)):
        return pixels
    raise UserError(f"{where}: pixels of shape {pixels.shape}; save it as gray or RGB")


def _single_channel(pixels: np.ndarray, where: str) -> np.ndarray:
    pixels = _drop_alpha(pixels, where)
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise UserError(
            f"{where}: a colour image where a mask or label map is needed; save one channel in "
            "which each nucleus has its own number"
        )
    return pixels[..., 0]


def _narrow(pixels: np.ndarray, where: str) -> np.ndarray:
    """`uint16` where wider integers fit, else `float32`."""
    if pixels.dtype.kind in "iu" and 0 <= pixels.min(initial=0) <= pixels.max(initial=0) < 2**16:
        return pixels.astype(np.uint16)
    if pixels.dtype.kind not in "iuf":
        raise UserError(f"{where}: {pixels.dtype} pixels; save it as 8 or 16 bits or float")
    if not np.isfinite(pixels).all():
        raise UserError(f"{where}: pixels that are not finite; replace NaN and infinity")
    return pixels.astype(np.float32)
