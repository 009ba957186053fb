"""An image of which windows are read: a file of any size, or an array."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from nucleist.types import Window


class Picture(ABC):
    """One plane of an image, all that is known about it, and its pixels by window.

    What a file holds besides (other planes, other times) are further pictures. Use it as a context
    manager, so that files are closed.

    Attributes:
        name: Where it is from, for messages and for the names of results: `a.tif`, `a.tif z=3`.
        height: Pixels.
        width: Pixels.
        dtype: `uint8`, `uint16` or `float32`: of `read`.
        channels: Names of the channels of `read_channels`, in their order; `""` if one has none.
        pixel_size: Width of a pixel in micrometres; None where the file does not say.
        suffix: End of the names of its results, where a file has several pictures: `_t2_z3`.
    """

    name: str
    suffix: str = ""
    height: int
    width: int
    dtype: np.dtype
    channels: Sequence[str]
    pixel_size: float | None

    @abstractmethod
    def read(self, window: Window) -> np.ndarray:
        """What a net looks at: the chosen channel, or colours.

        Args:
            window: Inside the picture.

        Returns:
            `(h, w, 3)` of `dtype`; gray is repeated.

        Raises:
            UserError: If the file is damaged there.
        """

    @abstractmethod
    def read_channels(self, window: Window) -> np.ndarray:
        """What is measured: every channel of the plane.

        Args:
            window: Inside the picture.

        Returns:
            `(h, w, C)` of the type of the file, without alpha.

        Raises:
            UserError: If the file is damaged there.
        """

    def close(self) -> None:  # noqa: B027 - what is in memory has nothing to close
        """Close the file; nothing can be read afterwards."""

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, self.height, self.width)

    def __enter__(self) -> Self:
        """The picture itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


class ArrayPicture(Picture):
    """A picture whose pixels are in memory, or in a memory map."""

    def __init__(
        self,
        pixels: np.ndarray,
        name: str = "array",
        channels: np.ndarray | None = None,
        names: Sequence[str] = (),
        pixel_size: float | None = None,
    ) -> None:
        """Wrap an image.

        Args:
            pixels: `(H, W, 3)` `uint8`, `uint16` or `float32`.
            name: For messages.
            channels: `(H, W, C)`, what is measured; None: the pixels, once if they are gray.
            names: Of the channels; empty: none has a name.
            pixel_size: Width of a pixel, micrometres.
        """
        self.name, self.pixel_size, self.dtype = name, pixel_size, pixels.dtype
        self.height, self.width = pixels.shape[:2]
        self._pixels = pixels
        if channels is None:
            gray = bool((pixels == pixels[..., :1]).all())
            channels = pixels[..., :1] if gray else pixels
        self._channels = channels
        self.channels = tuple(names) or ("",) * channels.shape[2]

    def read(self, window: Window) -> np.ndarray:
        """See `Picture.read`."""
        return np.ascontiguousarray(self._pixels[window.slices])

    def read_channels(self, window: Window) -> np.ndarray:
        """See `Picture.read_channels`."""
        return np.ascontiguousarray(self._channels[window.slices])
