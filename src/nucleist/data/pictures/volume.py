"""An open file of planes and channels, and the pictures that are made of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nucleist.data.formats.axes import Axes, largest
from nucleist.data.formats.channels import COLORS, Planes, channel_of
from nucleist.data.formats.damage import as_damage
from nucleist.data.formats.images import to_pixels
from nucleist.data.pictures.picture import ArrayPicture, Picture
from nucleist.types import UserError, Window

IN_MEMORY = 1 << 27
"""Planes of up to so many bytes are read at once, larger ones window by window."""

_GRID, _SIDE = 5, 128
"""A large plane is judged by as many squares in each direction, of this side in pixels."""


class Volume(ABC):
    """An open file: planes of one size with their channels, of which windows are read.

    Attributes:
        where: The file, for messages.
        shape: What it holds, for messages.
        axes: Of `array`.
        dtype: Of the pixels as they are stored.
        pixel_size: Width of a pixel in micrometres; None where the file does not say.
        separate: Whether channels lie apart in the file, so that one is read without the others.
    """

    where: str
    shape: str
    axes: Axes
    dtype: np.dtype
    pixel_size: float | None
    separate: bool = False

    @abstractmethod
    def read(self, t: int, z: int, window: Window, channel: int | None = None) -> np.ndarray:
        """Pixels of a plane, as they are stored.

        Args:
            t: Number of the time, from 0.
            z: Number of the plane, from 0.
            window: Inside the plane.
            channel: Number of a channel, from 0, where they lie apart; None for all.

        Returns:
            `(h, w)` or `(h, w, S)`.

        Raises:
            Exception: Whatever a decoder raises on damaged files.
        """

    def shown(self, pixels: np.ndarray) -> Planes:
        """Pixels as they are meant to be seen, without alpha, and what the file says of them.

        Args:
            pixels: As `read` returns them.
        """
        return Planes(pixels, False, self.shape)

    def settle(self, sample: np.ndarray) -> None:  # noqa: B027 - most have nothing to settle
        """Settle by a sample of its pixels what `shown` does with windows.

        Args:
            sample: `(n, m)` or `(n, m, S)`, as stored.
        """

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """Close the file."""

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, self.axes.height, self.axes.width)

    @property
    def is_large(self) -> bool:
        """Whether a plane is not read at once."""
        values = self.axes.height * self.axes.width * max(self.axes.channels, 3)
        return values * self.dtype.itemsize > IN_MEMORY


def picture_of(
    volume: Volume, t: int, planes: Sequence[int], channel: int | str | None, name: str
) -> Picture:
    """One picture of a file; it closes the file.

    Args:
        volume: The open file.
        t: Number of the time, from 0.
        planes: Numbers of the planes that it is the largest value of.
        channel: See `nucleist.data.formats.channels.Choice`.
        name: For messages.

    Raises:
        UserError: If the file is damaged, or it is not clear which channel shows the nuclei.
    """
    try:
        if volume.is_large:
            return VolumePicture(volume, t, planes, channel, name)
        with as_damage(volume.where):
            pixels = largest(lambda z: volume.read(t, z, volume.whole), planes)
            found = volume.shown(pixels)
        picture = array_picture(found, channel, volume.where, name, volume.pixel_size)
    except BaseException:
        volume.close()
        raise
    volume.close()
    return picture


def array_picture(
    planes: Planes, channel: int | str | None, where: str, name: str, pixel_size: float | None
) -> ArrayPicture:
    """A picture of pixels in memory, as `nucleist.data.formats.images.read_image` gives them.

    Args:
        planes: Its channels.
        channel: See `nucleist.data.formats.channels.Choice`.
        where: The file, for messages.
        name: Of the picture.
        pixel_size: Width of a pixel, micrometres.

    Raises:
        UserError: If it is not clear which channel shows the nuclei.
    """
    pixels = to_pixels(planes, channel, where)
    if planes.colors and channel is None and (pixels == pixels[..., :1]).all():
        return ArrayPicture(pixels, name, pixels[..., :1], pixel_size=pixel_size)  # no colours
    channels = planes.pixels if planes.pixels.ndim == 3 else planes.pixels[..., None]
    return ArrayPicture(pixels, name, channels, names_of(planes), pixel_size)


def names_of(planes: Planes) -> tuple[str, ...]:
    """Names of the channels, one each; `""` where one has none."""
    count = planes.pixels.shape[2] if planes.pixels.ndim == 3 else 1
    if planes.colors and count == 3 and not any(planes.names):
        return COLORS
    return tuple(planes.names) or ("",) * count


class VolumePicture(Picture):
    """A picture of which windows are read from an open file.

    What `read_image` judges by all pixels (which channel has content, which extra sample is
    constant) is judged by a sample: 25 squares of 128 px.
    """

    def __init__(
        self,
        volume: Volume,
        t: int,
        planes: Sequence[int],
        channel: int | str | None,
        name: str,
    ) -> None:
        """Judge a sample; see `picture_of`."""
        self.name, self.pixel_size = name, volume.pixel_size
        self.height, self.width = volume.axes.height, volume.axes.width
        self._volume, self._t, self._planes = volume, t, planes
        with as_damage(volume.where):
            sample = self._sample()
            volume.settle(sample)
            found = volume.shown(sample)
        if found.pixels.dtype.kind not in "buif":
            raise UserError(
                f"{volume.where}: {found.pixels.dtype} pixels; save it as 8 or 16 bits or float"
            )
        self._channel = channel_of(found, channel, volume.where)
        self._no_colors = found.colors and channel is None and self._channel is not None
        self.channels = ("",) if self._no_colors else names_of(found)
        self.dtype = _type(found.pixels.dtype)

    def read(self, window: Window) -> np.ndarray:
        """See `Picture.read`."""
        own = self._channel if self._volume.separate else None
        pixels = self._shown(window, own)
        if self._channel is not None and own is None:
            pixels = pixels[..., self._channel : self._channel + 1]
        pixels = pixels[..., :3]
        if pixels.dtype.kind == "b":
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if self.dtype == np.float32 and not np.isfinite(pixels).all():
            raise UserError(f"{self.name}: pixels that are not finite; replace NaN and infinity")
        shape = (*pixels.shape[:2], 3)
        return np.array(np.broadcast_to(pixels, shape), dtype=self.dtype, order="C")

    def read_channels(self, window: Window) -> np.ndarray:
        """See `Picture.read_channels`."""
        pixels = self._shown(window, None)
        if self._no_colors and self._channel is not None:
            pixels = pixels[..., self._channel : self._channel + 1]
        return np.ascontiguousarray(pixels)

    def close(self) -> None:
        """See `Picture.close`."""
        self._volume.close()

    def _shown(self, window: Window, channel: int | None) -> np.ndarray:
        with as_damage(self.name):
            pixels = self._volume.shown(self._stored(window, channel)).pixels
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def _stored(self, window: Window, channel: int | None = None) -> np.ndarray:
        """Pixels of a window, the largest over the planes."""
        read = self._volume.read
        return largest(lambda z: read(self._t, z, window, channel), self._planes)

    def _sample(self) -> np.ndarray:
        """Squares of the plane beneath each other, `(n, m)` or `(n, m, S)` as stored."""
        tops, lefts = (_starts(side) for side in (self.height, self.width))
        high, wide = min(_SIDE, self.height), min(_SIDE, self.width)
        windows = [Window(y, x, y + high, x + wide) for y in tops for x in lefts]
        return np.concatenate([self._stored(window) for window in windows])


def _starts(side: int) -> list[int]:
    """Where the squares of a sample begin, spread evenly over a side."""
    last = max(0, side - _SIDE)
    middles = ((2 * i + 1) * side // (2 * _GRID) for i in range(_GRID))
    return sorted({min(max(0, middle - _SIDE // 2), last) for middle in middles})


def _type(stored: np.dtype) -> np.dtype:
    """What `Picture.read` gives: one type for all windows, whatever their values."""
    if stored.kind == "b":
        return np.dtype(np.uint8)
    return stored.newbyteorder("=") if stored in (np.uint8, np.uint16) else np.dtype(np.float32)


class OpenedLater(Picture):
    """A picture that is opened when it is first looked at, and again after it was closed.

    Attributes:
        suffix: See `Picture`.
    """

    def __init__(self, name: str, suffix: str, opening: Callable[[], Picture]) -> None:
        """Promise a picture.

        Args:
            name: For messages.
            suffix: End of the names of its results.
            opening: Function without arguments that opens the picture.
        """
        self.name, self.suffix = name, suffix
        self._opening = opening
        self._picture: Picture | None = None

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        return getattr(self._opened, key)  # height, width, dtype, channels, pixel_size

    @property
    def _opened(self) -> Picture:
        picture = self._picture or self._opening()
        self._picture = picture
        return picture

    def read(self, window: Window) -> np.ndarray:
        """See `Picture.read`."""
        return self._opened.read(window)

    def read_channels(self, window: Window) -> np.ndarray:
        """See `Picture.read_channels`."""
        return self._opened.read_channels(window)

    def close(self) -> None:
        """See `Picture.close`."""
        if self._picture is not None:
            self._picture.close()
        self._picture = None
