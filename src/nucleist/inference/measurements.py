"""Measure nuclei one by one: their shape, and their intensity in every channel.

Shapes are measured by `skimage.measure.regionprops` on the pixels of the nucleus, so that they mean
what they mean there; pixels are squares of side 1, and lengths are pixels.
"""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
from skimage.measure import regionprops

from nucleist.data.formats.traced import NucleusWriter, Traced
from nucleist.data.pictures.picture import Picture
from nucleist.types import Window

SHAPE = (
    "axis_major_px", "axis_minor_px", "orientation_rad", "perimeter_px", "circularity", "solidity",
)  # fmt: skip
"""Columns of shape. Axes are those of the ellipse with the same second moments. The orientation is
that of the longer axis against x, in (-pi/2, pi/2], from x towards y (down). Circularity is
4 pi area / perimeter^2, empty where the perimeter is 0. Solidity is the share of the convex hull's
pixels that are the nucleus's own."""

INTENSITY = ("mean", "min", "max", "std")
"""Ends of the columns of each channel, such as `DAPI_mean`."""

MICROMETRES = {
    "area_um2": ("area_px", 2),
    "centroid_x_um": ("centroid_x", 1),
    "centroid_y_um": ("centroid_y", 1),
    "axis_major_um": ("axis_major_px", 1),
    "axis_minor_um": ("axis_minor_px", 1),
    "perimeter_um": ("perimeter_px", 1),
}
"""Columns in micrometres, where the width of a pixel is known: which column is multiplied by which
power of it."""

BLOCK, KEPT = 1024, 8
"""Side of the parts in which channels are read, pixels, and how many are kept in memory."""

Columns = dict[str, np.ndarray]


class Measurements(NucleusWriter):
    """Columns of shape and intensity, a row for each nucleus, in the order of their labels."""

    def __init__(self, picture: Picture, count: int) -> None:
        """Make room.

        Args:
            picture: Its channels are measured.
            count: Number of nuclei.
        """
        self._blocks = Blocks(picture)
        self._pixel_size = picture.pixel_size
        names = [f"{name}_{end}" for name in channel_names(picture) for end in INTENSITY]
        self._names = [*SHAPE, *names]
        self._values = np.empty((count, len(self._names)))
        self._labels = np.empty(count, np.int64)
        self._added = 0

    def add(self, nucleus: Traced) -> None:
        """Measure one nucleus."""
        one = nucleus.nucleus
        pixels = self._blocks.read(one.window)[one.mask]
        self._values[self._added] = [*shape_of(one.mask), *intensity_of(pixels)]
        self._labels[self._added] = one.label
        self._added += 1

    def columns(self, table: Mapping[str, np.ndarray]) -> Columns:
        """The columns of all nuclei; as many as there is room for were added.

        Args:
            table: Label, area and centroid by column, a row for each of these nuclei.

        Returns:
            Shape, intensity, and micrometres where the width of a pixel is known: `(N,)` each, in
            the order of the table.

        Raises:
            ValueError: If other nuclei were added than the table has.
        """
        order = np.argsort(self._labels[: self._added])
        rank = np.argsort(np.argsort(table["label"]))
        if not np.array_equal(self._labels[order], np.sort(table["label"])):
            raise ValueError(f"Expected the {len(rank)} nuclei of the table, got {self._added}")
        found = dict(zip(self._names, self._values[order[rank]].T, strict=True))
        if self._pixel_size is not None:
            every = {**table, **found}
            for name, (source, power) in MICROMETRES.items():
                found[name] = every[source] * self._pixel_size**power
        return found


def shape_of(mask: np.ndarray) -> list[float]:
    """The columns `SHAPE` of a nucleus, from its mask `(h, w)` `bool`."""
    region = regionprops(mask.view(np.uint8))[0]
    perimeter = region.perimeter
    round_one = 4 * np.pi * region.area / perimeter**2 if perimeter else np.nan
    # Of scikit-image it is the angle against y, towards x, counterclockwise.
    turn = np.pi / 2 - (region.orientation + np.pi) % np.pi
    angle = turn if turn > -np.pi / 2 else np.pi / 2
    # A hull is no area where all pixels lie on one line; such a nucleus is its own hull.
    solid = region.solidity if min(mask.shape) > 1 else 1.0
    axes = region.axis_major_length, region.axis_minor_length
    return [*axes, angle, perimeter, round_one, solid]


def intensity_of(pixels: np.ndarray) -> list[float]:
    """Mean, least, largest value and standard deviation of each channel of pixels `(N, C)`."""
    values = pixels.astype(np.float64)
    each = [values.mean(0), values.min(0), values.max(0), values.std(0)]
    return np.stack(each, 1).ravel().tolist()


def channel_names(picture: Picture) -> list[str]:
    """Names of a picture's channels for columns; no two are the same.

    One that has no name is called `intensity` if it is the only one, else `channel_2` if it is the
    second.
    """
    alone = len(picture.channels) == 1
    names: list[str] = []
    for number, given in enumerate(picture.channels, 1):
        name = "_".join(given.split()) or ("intensity" if alone else f"channel_{number}")
        names.append(f"{name}_{number}" if name in names else name)
    return names


class Blocks:
    """Windows of a picture's channels, cut from large parts that are read once and kept a while.

    Nuclei come in the order of tiles; a file that is compressed in parts would else be decoded
    anew for each of them.
    """

    def __init__(self, picture: Picture) -> None:
        """Wrap a picture."""
        self._picture = picture
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def read(self, window: Window) -> np.ndarray:
        """The channels in a window inside the picture, `(h, w, C)`."""
        rows = range(window.y0 // BLOCK, -(-window.y1 // BLOCK))
        columns = range(window.x0 // BLOCK, -(-window.x1 // BLOCK))
        if len(rows) * len(columns) > KEPT:  # larger than what is kept
            return self._picture.read_channels(window)
        lines = [
            np.concatenate([self._part(row, column, window) for column in columns], 1)
            for row in rows
        ]
        return np.concatenate(lines)

    def _part(self, row: int, column: int, window: Window) -> np.ndarray:
        """What of a window lies in one block."""
        top, left = row * BLOCK, column * BLOCK
        block = self._block(row, column)
        rows = slice(max(window.y0 - top, 0), window.y1 - top)
        return block[rows, max(window.x0 - left, 0) : window.x1 - left]

    def _block(self, row: int, column: int) -> np.ndarray:
        key = row, column
        if key not in self._kept:
            top, left = row * BLOCK, column * BLOCK
            bottom = min(top + BLOCK, self._picture.height)
            right = min(left + BLOCK, self._picture.width)
            self._kept[key] = self._picture.read_channels(Window(top, left, bottom, right))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
