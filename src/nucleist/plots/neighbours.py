"""Pairs of images that were cut from one field or show the same, side by side as they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nucleist.data.fields import Pair
from nucleist.plots.overlay import LabelledImage, contact_sheet, to_display
from nucleist.types import Record, Source, UserError

CUT = 3
"""Width of the line between two images, pixels."""


def check_place(output: str | Path, overwrite: bool = False) -> Path:
    """The file of a picture, before anything is read.

    Raises:
        UserError: If it is no PNG, or is there already.
    """
    output = Path(output)
    if output.suffix.lower() != ".png":
        raise UserError(f"{output}: the picture is a PNG; choose a name that ends in .png")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: is there already; choose another name, or overwrite it")
    return output


def draw_pairs(source: Source, pairs: Sequence[Pair], output: str | Path, most: int = 9) -> Path:
    """Draw pairs on one page, all nuclei in colour.

    Args:
        source: The data set.
        pairs: The first are drawn.
        output: The PNG to write.
        most: How many are drawn.

    Returns:
        The file.

    Raises:
        UserError: If the file cannot be written, or there is no pair.
    """
    if not pairs:
        raise UserError(f"{output}: no pair of images is in two splits; there is nothing to draw")
    items = []
    for pair in pairs[:most]:
        image, labels = joined(source.read(pair.first), source.read(pair.second), pair.kind)
        items.append(LabelledImage(image, truth=labels, title=f"{pair.first} | {pair.second}"))
    contact_sheet(output, items, columns=3, side=400)
    return Path(output)


def joined(one: Record, other: Record, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Two images as one, the second below the first or right of it, with a line between them.

    Args:
        one: The first image.
        other: The second.
        kind: As of `nucleist.data.fields.Pair`.

    Returns:
        The image `(H, W, 3)` `uint8` and its label map; ids of the second follow those of the
        first.
    """
    axis = 0 if kind == "below" else 1
    side = max(one.labels.shape[1 - axis], other.labels.shape[1 - axis])
    # Together, so that both keep their brightness if they have the same type.
    same = one.image.dtype == other.image.dtype
    images = [record.image if same else to_display(record.image) for record in (one, other)]
    line = np.full((CUT, side) if axis == 0 else (side, CUT), 255, np.uint8)
    labels = [one.labels, np.where(other.labels > 0, other.labels + one.labels.max(), 0)]
    shown = to_display(np.concatenate([_padded(image, axis, side) for image in images], axis))
    cut = one.labels.shape[axis]
    parts = np.split(shown, [cut], axis)
    image = np.concatenate([parts[0], np.stack([line] * 3, 2), parts[1]], axis)
    maps = [_padded(labels[0], axis, side), np.zeros(line.shape, np.int32)]
    return image, np.concatenate([*maps, _padded(labels[1], axis, side)], axis).astype(np.int32)


def _padded(array: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Zeros after an array on the other axis, up to a length."""
    more = [(0, 0)] * array.ndim
    more[1 - axis] = (0, side - array.shape[1 - axis])
    return np.pad(array, more)
