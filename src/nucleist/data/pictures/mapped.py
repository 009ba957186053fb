"""Pixels that lie in a file as they are: mapped for a window, and forgotten again."""

import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.types import UserError


class MappedArray:
    """An array in a file, of which parts are copied.

    Each part is mapped by itself: what is mapped counts as memory of the process until it is
    forgotten, and a slide would fill it.

    Attributes:
        path: The file.
        dtype: Of the values in the file.
        shape: Of the array.
        offset: Bytes before it.
    """

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...], offset: int = 0) -> None:
        self.path, self.dtype, self.shape, self.offset = path, np.dtype(dtype), shape, offset

    def __getitem__(self, index: Any) -> np.ndarray:
        """A copy of a part, in the byte order of this machine."""
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(mapped[index], self.dtype.newbyteorder("="))


class TemporaryArray(MappedArray):
    """An array in a temporary file, written from its beginning to its end."""

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...], where: str) -> None:
        """Make an empty file.

        Args:
            dtype: Of the values.
            shape: Of the array.
            where: What it is decoded from, for messages.
        """
        self._file = tempfile.NamedTemporaryFile(prefix="nucleist_", suffix=".raw")
        self._where = where
        super().__init__(Path(self._file.name), dtype.newbyteorder("="), shape)

    def append(self, part: np.ndarray) -> None:
        """Write the next values.

        Raises:
            UserError: If the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(part, self.dtype).data)
            self._file.flush()
        except OSError as error:
            size = prod(self.shape) * self.dtype.itemsize / 1e9
            raise UserError(
                f"{self._where}: its {size:.1f} GB of decoded pixels do not fit into "
                f"{tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a folder on a larger "
                "disk, or save the image as a tiled TIFF"
            ) from error

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
