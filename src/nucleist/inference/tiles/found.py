"""What a tile shows: the nuclei of its core and of the bands around it, packed for the disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from nucleist.files import replacing
from nucleist.inference.result import COLUMNS, Result
from nucleist.inference.tiles.grid import MULTIPLE, Grid
from nucleist.types import Window

BAND = 2
"""The band on both sides of a seam is as wide as the margin divided by it."""


@dataclass(frozen=True, eq=False)
class Found:
    """Nuclei of one tile, in pixels of the image; all arrays have a row for each of the N.

    Attributes:
        windows: `(N, 4)` `int64`, the smallest `Window` with all pixels.
        columns: Columns of the table by name, as of `Result.table`, without `label`.
        cut: `(N,)` `bool`: it reaches a side of the tile's window inside the image, and may go on.
        begins: `(N + 1,)` `int64`, where its mask begins in `bits`, and where the last one ends.
        bits: `uint8`, the masks of the windows, each packed by itself.
        limits: Names of the limits of the net that cut what it found here.
    """

    windows: np.ndarray
    columns: dict[str, np.ndarray]
    cut: np.ndarray
    begins: np.ndarray
    bits: np.ndarray
    limits: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of nuclei."""
        return len(self.windows)

    @property
    def scores(self) -> np.ndarray:
        """`(N,)`, in [0, 1]."""
        return self.columns["score"]

    def window(self, row: int) -> Window:
        """The smallest window with all pixels of one."""
        return Window(*self.windows[row].tolist())

    def mask(self, row: int) -> np.ndarray:
        """Its pixels, `(h, w)` `bool` of the size of its window."""
        top, left, low, right = self.windows[row].tolist()
        shape = low - top, right - left
        packed = self.bits[self.begins[row] : self.begins[row + 1]]
        return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).view(bool)


def found_in(result: Result, grid: Grid, index: int, limits: tuple[str, ...] = ()) -> Found:
    """The nuclei that a tile has to answer for.

    These are the ones whose centroid is in its core, or beyond it by less than the band: there the
    next tile may see the centroid on this side of the seam.

    Args:
        result: Of the tile's window.
        grid: All tiles.
        index: The tile.
        limits: Limits of the net that were reached in it.
    """
    window = grid.window(index)
    keep = _near(result, grid, index)
    columns = {name: _moved(name, values[keep], window) for name, values in result.table.items()}
    ids = columns.pop("label").astype(np.int64)
    boxes = ndimage.find_objects(result.labels)
    packed, places = [], np.zeros((len(ids), 4), np.int64)
    for row, number in enumerate(ids):
        rows, cols = boxes[number - 1]
        packed.append(np.packbits(result.labels[rows, cols] == number))
        places[row] = rows.start, cols.start, rows.stop, cols.stop
    begins = np.cumsum([0, *map(len, packed)])
    bits = np.concatenate([np.zeros(0, np.uint8), *packed])
    places += np.array([window.y0, window.x0] * 2)
    return Found(places, columns, _cut(places, window, grid), begins, bits, limits)


def _near(result: Result, grid: Grid, index: int) -> np.ndarray:
    """Which nuclei lie in the core or in the bands around it, `(N,)` `bool`."""
    window, core, band = grid.window(index), grid.core(index), grid.margin // BAND
    y = result.table["centroid_y"] + window.y0
    x = result.table["centroid_x"] + window.x0
    inside = (y >= core.y0 - band) & (y < core.y1 + band)
    return inside & (x >= core.x0 - band) & (x < core.x1 + band)


def _moved(name: str, values: np.ndarray, window: Window) -> np.ndarray:
    """A column of a tile's table in pixels of the image: x and y move, sizes and angles stay."""
    if name.endswith(("_x", "_left", "_right")):
        return values + np.float64(window.x0)
    if name.endswith(("_y", "_top", "_bottom")):
        return values + np.float64(window.y0)
    return values


def _cut(places: np.ndarray, window: Window, grid: Grid) -> np.ndarray:
    """Which nuclei reach a side of a tile's window that is no side of the image, `(N,)`."""
    cut = (places[:, 0] == window.y0) & (window.y0 > 0)
    cut |= (places[:, 1] == window.x0) & (window.x0 > 0)
    cut |= (places[:, 2] == window.y1) & (window.y1 < grid.height)
    return cut | ((places[:, 3] == window.x1) & (window.x1 < grid.width))


