"""A TIFF of which windows are read: tiles through zarr, uncompressed pixels as they lie there.

Compressed strips have the width of the image, so a window of them costs many times its pixels;
they are decoded once, into a temporary file.
"""

import mmap
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from nucleist.data.formats.axes import axes_of
from nucleist.data.formats.channels import CLEAR, Choice, Planes
from nucleist.data.formats.pixel_size import of_tiff
from nucleist.data.formats.tiff import extra_samples, shown
from nucleist.data.formats.tiff_header import check_header
from nucleist.data.formats.tiff_series import image_of, opened
from nucleist.data.pictures.mapped import MappedArray, TemporaryArray
from nucleist.data.pictures.volume import Volume
from nucleist.types import Progress, Window

MAX_PIXELS = 10**12
"""Images that claim more pixels (height times width) are refused: a million by a million."""

_SLAB = 1 << 24
"""About so many bytes of strips are decoded at a time."""


class TiffVolume(Volume):
    """An open TIFF, BigTIFF, OME-TIFF, ImageJ hyperstack, or slide that tifffile understands."""

    def __init__(self, path: Path, choice: Choice = CLEAR, progress: Progress | None = None):
        """Open a file and read its metadata.

        Args:
            path: The file.
            choice: Whether a time is chosen.
            progress: Gets a line where strips are decoded.

        Raises:
            UserError: If it holds several images, or colours that are not understood.
            Exception: Whatever tifffile raises on damaged files.
        """
        self.where, self._path = str(path), path
        self._progress, self._lock = progress or Progress(), Lock()
        self._decoded: dict[tuple[int, int], TemporaryArray] = {}
        self._extra: list[int] | None = None
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check_header(data, self.where, MAX_PIXELS)
        self._tiff = opened(path)
        try:
            self._describe(choice)
        except BaseException:
            self._tiff.close()
            raise

    def _describe(self, choice: Choice) -> None:
        self._image = image_of(self._path, self._tiff, self.where, MAX_PIXELS)
        series, page = self._image.series, self._image.page
        self.shape, self.dtype = self._image.shape, np.dtype(series.dtype)
        self.axes = axes_of(series.axes, series.shape, self.where, self.shape, choice.t is not None)
        self.pixel_size = of_tiff(self._image)
        self.separate = self.axes.channels > 1 and page.samplesperpixel == 1
        self._array = self._open_array()

    def _open_array(self) -> Any:
        series = self._image.series
        if series.dataoffset is not None and series.dtype != bool:
            dtype = np.dtype(series.dtype).newbyteorder(self._image.tiff.byteorder)
            path = Path(self._image.tiff.filehandle.path)
            return MappedArray(path, dtype, tuple(series.shape), series.dataoffset)
        if not self.is_large and self.axes.counts == (1, 1):
            return series.asarray()
        import zarr  # takes a while to import, and small images need it not

        return zarr.open_array(series.aszarr(level=0), mode="r")

    def read(self, t: int, z: int, window: Window, channel: int | None = None) -> np.ndarray:
        """See `Volume.read`."""
        if self.is_large and self._in_strips:
            pixels = self._decoded_once(t, z)[window.slices]
            return pixels if channel is None else pixels[..., channel]
        return self.axes.take(self._array, t, z, window, channel)

    def settle(self, sample: np.ndarray) -> None:
        """See `Volume.settle`."""
        self._extra = extra_samples(sample, self._image.page)

    def shown(self, pixels: np.ndarray) -> Planes:
        """See `Volume.shown`."""
        extra = self._extra if pixels.ndim == 3 else []
        if extra is None:
            extra = extra_samples(pixels, self._image.page)
        return shown(pixels, self._image, extra)

    def close(self) -> None:
        """See `Volume.close`."""
        for array in self._decoded.values():
            array.close()
        self._decoded.clear()
        self._image.tiff.close()
        self._tiff.close()

    @property
    def _in_strips(self) -> bool:
        """Whether each compressed part of the file is as wide as the image."""
        chunks = getattr(self._array, "chunks", None)
        return chunks is not None and chunks[self.axes.x] >= self.axes.width

    def _decoded_once(self, t: int, z: int) -> TemporaryArray:
        """All pixels of a plane, decoded when they are first needed."""
        with self._lock:
            if (t, z) not in self._decoded:
                self._decoded[t, z] = self._decode(t, z)
            return self._decoded[t, z]

    def _decode(self, t: int, z: int) -> TemporaryArray:
        axes = self.axes
        shape = (axes.height, axes.width) + ((axes.channels,) if axes.channels > 1 else ())
        array = TemporaryArray(self.dtype, shape, self.where)
        strip = self._array.chunks[axes.y]
        row = prod(shape[1:]) * self.dtype.itemsize
        rows = strip * max(1, _SLAB // (row * strip))
        count = -(-axes.height // strip)
        strips = "one compressed strip is" if count == 1 else f"{count} compressed strips are"
        self._progress.note(
            f"{self.where}: {strips} decoded once into a temporary file of "
            f"{row * axes.height / 1e9:.1f} GB; a tiled TIFF needs none"
        )
        try:
            for top in range(0, axes.height, rows):
                window = Window(top, 0, min(top + rows, axes.height), axes.width)
                array.append(axes.take(self._array, t, z, window))
        except BaseException:
            array.close()
            raise
        return array
