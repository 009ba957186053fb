"""A whole slide that OpenSlide reads: MRXS, NDPI of any size, SCN, BIF, VMS and others."""

from pathlib import Path
from typing import Any

import numpy as np

from nucleist.data.formats.axes import Axes
from nucleist.data.formats.channels import Planes
from nucleist.data.formats.pixel_size import in_micrometres
from nucleist.data.pictures.extras import needed
from nucleist.data.pictures.volume import Volume
from nucleist.types import UserError, Window

SUFFIXES = {".mrxs", ".vms", ".vmu", ".scn", ".bif", ".svslide", ".ndpi", ".svs"}
"""Of files that OpenSlide reads; of these tifffile reads most .svs and .ndpi, and some others."""

ONLY = {".mrxs", ".vms", ".vmu"}
"""Of files that nothing else reads."""


class SlideVolume(Volume):
    """An open slide at its full resolution; what was not scanned has the colour of the glass."""

    def __init__(self, path: Path):
        """Open a slide.

        Raises:
            UserError: If OpenSlide is not installed, or cannot open it.
        """
        self.where = str(path)
        openslide: Any = needed("openslide", "wsi", "OpenSlide", path)
        try:
            self._slide = openslide.OpenSlide(str(path))
        except (openslide.OpenSlideError, OSError) as error:
            raise UserError(
                f"{path}: OpenSlide cannot open it ({error}); copy all files of the slide again"
            ) from error
        width, height = self._slide.dimensions
        self.axes = Axes((height, width, 3), 0, 1, 2)
        self.dtype, self.shape = np.dtype(np.uint8), f"axes YXS, {height} x {width} x 3"
        said = self._slide.properties
        self.pixel_size = in_micrometres(said.get(openslide.PROPERTY_NAME_MPP_X, ""), "um")
        glass = said.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
        self._glass = np.frombuffer(bytes.fromhex(glass), np.uint8).astype(np.float32)

    def read(self, t: int, z: int, window: Window, channel: int | None = None) -> np.ndarray:
        """See `Volume.read`."""
        size = window.x1 - window.x0, window.y1 - window.y0
        pixels = np.asarray(self._slide.read_region((window.x0, window.y0), 0, size))
        opaque = pixels[..., 3:]
        if (opaque == 255).all():
            return pixels[..., :3]
        share = opaque.astype(np.float32) / 255
        mixed = pixels[..., :3] * share + self._glass * (1 - share)
        return mixed.round().astype(np.uint8)

    def shown(self, pixels: np.ndarray) -> Planes:
        """See `Volume.shown`."""
        return Planes(pixels, True, self.shape)

    def close(self) -> None:
        """See `Volume.close`."""
        self._slide.close()