def owned(found: Found, grid: Grid, index: int) -> np.ndarray:
    """Which nuclei of a tile have their centroid in its core, `(N,)` `bool`."""
    core, y, x = grid.core(index), found.columns["centroid_y"], found.columns["centroid_x"]
    return (y >= core.y0) & (y < core.y1) & (x >= core.x0) & (x < core.x1)


def too_large(found: Found, grid: Grid, index: int) -> np.ndarray:
    """Which nuclei of a tile may not be whole, `(N,)` `bool`.

    A window ends in them; or they cross a seam and are larger than half of the overlap, so that
    another place of the seam would have cut them.
    """
    core, (top, left, low, right) = grid.core(index), found.windows.T
    crosses = (top < core.y0) | (left < core.x0) | (low > core.y1) | (right > core.x1)
    return found.cut | (crosses & (np.maximum(low - top, right - left) > grid.margin))


def named(large: np.ndarray, grid: Grid) -> str:
    """A line about nuclei that are too large for the overlap, with the remedy.

    Args:
        large: `(K, 4)` their windows in the image, at least one.
        grid: The tiles.
    """
    largest = large[(large[:, 2:] - large[:, :2]).max(1).argmax()]
    top, left, low, right = largest.tolist()
    needed = -(-2 * max(low - top, right - left) // MULTIPLE) * MULTIPLE
    # One that a window cuts is larger than what was seen of it.
    needed = needed if needed > grid.overlap else 2 * grid.overlap
    tile = f" tile={2 * needed}" if 2 * needed > grid.tile else ""
    count = "1 nucleus" if len(large) == 1 else f"{len(large)} nuclei, the largest"
    return (
        f"{count} of {low - top} x {right - left} px at x={left}, y={top}: too large for an "
        f"overlap of {grid.overlap} px, and may be cut at a seam; use overlap={needed}{tile}"
    )


def empty(names: tuple[str, ...] = ()) -> Found:
    """A tile without nuclei.

    Args:
        names: Of the net's shape parameters.
    """
    columns = {name: np.zeros(0) for name in (*COLUMNS[1:], *names)}
    none = np.zeros(0, bool)
    return Found(np.zeros((0, 4), np.int64), columns, none, np.zeros(1, np.int64), none.view("u1"))


class Store:
    """The tiles that are done, a file each in a folder: written whole or not at all."""

    def __init__(self, folder: Path, kept: int) -> None:
        """Look into a folder.

        Args:
            folder: It exists.
            kept: Tiles that stay in memory.
        """
        self.folder, self._kept = folder, kept
        self._memory: dict[int, Found] = {}

    def __contains__(self, index: int) -> bool:
        """Whether a tile is done."""
        return self._path(index).is_file()

    def add(self, index: int, found: Found) -> None:
        """Keep what a tile shows.

        Raises:
            UserError: If it cannot be written.
        """
        content: dict[str, Any] = {f"column {k}": values for k, values in found.columns.items()}
        content |= {name: getattr(found, name) for name in ("windows", "cut", "begins", "bits")}
        with replacing(self._path(index)) as part:
            np.savez(part, limits=np.array(found.limits, str), **content)

    def load(self, index: int) -> Found:
        """What a done tile shows."""
        if index in self._memory:
            self._memory[index] = self._memory.pop(index)  # the latest comes last
            return self._memory[index]
        with np.load(self._path(index)) as content:
            parts = {name: content[name] for name in content.files}
        begin = "column "
        columns = {k.removeprefix(begin): v for k, v in parts.items() if k.startswith(begin)}
        limits = tuple(parts["limits"].tolist())
        named = {name: parts[name] for name in ("windows", "cut", "begins", "bits")}
        self._memory[index] = Found(columns=columns, limits=limits, **named)
        while len(self._memory) > self._kept:
            self._memory.pop(next(iter(self._memory)))
        return self._memory[index]

    def _path(self, index: int) -> Path:
        return self.folder / f"{index}.npz"
