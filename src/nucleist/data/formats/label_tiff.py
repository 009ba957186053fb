"""Label maps as zlib-compressed TIFF: 16 bits where they suffice, which every viewer opens.

Files appear whole or not at all: each is written beside its place and moved there when done.
"""

import os
from pathlib import Path

import numpy as np
import tifffile
from torch import Tensor

from nucleist.files import replacing
from nucleist.types import UserError

MAX_PIXELS = 1 << 30
"""Largest image that is read; a larger claim is a damaged or hostile file."""


def write_label_tiff(path: str | os.PathLike[str], labels: np.ndarray | Tensor) -> None:
    """Write a label map as `uint16` if all labels fit, otherwise as `uint32`.

    Args:
        path: File to write; its folder is made if it is missing.
        labels: `(H, W)` integer label map, 0 background.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If it is not a label map, or a label is negative or above 2 ** 31 - 1.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"Expected an (H, W) integer label map, but got {array.dtype} of shape {array.shape}"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise ValueError(f"Expected labels from 0 to 2147483647, but got {low} to {high}")
    dtype = np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32
    with replacing(path) as part:
        tifffile.imwrite(part, array.astype(dtype), compression="zlib", photometric="minisblack")


def read_label_tiff(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a label map back.

    Returns:
        `(H, W)` `int32`.

    Raises:
        UserError: If the file is missing, damaged, too large, or not one plane of labels.
    """
    path = Path(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            if len(tiff.pages) > 1:
                raise UserError(f"{path}: {len(tiff.pages)} pages; give one plane of labels")
            if len(page.shape) != 2 or page.dtype is None or page.dtype.kind not in "ui":
                found = f"{page.dtype} of shape {page.shape}"
                raise UserError(f"{path}: {found}, not a label map; give one integer plane")
            if page.size > MAX_PIXELS:
                raise UserError(f"{path}: claims {page.size} pixels, at most {MAX_PIXELS} are read")
            labels = page.asarray()
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the name") from error
    # a damaged TIFF can fail anywhere in the parser or the decompressor
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable TIFF ({reason}); write it again") from error
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > np.iinfo(np.int32).max:
        raise UserError(f"{path}: labels {low} to {high}; renumber them from 1 to 2147483647")
    return labels.astype(np.int32)
