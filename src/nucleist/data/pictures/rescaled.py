"""A picture on another grid, and label maps back on its own."""

from typing import Any, Protocol

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.ops.resampling import nearest, reach, resampled, weights
from nucleist.types import Window


class Rescaled(Picture):
    """A picture that is enlarged or made smaller, window by window.

    What is read does not depend on where a window begins.

    Attributes:
        picture: The picture on its own grid.
        scale: How many times as many pixels it has along each side, about.
    """

    def __init__(self, picture: Picture, scale: float) -> None:
        """Rescale a picture.

        Args:
            picture: The picture on its own grid; it is closed with this one.
            scale: Pixels of a side times so much, rounded, at least 1.
        """
        self.picture, self.scale = picture, scale
        self.name, self.suffix, self.dtype = picture.name, picture.suffix, picture.dtype
        self.channels = picture.channels
        self.height = max(1, round(picture.height * scale))
        self.width = max(1, round(picture.width * scale))
        own = picture.pixel_size
        self.pixel_size = None if own is None else own * picture.width / self.width

    def read(self, window: Window) -> np.ndarray:
        """See `Picture.read`; interpolated linearly, without aliasing."""
        y, x, tall, wide = self._around(window)
        pixels = self.picture.read(Window(y[0], x[0], y[1], x[1]))
        return resampled(pixels, tall, wide)

    def read_channels(self, window: Window) -> np.ndarray:
        """See `Picture.read_channels`; interpolated likewise."""
        y, x, tall, wide = self._around(window)
        pixels = self.picture.read_channels(Window(y[0], x[0], y[1], x[1]))
        return resampled(pixels, tall, wide)

    def close(self) -> None:
        """See `Picture.close`."""
        self.picture.close()

    def _around(self, window: Window) -> tuple[Any, ...]:
        tall = self.picture.height, self.height, window.y0, window.y1
        wide = self.picture.width, self.width, window.x0, window.x1
        return reach(*tall), reach(*wide), weights(*tall), weights(*wide)

    def own_labels(self, labels: "Sliced", window: Window) -> np.ndarray:
        """A label map of this grid on the picture's own.

        Each pixel has the label under its middle, so nuclei neither grow nor shrink nor move.
        One that is smaller than a pixel of the own grid may be lost.

        Args:
            labels: `(height, width)` of this grid: an array, a memory map, a zarr array.
            window: Of the picture's own grid.

        Returns:
            `(h, w)` of the type of `labels`.
        """
        rows = nearest(self.height, self.picture.height, window.y0, window.y1)
        columns = nearest(self.width, self.picture.width, window.x0, window.x1)
        if not rows.size or not columns.size:
            return np.zeros((rows.size, columns.size), np.asarray(labels[:0, :0]).dtype)
        top, left = int(rows[0]), int(columns[0])
        part = np.asarray(labels[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])
        return part[rows[:, None] - top, columns[None] - left]


class Sliced(Protocol):
    """What is indexed by slices of rows and columns."""

    def __getitem__(self, index: Any, /) -> Any:
        """A part."""
