"""How images are cut: what was asked for, and what is done where nothing was."""

import math
from dataclasses import dataclass
from typing import Literal

from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.tiles.grid import MULTIPLE, Grid
from nucleist.types import UserError

UNCUT = 2048 * 2048
"""Images of at most so many pixels are not cut, unless it is asked for."""

TILE = 1024
"""Side of the windows of larger ones: a compact Mask R-CNN needs about 1 GB for it on a CPU."""

LEAST_OVERLAP = 128
"""Least overlap where none is asked for."""

Tile = int | Literal["auto", "none"]
Overlap = int | Literal["auto"]


def _whole(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or value < least:
        words = "auto or none" if name == "tile" else "auto"
        raise UserError(f"{name}={value}: give pixels, a whole number from {least}, or {words}")
    return _rounded(value)


def _rounded(value: float) -> int:
    return math.ceil(value / MULTIPLE) * MULTIPLE


@dataclass(frozen=True)
class Cut:
    """Sides of tiles as they are asked for, in pixels of the image, multiples of `MULTIPLE` or not.

    Attributes:
        tile: Side of the windows; `auto`: none up to `UNCUT`, then `TILE`; `none`: none. What is
            shown to a net at another scale has so many pixels there.
        overlap: What neighbouring windows share: at least twice the largest nucleus. `auto`: an
            eighth of the tile, at least `LEAST_OVERLAP`.

    Raises:
        UserError: If a number is too small or not whole, or the overlap is more than half of the
            tile.
    """

    tile: Tile = "auto"
    overlap: Overlap = "auto"

    def __post_init__(self) -> None:
        self.sides()

    def sides(self, scale: float = 1.0) -> tuple[int, int]:
        """Tile and overlap, rounded up to multiples of `MULTIPLE`.

        Args:
            scale: Pixels that a net is shown for one of the image, along a side.
        """
        side = max(_rounded(TILE / scale), 2 * MULTIPLE)
        side = side if self.tile in ("auto", "none") else _whole("tile", self.tile, 2 * MULTIPLE)
        shared = max(side // 8, _rounded(LEAST_OVERLAP / scale))
        shared = min(_rounded(shared), side // 2 // MULTIPLE * MULTIPLE)
        shared = shared if self.overlap == "auto" else _whole("overlap", self.overlap, 2)
        if 2 * shared > side:
            raise UserError(
                f"overlap={self.overlap}, {shared} in steps of {MULTIPLE}, is more than half of "
                f"tile={side}; use tile={2 * shared} or more"
            )
        return side, shared

    def grid(self, picture: Picture, untileable: str = "") -> Grid | None:
        """The tiles of an image, on its own grid; None if it is not cut.

        Args:
            picture: The image, rescaled or not.
            untileable: See `nucleist.models.net.Capabilities`.

        Raises:
            UserError: If tiles are asked for of a net that sees other things in them.
        """
        own = picture.picture if isinstance(picture, Rescaled) else picture
        small = picture.height * picture.width <= UNCUT
        if self.tile == "none" or (self.tile == "auto" and (small or untileable)):
            return None
        grid = Grid(own.height, own.width, *self.sides(picture.height / own.height))
        if len(grid) > 1 and untileable:
            raise UserError(f"tile={self.tile}: {untileable}, which tiles change; use tile=none")
        return grid if len(grid) > 1 else None


BY_SIZE = Cut()
"""Nothing was asked for: large images are cut."""
