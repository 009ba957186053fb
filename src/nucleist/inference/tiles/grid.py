"""Where an image is cut: windows that overlap, and in each the core whose nuclei are its own.

A nucleus belongs to the tile whose half-open core holds its centroid. The seam between two cores
lies in the middle of what their windows share, so a nucleus that is at most half as wide as the
overlap is seen whole by the tile that owns it, and a nucleus near a seam by both.
"""

from dataclasses import dataclass

from nucleist.types import Window

MULTIPLE = 64
"""Windows begin at multiples of it, the stride of the coarsest level of our nets: cells lie where
they lie in the whole image."""


@dataclass(frozen=True)
class Grid:
    """The tiles of an image, numbered row by row from the upper left.

    Attributes:
        height: Of the image, pixels.
        width: Likewise.
        tile: Side of the windows, pixels, a multiple of `MULTIPLE`; those at the right and lower
            border of the image may be smaller.
        overlap: What neighbouring windows share, likewise; at most half of `tile`.
    """

    height: int
    width: int
    tile: int
    overlap: int

    @property
    def step(self) -> int:
        """From one window to the next, pixels."""
        return self.tile - self.overlap

    @property
    def margin(self) -> int:
        """From a seam to the nearest end of the windows on both sides, pixels."""
        return self.overlap // 2

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return self._along(self.height)

    @property
    def cols(self) -> int:
        """Columns of tiles."""
        return self._along(self.width)

    def __len__(self) -> int:
        """Number of tiles."""
        return self.rows * self.cols

    def window(self, index: int) -> Window:
        """What the net sees of a tile."""
        row, col = divmod(index, self.cols)
        top, left = row * self.step, col * self.step
        low, right = min(top + self.tile, self.height), min(left + self.tile, self.width)
        return Window(top, left, low, right)

    def core(self, index: int) -> Window:
        """The part of a tile whose nuclei are its own. The cores cover the image without a gap."""
        row, col = divmod(index, self.cols)
        (top, low), (left, right) = self._ends(row, self.height), self._ends(col, self.width)
        return Window(top, left, low, right)

    def neighbours(self, index: int) -> list[int]:
        """The tiles whose windows share pixels with a tile's, in order."""
        row, col = divmod(index, self.cols)
        around = [(row + down, col + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        found = [r * self.cols + c for r, c in around if 0 <= r < self.rows and 0 <= c < self.cols]
        return [other for other in found if other != index]

    def tile_at(self, y: float, x: float) -> int:
        """The tile whose core holds a point of the image."""
        row, col = (
            min(max(int(at - self.margin) // self.step, 0), count - 1)
            for at, count in ((y, self.rows), (x, self.cols))
        )
        return row * self.cols + col

    def touching(self, window: Window) -> list[int]:
        """The tiles whose windows share pixels with a window of the image, in order."""
        rows = self._seeing(window.y0, window.y1, self.rows)
        cols = self._seeing(window.x0, window.x1, self.cols)
        return [row * self.cols + col for row in rows for col in cols]

    def _along(self, side: int) -> int:
        return max(-(-(side - self.overlap) // self.step), 1)

    def _ends(self, number: int, side: int) -> tuple[int, int]:
        begin = number * self.step + self.margin if number else 0
        end = (number + 1) * self.step + self.margin
        return begin, end if number + 1 < self._along(side) else side

    def _seeing(self, begin: int, end: int, count: int) -> range:
        first = max((begin - self.tile) // self.step + 1, 0)
        return range(min(first, count - 1), min((end - 1) // self.step, count - 1) + 1)
