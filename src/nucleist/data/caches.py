"""Two caches that wrap a data set: converted files in a folder, and records in memory.

Reading through either gives exactly what the data set itself gives.
"""

import dataclasses
import hashlib
import inspect
import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.images import read_image, write_image
from nucleist.data.formats.label_maps import read_label_map, suffix_for, write_label_map
from nucleist.data.readers.wrapped import Wrapped
from nucleist.files import replacing
from nucleist.types import Complete, Record, Source, UserError, Window

FORMAT = 2
"""Increased whenever the meaning of a cached file changes; older entries are then ignored."""


class Prepared(Wrapped):
    """A data set converted once: a 16-bit label PNG and an image file for each record.

    Labels with ids above 65,535 become 32-bit TIFFs, images PNGs (gray ones with one channel)
    or, of `float32`, TIFFs. What an entry consists of is written last, with checksums, so
    that an entry that is damaged or was interrupted is converted anew. Processes may share a
    folder.

    Args:
        source: The data set.
        folder: Where the files go, in a subfolder named after the kind of data set and a hash
            of its settings and of its files' names, sizes and times: a changed setting or file
            gives a new one.
    """

    def __init__(self, source: Source, folder: str | Path):
        super().__init__(source)
        digest = hashlib.sha256(json.dumps([FORMAT, settings_of(source)]).encode()).hexdigest()
        self.folder = Path(folder) / f"{type(source).__name__.lower()}-{digest[:16]}"

    def read(self, image_id: str) -> Record:
        """Read one image from the folder, where it is put first if need be.

        Raises:
            UserError: As the data set's own, or if the folder cannot be written.
        """
        record = self._load(image_id)
        if record is None:
            record = self._source.read(image_id)
            self._store(record)
        return record

    def _load(self, image_id: str) -> Record | None:
        """The entry of an image; None if there is none that is whole."""
        try:
            line = self._path(image_id, ".entry").read_bytes()
            if int(line[:8], 16) != zlib.crc32(line[9:]):
                return None
            entry = json.loads(line[9:])
            image, labels = (self._checked(entry[kind]) for kind in ("image", "labels"))
            if entry["id"] != image_id:  # where file names a and A are the same
                return None
            return Record(
                image_id,
                read_image(image, entry["image"]["name"]),
                read_label_map(labels, entry["labels"]["name"]),
                tuple(entry["notes"]),
                _area(entry["complete"]),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, UserError):
            return None

    def _checked(self, part: Mapping[str, Any]) -> bytes:
        data = (self.folder / part["name"]).read_bytes()
        if zlib.crc32(data) != part["crc32"]:
            raise ValueError(f"{part['name']} is damaged")
        return data

    def _store(self, record: Record) -> None:
        image_path = write_image(self._path(record.id, ""), record.image)
        labels_path = self._path(record.id, ".labels" + suffix_for(record.labels))
        write_label_map(labels_path, record.labels)
        area = record.complete
        corners = area if isinstance(area, bool) else [list(map(int, window)) for window in area]
        entry: dict[str, Any] = {"id": record.id, "notes": record.notes, "complete": corners}
        for kind, path in (("image", image_path), ("labels", labels_path)):
            entry[kind] = {"name": path.name, "crc32": zlib.crc32(path.read_bytes())}
        line = json.dumps(entry).encode()
        with replacing(self._path(record.id, ".entry")) as temporary:
            temporary.write_bytes(b"%08x %s" % (zlib.crc32(line), line))

    def _path(self, image_id: str, suffix: str) -> Path:
        name = quote(image_id, safe="")
        if len(name) > 100:  # file systems take some 255 characters
            name = hashlib.sha256(image_id.encode()).hexdigest()
        return self.folder / (name + suffix)


class InMemory(Wrapped):
    """A data set whose records stay in memory once read, the last used ones if there is a limit.

    Records are handed out as they are, not copied: do not change their arrays.

    Args:
        source: The data set.
        max_bytes: Limit of the arrays kept, bytes; None to keep all of them.
    """

    def __init__(self, source: Source, max_bytes: int | None = None):
        super().__init__(source)
        self._max_bytes = max_bytes
        self._records: OrderedDict[str, Record] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # A process that is started anew reads for itself: sending pixels would cost more.
        return self.__dict__ | {"_records": OrderedDict()}

    def read(self, image_id: str) -> Record:
        """Read one image, from memory if it is there.

        Raises:
            UserError: As the data set's own.
        """
        record = self._records.get(image_id) or self._source.read(image_id)
        self._records[image_id] = record
        self._records.move_to_end(image_id)
        while self._max_bytes is not None and self.bytes > self._max_bytes:
            self._records.popitem(last=False)
        return record

    @property
    def bytes(self) -> int:
        """Size of the arrays in memory."""
        return sum(r.image.nbytes + r.labels.nbytes for r in self._records.values())


def settings_of(source: object) -> dict[str, Any]:
    """What decides which records a data set gives: its arguments and the state of its files.

    Arguments are found as attributes of the same name, with or without `_` before it; what a
    data set keeps in memory besides does not count.

    Args:
        source: A data set that keeps its arguments, and its files as a `FileTree`.

    Returns:
        Of plain values, the same in every process.
    """
    values: dict[str, Any] = {"class": f"{type(source).__module__}.{type(source).__qualname__}"}
    if dataclasses.is_dataclass(source):
        names = [field.name for field in dataclasses.fields(source) if field.init]
    else:
        names = list(inspect.signature(type(source)).parameters)
    attributes = getattr(source, "__dict__", {})
    for name in names:
        for attribute in (name, f"_{name}"):
            if attribute in attributes:
                values[name] = _plain(attributes[attribute])
    for name, value in sorted(attributes.items()):
        if isinstance(value, FileTree):
            values[name] = _state_of(value)
        elif isinstance(value, Source):
            values[name] = settings_of(value)
    return values


def _area(value: bool | list[list[int]]) -> Complete:
    return value if isinstance(value, bool) else tuple(Window(*corners) for corners in value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in sorted(value.items())}
    if isinstance(value, Sequence):  # the lists of OmegaConf are not Python lists
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else settings_of(value)


def _state_of(tree: FileTree) -> list[str]:
    """Where the files are, and a hash of their names, sizes and times."""
    root = Path(tree.describe())
    try:
        files = [root] if root.is_file() else [root / name for name in tree.names()]
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error}); check the path") from error
    return [str(root.absolute()), hashlib.sha256(repr(states).encode()).hexdigest()]
