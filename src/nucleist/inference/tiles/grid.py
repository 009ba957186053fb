"""Where an image is cut: windows that overlap, and in each the core whose nuclei are its own.

A nucleus belongs to the tile whose half-open core holds its centroid. The seam between two cores
lies in the middle of what their windows share, so a nucleus that is at most half as wide as the
overlap is seen whole by the tile that owns it, and a nucleus near a seam by both.

All windows of an image have the same size: a narrow one at the border would show a net too little.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

from nucleist.types import Window

MULTIPLE = 64
"""Windows begin at multiples of it, the stride of the coarsest level of our nets: cells lie where
they lie in the whole image."""


@dataclass(frozen=True)
class Line:
    """The windows along one side of an image, in pixels.

    Attributes:
        begins: Where each begins, a multiple of `MULTIPLE`.
        ends: Where each ends.
        seams: Where the cores of two neighbours meet, one fewer.
    """

    begins: tuple[int, ...]
    ends: tuple[int, ...]
    seams: tuple[int, ...]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.begins)

    def core(self, number: int) -> tuple[int, int]:
        """Where the core of a window begins and ends."""
        edges = (0, *self.seams, self.ends[-1])
        return edges[number], edges[number + 1]

    def owner(self, at: float) -> int:
        """The window whose core holds a point."""
        return bisect_right(self.seams, at)

    def seeing(self, begin: int, end: int) -> range:
        """The windows that share pixels with a piece of the side."""
        return range(bisect_right(self.ends, begin), bisect_left(self.begins, end))


def cut_evenly(side: int, tile: int, overlap: int) -> Line:
    """Cut a side into as few windows as will do, of the same length.

    The last one ends with the side, so it may be shorter by less than `MULTIPLE`.

    Args:
        side: Pixels.
        tile: Most pixels of a window, a multiple of `MULTIPLE`.
        overlap: Least pixels that two neighbours share, likewise, at most half of `tile`.
    """
    cells, shared = -(-side // MULTIPLE), overlap // MULTIPLE
    count = max(-(-(cells - shared) // (tile // MULTIPLE - shared)), 1)
    length = -(-(cells + (count - 1) * shared) // count)
    between = max(count - 1, 1)
    begins = [number * (cells - length) // between * MULTIPLE for number in range(count)]
    ends = [min(begin + length * MULTIPLE, side) for begin in begins]
    seams = [(end + begin) // 2 for end, begin in zip(ends[:-1], begins[1:], strict=True)]
    return Line(tuple(begins), tuple(ends), tuple(seams))


@dataclass(frozen=True)
class Grid:
    """The tiles of an image, numbered row by row from the upper left.

    Attributes:
        height: Of the image, pixels.
        width: Likewise.
        tile: Largest side of the windows, pixels, a multiple of `MULTIPLE`. They are smaller where
            as many smaller ones cover the image.
        overlap: What neighbouring windows share at least, likewise; at most half of `tile`.
    """

    height: int
    width: int
    tile: int
    overlap: int

    @property
    def margin(self) -> int:
        """From a seam to the nearest end of the windows on both sides at least, pixels."""
        return self.overlap // 2

    @cached_property
    def down(self) -> Line:
        """The rows of tiles."""
        return cut_evenly(self.height, self.tile, self.overlap)

    @cached_property
    def across(self) -> Line:
        """The columns of tiles."""
        return cut_evenly(self.width, self.tile, self.overlap)

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return len(self.down)

    @property
    def cols(self) -> int:
        """Number of columns of tiles."""
        return len(self.across)

    def __len__(self) -> int:
        """Number of tiles."""
        return self.rows * self.cols

    def window(self, index: int) -> Window:
        """What the net sees of a tile."""
        row, col = divmod(index, self.cols)
        down, across = self.down, self.across
        return Window(down.begins[row], across.begins[col], down.ends[row], across.ends[col])

    def core(self, index: int) -> Window:
        """The part of a tile whose nuclei are its own. The cores cover the image without a gap."""
        row, col = divmod(index, self.cols)
        (top, low), (left, right) = self.down.core(row), self.across.core(col)
        return Window(top, left, low, right)

    def neighbours(self, index: int) -> list[int]:
        """The other tiles whose windows share pixels with a tile's, in order."""
        return [other for other in self.touching(self.window(index)) if other != index]

    def tile_at(self, y: float, x: float) -> int:
        """The tile whose core holds a point of the image."""
        return self.down.owner(y) * self.cols + self.across.owner(x)

    def touching(self, window: Window) -> list[int]:
        """The tiles whose windows share pixels with a window of the image, in order."""
        rows = self.down.seeing(window.y0, window.y1)
        cols = self.across.seeing(window.x0, window.x1)
        return [row * self.cols + col for row in rows for col in cols]
