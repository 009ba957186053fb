"""Decode images, masks and label maps of every kind that microscopes and tools write.

Images become `(H, W, 3)`. The format is recognised by the first bytes, not by the file's name;
the size is read from the header and checked before a pixel is decoded, so a small file that
claims a billion pixels costs nothing.

PNG, JPEG and BMP go through Pillow, except PNGs of 16 bits, which Pillow cuts to 8 where they
have colour: those go through imagecodecs. TIFF goes through tifffile, see
`nucleist.data.formats.tiff`. Of stacks and of several channels one has to be chosen, see
`nucleist.data.formats.channels`.
"""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin

from nucleist.data.formats.alpha import check_alpha
from nucleist.data.formats.channels import CLEAR, Choice, Planes, one_channel, one_of_each
from nucleist.data.formats.damage import DAMAGE
from nucleist.data.formats.limits import check_size
from nucleist.data.formats.tiff import decode_tiff, shows_intensities
from nucleist.files import replacing
from nucleist.types import UserError

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Decoders by the first bytes, and how many pixels a byte can hold: in PNG deflate unpacks 1032
# times, of 1 bit each; a block of 64 pixels of a JPEG takes a bit or, with runs, a little less; the
# runs of a BMP may skip rows.
_PILLOW = {
    _PNG: (PngImagePlugin.PngImageFile, 8 * 1032),
    _JPEG: (JpegImagePlugin.JpegImageFile, 1024),
    _BMP: (BmpImagePlugin.BmpImageFile, 30_000),
}


def read_image(data: bytes, where: str, choice: Choice = CLEAR) -> np.ndarray:
    """Decode an image of any supported kind.

    Args:
        data: Content of the file.
        where: The file, for messages.
        choice: Which channel and plane, where there are several.

    Returns:
        `(H, W, 3)`: `uint8` or `uint16` as stored, anything else as `float32`. Gray is repeated,
        alpha dropped, palettes are looked up, 1 bit becomes 0 and 255. A picture in one hue on
        black, as of a fluorescence channel, becomes gray.

    Raises:
        UserError: If the file is damaged, too large, no image, or holds several planes or
            channels, and it is not clear which one shows the nuclei.
    """
    return to_pixels(stored_planes(data, where, choice), choice.channel, where)


def stored_planes(data: bytes, where: str, choice: Choice = CLEAR) -> Planes:
    """All channels of an image, without alpha; see `read_image`.

    Raises:
        UserError: As `read_image`, but for the choice of the channel.
    """
    return _planes(data, where, True, choice)


def to_pixels(planes: Planes, channel: int | str | None, where: str) -> np.ndarray:
    """What `read_image` returns, of an image with all its channels.

    Args:
        planes: The image, without alpha.
        channel: See `nucleist.data.formats.channels.Choice`.
        where: The file, for messages.

    Raises:
        UserError: As `read_image`.
    """
    if planes.pixels.dtype.kind not in "buif":
        raise UserError(f"{where}: {planes.pixels.dtype} pixels; save it as 8 or 16 bits or float")
    pixels = one_channel(planes, channel, where)
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
    pixels = np.array(image[..., 0] if gray else image, order="C")
    room = 2 * pixels.nbytes + len(pixels) + 1000  # of narrow images more than imagecodecs leaves
    path = stem.with_name(stem.name + ".png")
    with replacing(path) as temporary:
        temporary.write_bytes(imagecodecs.png_encode(pixels, level=3, out=room))
    return path


def image_size(data: bytes, where: str) -> tuple[int, int]:
    """Height and width, pixels, from the first 33 bytes of a PNG.

    Raises:
        UserError: If it is no PNG or claims more than `MAX_PIXELS`.
    """
    if len(data) < 26 or not data.startswith(_PNG):
        raise UserError(f"{where}: not a PNG, or cut short; copy the file again")
    width, height = struct.unpack(">II", data[16:24])
    check_size(height, width, where)
    return height, width


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    return data.startswith(_TIFF)


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
    return _planes(data, where, colors, CLEAR).pixels


def _planes(data: bytes, where: str, colors: bool, choice: Choice) -> Planes:
    """The pixels of a file, without alpha, and what it says of them; raises as `decoded`."""
    planes = _decode(data, where, colors, choice)
    if not planes.pixels.size:
        raise UserError(f"{where}: an image without pixels; copy the file again")
    return planes


def _decode(data: bytes, where: str, colors: bool, choice: Choice) -> Planes:
    try:
        if data.startswith(_TIFF):
            return decode_tiff(data, where, colors, choice)
        for magic, (plugin, ratio) in _PILLOW.items():
            if data.startswith(magic):
                if magic is _PNG:
                    image_size(data, where)  # even of a file that ends after its header
                # The plugin itself: Image.open has a lower limit of its own and warns.
                with plugin(io.BytesIO(data)) as image:
                    check_size(image.height, image.width, where)
                    _check_claim(image, data, ratio)
                    if (frames := getattr(image, "n_frames", 1)) > 1:
                        raise UserError(f"{where}: {frames} images; save each as its own file")
                    pixels = _decode_pillow(image, data, colors)
                    if not colors and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
                        check_alpha(pixels[..., :-1], pixels[..., -1], where)
                    pixels = without_alpha(pixels, where)
                    one_of_each((1, 1), choice, where, image.format or "")
                    return Planes(pixels)
    except (*DAMAGE, MemoryError) as error:
        raise UserError(f"{where}: damaged image ({error}); copy the file again") from error
    if not data:
        raise UserError(f"{where}: empty file; copy the file again")
    raise UserError(f"{where}: not a PNG, TIFF, JPEG or BMP; convert the image to one of these")


def _decode_pillow(image: Image.Image, data: bytes, colors: bool) -> np.ndarray:
    if data.startswith(_PNG) and data[24] == 16:
        return np.asarray(imagecodecs.png_decode(data))
    if image.mode in ("P", "PA") and (not colors or _is_display_table(image)):
        return np.asarray(image)[..., :1] if image.mode == "PA" else np.asarray(image)
    if data.startswith(_PNG) and image.mode == "L" and data[24] in (2, 4) and not colors:
        return np.asarray(image) // np.uint8(255 // (2 ** data[24] - 1))  # Pillow stretched them
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16"):
        image = image.convert("RGB")
    return np.asarray(image)


def _is_display_table(image: Image.Image) -> bool:
    """Whether the palette of an image of 8 bits only shows its intensities."""
    table = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return shows_intensities(table.T)


def _check_claim(image: Image.Image, data: bytes, ratio: int) -> None:
    """Raise where a file is too short for its pixels.

    Args:
        image: Opened, not decoded.
        data: Content of the file.
        ratio: How many pixels (of at least 1 bit) a byte can hold.
    """
    if image.height * image.width > ratio * len(data):
        raise ValueError(f"claims {image.height} x {image.width} pixels in {len(data)} bytes")


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
