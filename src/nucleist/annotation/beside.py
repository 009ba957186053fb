"""The file beside an image: read, written whole, old versions kept, others' writing noticed."""

import itertools
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nucleist.annotation.log import write_synced
from nucleist.annotation.store import Stored, from_geojson, to_geojson
from nucleist.annotation.things import Thing
from nucleist.types import UserError

VERSIONS = 10
"""Old versions of the file that are kept."""

SPACING = 600
"""Least time between two of them, seconds."""


class Beside:
    """The GeoJSON of an image.

    Args:
        file: Its path.
        versions: Folder of its old versions.
        size: Height and width of the image, pixels.
        image: Hash of the image.
    """

    def __init__(self, file: Path, versions: Path, size: tuple[int, int], image: str):
        self._file, self._versions, self._size, self._image = file, versions, size, image
        self._mark: tuple[int, int] | None = None  # size and time of the file as it is known
        self._kept_at = -math.inf  # when an old version was last kept

    def read(self, known: Mapping[str, Thing] | None = None) -> Stored | None:
        """What it holds; None if there is none.

        Args:
            known: See `from_geojson`.

        Raises:
            UserError: If it is damaged or cannot be read.
        """
        try:
            mark = mark_of(self._file)
            data = self._file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self._file}: {error.strerror}; make it readable") from error
        stored = from_geojson(data, str(self._file), known)
        self._mark = mark
        return stored

    def write(self, things: Mapping[str, Thing], revision: int) -> None:
        """Replace it.

        Raises:
            UserError: If that is not possible.
        """
        data = to_geojson(things.values(), revision, self._image, self._size)
        write_synced(self._file, data)
        self._mark = mark_of(self._file)

    def is_foreign(self) -> bool:
        """Whether another program wrote it since it was read or written here."""
        return self._file.exists() and mark_of(self._file) != self._mark

    def keep_version(self, revision: int) -> None:
        """Put it as it is now among the old versions, if the last was long ago; the oldest go.

        Args:
            revision: That it holds.
        """
        if time.monotonic() < self._kept_at + SPACING:
            return
        self._kept_at = time.monotonic()
        with suppress(FileNotFoundError):
            write_synced(self._versions / f"{revision:08}.geojson", self._file.read_bytes())
        old = sorted(self._versions.glob("*.geojson"))
        for path in itertools.islice(old, max(len(old) - VERSIONS, 0)):
            path.unlink(missing_ok=True)


def mark_of(file: Path) -> tuple[int, int] | None:
    """Size and time of a file, by which it is seen that somebody wrote it; None if not there."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
