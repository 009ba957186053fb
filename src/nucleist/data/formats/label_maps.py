"""Label maps and masks in image files: 0 is background, each nucleus has its own whole number.

Written as PNG or zlib-compressed TIFF, of 16 bits where they suffice, because every viewer opens
those; read from whatever `nucleist.data.formats.images` decodes except JPEG.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from nucleist.data.formats.images import decoded, is_jpeg, without_alpha
from nucleist.data.formats.tiff_header import check_header
from nucleist.files import replacing
from nucleist.types import UserError, Window

_JPEG_IN_TIFF = (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG)
BLOCK = 512
"""Side of the tiles of large label maps, pixels."""
CLASSIC_TIFF = 2**32 - 2**25
"""Bytes that a TIFF with offsets of 32 bits holds, less its tags."""
LARGEST_PNG_ID, LARGEST_ID = np.iinfo(np.uint16).max, np.iinfo(np.int32).max


def write_label_map(path: str | Path, labels: np.ndarray) -> None:
    """Write a label map, whole or not at all; the suffix chooses the format.

    Args:
        path: `.png` (16 bits) or `.tif`/`.tiff` (16 bits if all ids fit, else 32); its folder is
            made.
        labels: `(H, W)` integers from 0 to 2^31 - 1, at least one pixel.

    Raises:
        UserError: If the file cannot be written, the suffix is another, or an id above 65,535 is
            to go into a PNG.
        ValueError: If it is not a label map.
    """
    path = Path(path)
    highest = _highest_id(labels)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff"):
        raise UserError(f"{path}: label maps are written as .png or .tif; change the suffix")
    if suffix == ".png" and highest > LARGEST_PNG_ID:
        raise UserError(f"{path}: label id {highest} does not fit 16 bits; write a .tif")
    pixels = labels.astype(np.uint16 if highest <= LARGEST_PNG_ID else np.uint32)
    with replacing(path) as temporary:
        if suffix == ".png":
            Image.fromarray(pixels).save(temporary)
        else:
            tifffile.imwrite(temporary, pixels, compression="zlib", photometric="minisblack")


def write_label_blocks(
    path: str | Path, shape: tuple[int, int], highest: int, block: Callable[[Window], np.ndarray]
) -> None:
    """Write a label map of any size block by block, whole or not at all.

    Args:
        path: `.tif`. It is a tiled TIFF, a BigTIFF if 4 GB might not hold it.
        shape: Height and width, pixels.
        highest: The largest id, up to 2^31 - 1; it decides between 16 and 32 bits.
        block: The label map of a window, `(h, w)` integers, called for each in turn.

    Raises:
        UserError: If the file cannot be written.
    """
    kind, (height, width) = np.uint16 if highest <= LARGEST_PNG_ID else np.uint32, shape
    rows, cols = (-(-side // BLOCK) for side in shape)

    def blocks() -> Iterator[np.ndarray]:
        for top in range(0, height, BLOCK):
            for left in range(0, width, BLOCK):
                window = Window(top, left, min(top + BLOCK, height), min(left + BLOCK, width))
                part = np.zeros((BLOCK, BLOCK), kind)
                part[: window.y1 - top, : window.x1 - left] = block(window)
                yield part

    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            blocks(),
            shape=shape,
            dtype=kind,
            tile=(BLOCK, BLOCK),
            compression="zlib",
            photometric="minisblack",
            bigtiff=rows * cols * BLOCK**2 * np.dtype(kind).itemsize > CLASSIC_TIFF,
            maxworkers=1,  # others would hold blocks back
        )


def suffix_for(labels: np.ndarray) -> str:
    """`.png` if it can hold the ids of a label map `(H, W)`, else `.tif`."""
    return ".png" if labels.max(initial=0) <= LARGEST_PNG_ID else ".tif"


def load_label_map(path: str | Path) -> np.ndarray:
    """Read a label map from a file, see `read_label_map`.

    Returns:
        `(H, W)` `int32`.

    Raises:
        UserError: If the file cannot be read or is not a label map.
    """
    try:
        return read_label_map(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the file") from error


def read_label_map(data: bytes, where: str) -> np.ndarray:
    """Decode a label map: 0 background, each nucleus its own whole number.

    A palette image gives its indices. Channels that are all equal count as one.

    Args:
        data: Content of the file.
        where: The file, for messages.

    Returns:
        `(H, W)` `int32`.

    Raises:
        UserError: If the values are colours, negative, not whole or beyond `int32`, or the file
            is a JPEG, whose compression blurs ids.
    """
    if _is_lossy(data):
        raise UserError(f"{where}: a JPEG cannot hold label ids; save it as PNG or TIFF")
    labels = _single_channel(data, where)
    if labels.dtype.kind == "f" and not (labels == np.round(labels)).all():  # NaN fails too
        raise UserError(f"{where}: label ids that are not whole numbers; save integer ids")
    if labels.size and labels.min() < 0:
        raise UserError(
            f"{where}: label id {labels.min()}; ids must be 0 (background) or more, also where a "
            "negative one means 'ignore'"
        )
    if labels.size and labels.max() > LARGEST_ID:
        raise UserError(f"{where}: label id {labels.max()} is beyond 32 bits; renumber the ids")
    return np.array(labels, np.int32, order="C")


def read_mask_values(data: bytes, where: str) -> np.ndarray:
    """Decode a mask, `(H, W)`, 0 outside nuclei; of a JPEG true above half of its largest value.

    Raises:
        UserError: As `read_label_map`, but any values are taken if the channels agree.
    """
    values = _single_channel(data, where)
    return values > values.max(initial=0) / 2 if _is_lossy(data) else values


def read_mask(data: bytes, where: str) -> np.ndarray:
    """Decode the mask of one nucleus.

    Returns:
        `(H, W)` `bool`, true where the file is not 0. Of one with a soft edge, whose largest value
        is 1 or above 127 and not the only one, true above half of that.

    Raises:
        UserError: As `read_mask_values`.
    """
    values = read_mask_values(data, where)
    top = float(values.max(initial=0))
    soft = (top == 1 or top > 127) and np.any((values != 0) & (values != top))
    return np.ascontiguousarray(values > top / 2 if soft else values != 0)


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the 8-connected pieces of a mask.

    Args:
        mask: `(H, W)`, not 0 inside nuclei.

    Returns:
        `(H, W)` `int32` label map of ids 1 to N, from the top, and N.
    """
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), int))
    return labels.astype(np.int32), count


