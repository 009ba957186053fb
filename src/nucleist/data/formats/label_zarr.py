"""Label maps as OME-Zarr 0.4 (Zarr format 2): a pyramid in small blocks, for images of any size.

A folder `NAME_labels.zarr` with the levels `0` (full size), `1` (half), ... and the metadata
`multiscales` and `image-label`. Smaller levels take every second pixel, as a mean of ids is none.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.data.formats.limits import MAX_PIXELS
from nucleist.files import replacing
from nucleist.types import UserError, Window

BLOCK = 1024
"""Side of the blocks, pixels."""

SMALLEST = 512
"""Levels are added until the longer side is at most this, pixels."""


def write_label_zarr(
    path: Path,
    shape: tuple[int, int],
    paint: Callable[[Window], np.ndarray],
    pixel_size: float | None = None,
) -> None:
    """Write a label map block by block, whole or not at all.

    Args:
        path: The folder; one that is there is replaced at the end.
        shape: Height and width of the image, pixels.
        paint: The label map of a window, `(h, w)` `int32`.
        pixel_size: Width of a pixel, micrometres; None if it is not known.

    Raises:
        UserError: If it cannot be written.
    """
    zarr = _zarr()
    with _replacing_folder(path) as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=2)
        sizes = [shape]
        while max(sizes[-1]) > SMALLEST:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        levels = [_level(group, str(number), size) for number, size in enumerate(sizes)]
        for window in _blocks(shape):
            levels[0][window.slices] = paint(window)
        for finer, coarser in pairwise(levels):
            for window in _blocks(coarser.shape):
                y0, x0, y1, x1 = (2 * side for side in window)
                coarser[window.slices] = finer[y0:y1:2, x0:x1:2]
        group.attrs.update(_metadata(path.stem, len(sizes), pixel_size))


def read_label_zarr(path: Path) -> np.ndarray:
    """Read the full size of a label map.

    Returns:
        `(H, W)` `int32`.

    Raises:
        UserError: If it is no such folder, or is damaged.
    """
    zarr = _zarr()
    try:
        group = zarr.open_group(path, mode="r")
        level = group[group.attrs["multiscales"][0]["datasets"][0]["path"]]
        if level.ndim != 2 or level.dtype.kind not in "iu" or level.size > MAX_PIXELS:
            raise ValueError(f"{level.dtype} of shape {level.shape}")
        return np.asarray(level[:], np.int32)
    except Exception as error:  # whatever zarr raises on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: no OME-Zarr label map ({reason}); save it anew") from error


def _zarr() -> Any:
    import zarr  # slow, and for few commands; its types are those of groups and arrays alike

    return zarr


def _level(group: Any, name: str, shape: tuple[int, int]) -> Any:
    chunks = tuple(min(BLOCK, side) for side in shape)
    return group.create_array(name, shape=shape, chunks=chunks, dtype="int32", fill_value=0)


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            yield Window(top, left, min(top + BLOCK, shape[0]), min(left + BLOCK, shape[1]))


def _metadata(name: str, levels: int, pixel_size: float | None) -> dict[str, Any]:
    unit = {} if pixel_size is None else {"unit": "micrometer"}
    scale = pixel_size or 1.0
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [scale * 2**level] * 2}],
        }
        for level in range(levels)
    ]
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    multiscale = {"version": "0.4", "name": name, "axes": axes, "datasets": datasets}
    return {"multiscales": [multiscale], "image-label": {"version": "0.4"}}


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """`nucleist.files.replacing` for a folder: a rename replaces no folder that is not empty."""
    with replacing(path) as temporary:
        try:
            yield temporary
            if path.is_dir():
                shutil.rmtree(path)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(temporary)
            raise
