"""Files of microscopes that bioio and its plugins read: CZI, LIF, ND2 and others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.data.formats.axes import axes_of
from nucleist.data.formats.channels import CLEAR, Choice, Planes
from nucleist.data.formats.pixel_size import in_micrometres
from nucleist.data.pictures.extras import needed
from nucleist.data.pictures.volume import Volume
from nucleist.types import UserError, Window

SUFFIXES = {".czi", ".lif", ".nd2", ".dv", ".r3d", ".ims", ".oib", ".oif", ".vsi", ".zvi", ".sldy"}
"""Of files that some plugin of bioio reads."""

_NAME = 40
"""Longest name of a channel."""


class MicroscopeVolume(Volume):
    """One image of a file that bioio reads."""

    separate = True

    def __init__(self, path: Path, scene: int = 0, choice: Choice = CLEAR):
        """Open the file.

        Args:
            path: The file.
            scene: Number of its image, from 0.
            choice: Whether a time is chosen.

        Raises:
            UserError: If bioio or its plugin is not installed.
            Exception: Whatever bioio raises on damaged files.
        """
        self.where = str(path)
        self._image = _opened(path)
        self._image.set_scene(scene)
        letters = self._image.dims.order
        sizes = tuple(self._image.shape)
        self.shape = f"axes {letters}, {' x '.join(map(str, sizes))}"
        self.axes = axes_of(letters, sizes, self.where, self.shape, choice.t is not None)
        self._array = self._image.dask_data
        self.dtype = np.dtype(self._image.dtype)
        width = self._image.physical_pixel_sizes.X
        known = width is not None and width != 1  # what plugins say that do not know it
        self.pixel_size = in_micrometres(width, "um") if known else None
        self._colors = "S" in letters
        self._names = _names(self._image, self.axes.channels)
        self.separate = not self._colors

    def read(self, t: int, z: int, window: Window, channel: int | None = None) -> np.ndarray:
        """See `Volume.read`."""
        return self.axes.take(self._array, t, z, window, channel)

    def shown(self, pixels: np.ndarray) -> Planes:
        """See `Volume.shown`."""
        if self._colors and pixels.ndim == 3:
            return Planes(pixels[..., :3], True, self.shape)
        return Planes(pixels, False, self.shape, self._names)


def scenes_of(path: Path) -> int:
    """Number of images in a file.

    Raises:
        UserError: If bioio or its plugin is not installed.
    """
    return len(_opened(path).scenes)


def _opened(path: Path) -> Any:
    bioio = needed("bioio", "bioio", "bioio", path)
    errors = needed("bioio_base.exceptions", "bioio", "bioio", path)
    try:
        return bioio.BioImage(path)
    except errors.UnsupportedFileFormatError as error:
        kind = path.suffix.lower().removeprefix(".")
        raise UserError(
            f"{path}: no installed plugin of bioio reads it; copy the file again if it is damaged, "
            f"pip install bioio-{kind} or bioio-bioformats, or save the image as OME-TIFF"
        ) from error


def _names(image: Any, count: int) -> Sequence[str]:
    """Names of the channels; empty if there are not as many."""
    names = [str(name)[:_NAME] for name in image.channel_names or ()]
    return names if len(names) == count else ()