def check_instances(labels: np.ndarray, where: str) -> None:
    """Refuse a binary mask where a label map is needed.

    That is a label map with a single id whose pixels form several (8-connected) pieces.

    Args:
        labels: `(H, W)` integers.
        where: The file, for messages.

    Raises:
        UserError: If so.
    """
    highest = int(labels.max(initial=0))
    if not highest or (labels[labels > 0] != highest).any():
        return
    count = components(labels > 0)[1]
    if count > 1:
        raise UserError(
            f"{where}: {count} separate regions share the one label {highest}, a binary mask where "
            "a label map is needed; give each nucleus its own id or, if they are its pieces, set "
            "data.source.masks=components (masks=components in nucleist evaluate)"
        )


def check_shape(labels: np.ndarray, image: np.ndarray, where: str) -> None:
    """Refuse labels that have another size than their image.

    Args:
        labels: `(H, W)`.
        image: `(H, W, 3)`.
        where: The file of the labels, for messages.

    Raises:
        UserError: If the sizes differ.
    """
    if labels.shape != image.shape[:2]:
        raise UserError(
            f"{where}: labels of {labels.shape[0]} x {labels.shape[1]} pixels for an image of "
            f"{image.shape[0]} x {image.shape[1]}; replace them by the labels of that image"
        )


def _highest_id(labels: np.ndarray) -> int:
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"Expected an (H, W) integer label map, but got {labels.dtype} of shape {labels.shape}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > LARGEST_ID:
        raise ValueError(f"Expected labels from 0 to {LARGEST_ID}, but got {low} to {high}")
    return high


def _is_lossy(data: bytes) -> bool:
    """Whether a file is a JPEG, or a TIFF compressed as one."""
    if is_jpeg(data) or not data.startswith((b"II", b"MM")):
        return is_jpeg(data)
    with suppress(Exception):  # what is damaged is refused when it is decoded
        check_header(data, "")
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            return tiff.pages.first.compression in _JPEG_IN_TIFF
    return False


def _single_channel(data: bytes, where: str) -> np.ndarray:
    """`(H, W)` from a file of one channel, or of several that are equal; palettes as indices."""
    pixels = without_alpha(decoded(data, where, colors=False), where)
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise UserError(
            f"{where}: a colour image where a mask or label map is needed; save one channel in "
            "which each nucleus has its own number"
        )
    return pixels[..., 0]
