"""The nuclei of an image that was outlined in tiles: one by one, as a table, as a label map."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nucleist.inference.result import COLUMNS, Table
from nucleist.inference.tiles.found import Store, too_large
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.seams import Key, Settled, Shape
from nucleist.types import Nucleus, Window


class Outlines:
    """All nuclei of an image. Labels are 1..N, best score first, as in images that were not cut.

    Masks stay in the files of the tiles; in memory are some 100 bytes for each nucleus.

    Attributes:
        height: Of the image, pixels.
        width: Likewise.
        table: As of `nucleist.inference.result.Result`, a line for each nucleus.
        large: `(K, 4)` windows of nuclei that are too large for the overlap.
        limits: For each limit of the net that cut what it found, the number of tiles.
    """

    def __init__(
        self, grid: Grid, store: Store, settled: Settled, names: Sequence[str] = ()
    ) -> None:
        """Number the nuclei.

        Args:
            grid: The tiles.
            store: What each of them shows.
            settled: Which of it counts.
            names: Of the net's shape parameters.
        """
        self.height, self.width = grid.height, grid.width
        self._grid, self._store, self._changed = grid, store, settled.changed
        every = _collected(grid, store, settled, (*COLUMNS[1:], *names))
        order = np.argsort(-every.columns["score"], kind="stable")
        labels = np.zeros(len(order), np.int64)
        labels[order] = np.arange(1, len(order) + 1)
        self._labels = _placed(labels, settled.kept)
        self.table: Table = {
            "label": np.arange(1, len(order) + 1),
            **{name: values[order] for name, values in every.columns.items()},
        }
        self.large, self.limits = every.large, every.limits
        self._measure_changed()

    def __len__(self) -> int:
        """Number of nuclei."""
        return len(self.table["label"])

    def nuclei(self) -> Iterator[Nucleus]:
        """The nuclei one by one, tile by tile from the upper left. No two share a pixel."""
        for tile, labels in enumerate(self._labels):
            rows = labels.nonzero()[0]
            for row in rows.tolist():
                shape = self._shape(Key(tile, row))
                score = float(self._store.load(tile).scores[row])
                yield Nucleus(int(labels[row]), shape.window, shape.mask, score)

    def paint(self, window: Window) -> np.ndarray:
        """The label map of a window of the image, `(h, w)` `int32`."""
        canvas = np.zeros((window.y1 - window.y0, window.x1 - window.x0), np.int32)
        for tile in self._grid.touching(window):
            labels, places = self._labels[tile], self._store.load(tile).windows
            near = (labels > 0) & (places[:, 0] < window.y1) & (places[:, 2] > window.y0)
            near &= (places[:, 1] < window.x1) & (places[:, 3] > window.x0)
            for row in near.nonzero()[0].tolist():
                _paint(canvas, window, self._shape(Key(tile, row)), int(labels[row]))
        return canvas

    def _shape(self, key: Key) -> Shape:
        if key in self._changed:
            return self._changed[key]
        found = self._store.load(key.tile)
        return Shape(found.window(key.row), found.mask(key.row))

    def _measure_changed(self) -> None:
        """Area and centroid of what is left of nuclei that lost pixels to a better one."""
        for key, (window, mask) in self._changed.items():
            line = self._labels[key.tile][key.row] - 1
            rows, cols = mask.nonzero()
            self.table["area_px"][line] = len(rows)
            self.table["centroid_y"][line] = rows.mean() + window.y0 + 0.5
            self.table["centroid_x"][line] = cols.mean() + window.x0 + 0.5


class _Every(NamedTuple):
    """What all tiles show together: see `Outlines`. Rows are in the order of the tiles."""

    columns: dict[str, np.ndarray]
    large: np.ndarray
    limits: Counter[str]


def _collected(grid: Grid, store: Store, settled: Settled, names: Sequence[str]) -> _Every:
    """The nuclei that count, of all tiles."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    large, limits = [], Counter[str]()
    for tile, kept in enumerate(settled.kept):
        found = store.load(tile)
        limits.update(found.limits)
        large.append(found.windows[too_large(found, grid, tile) & kept])
        for name, values in columns.items():
            values.append(found.columns[name][kept])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return _Every(joined, np.concatenate(large), limits)


def _placed(labels: np.ndarray, kept: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Labels of the nuclei that count, `(N,)`, to the rows of each tile; 0 for the others."""
    ends = np.cumsum([int(own.sum()) for own in kept])
    placed = []
    for own, part in zip(kept, np.split(labels, ends[:-1]), strict=True):
        rows = np.zeros(len(own), np.int64)
        rows[own] = part
        placed.append(rows)
    return placed


def _paint(canvas: np.ndarray, window: Window, shape: Shape, label: int) -> None:
    """Paint the part of a nucleus that lies in a window."""
    place, mask = shape
    top, left = max(place.y0, window.y0), max(place.x0, window.x0)
    low, right = min(place.y1, window.y1), min(place.x1, window.x1)
    if top >= low or left >= right:  # what is left of one that lost pixels may lie elsewhere
        return
    part = canvas[top - window.y0 : low - window.y0, left - window.x0 : right - window.x0]
    part[mask[top - place.y0 : low - place.y0, left - place.x0 : right - place.x0]] = label
