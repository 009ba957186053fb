"""One read-only view of a data set's files, in a folder or in a .zip read in place.

Published sets come as archives of up to tens of thousands of members. They are read where they
lie: nothing is unpacked, so nothing can be written outside a folder, and the index is built once
a process. Archives are not trusted: one with a name that leads outside it is refused as a whole,
and a member that would unpack to an absurd size is not read.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from nucleist.types import UserError

MAX_BYTES = 2 * 1024**3
"""Largest file or archive member that is read, unpacked size in bytes."""

MAX_RATIO, RATIO_FROM_BYTES = 500, 256 * 1024**2
"""Members above 256 MiB may not unpack to more than 500 times their packed size. Small members
may, because a blank uncompressed TIFF shrinks a thousandfold and does no harm."""

_TEXTS = {"", ".md", ".txt", ".pdf", ".html", ".csv", ".sha256", ".md5", ".bib"}  # not data


class FileTree:
    """The files below a folder or inside a `.zip`, by relative POSIX path.

    A folder that holds one archive and no images is taken for that archive. Hidden files and
    `__MACOSX` are left out. Objects are cheap to pickle, and an archive is opened anew in each
    process, so they may be used in the workers of a data loader.

    Args:
        root: Folder or `.zip`.
        dataset: Name of the data set, for the remedy in messages.
        max_bytes: Largest file that `read` returns, unpacked, in bytes.
    """

    def __init__(self, root: str | Path, dataset: str = "", max_bytes: int = MAX_BYTES):
        self.root = Path(root).expanduser()
        self.dataset = dataset
        self.max_bytes = max_bytes
        self._clear()

    def _clear(self) -> None:
        self._paths: dict[str, Path] | None = None  # of a folder
        self._members: dict[str, zipfile.ZipInfo] | None = None  # of an archive
        self._archive: Path | None = None
        self._zip: zipfile.ZipFile | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "dataset": self.dataset, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear()

    def names(self, suffixes: Iterable[str] | None = None) -> list[str]:
        """All files, sorted; only those with one of `suffixes` (`".png"`; any case) if given.

        Raises:
            UserError: If the root is missing, or an archive is damaged or unsafe.
        """
        names = self._index()
        if suffixes is None:
            return sorted(names)
        wanted = {suffix.lower() for suffix in suffixes}
        return sorted(n for n in names if PurePosixPath(n).suffix.lower() in wanted)

    def top(self) -> str:
        """The folder in which an archive has all its files, `"set/"`; empty if there is none."""
        tops = {name.partition("/")[:2] for name in self._index()}
        if self._archive is None or len(tops) != 1:
            return ""
        folder, slash = tops.pop()
        return folder + slash if slash else ""

    def match(self, pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
        """The files whose path ends in `pattern`, whole components only, sorted by path.

        A data set is thus found however many folders were packed around it.

        Yields:
            Path and match, groups as in `pattern`.
        """
        regex = re.compile(rf"(?:.*/)?(?:{pattern})")
        for name in self.names():
            if found := regex.fullmatch(name):
                yield name, found

    def describe(self, name: str = "") -> str:
        """Where a file is, for messages: its path, or `archive.zip:member`."""
        self._index()
        base = str(self._archive or self.root)
        if not name:
            return base
        return f"{base}:{name}" if self._archive else str(self.root / name)

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            UserError: If it is not there, cannot be read, is damaged or too large.
        """
        return self._read(name, None)

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes of one file, or all of a shorter one. Raises as `read`."""
        return self._read(name, count)

    def _read(self, name: str, count: int | None) -> bytes:
        index = self._index()
        where = self.describe(name)
        if name not in index:
            raise UserError(f"{where}: no such file; check that the data set is complete")
        try:
            if self._members is not None:
                self._check_size(where, self._members[name])
                with self._open_zip().open(self._members[name]) as member:
                    return member.read(-1 if count is None else count)
            path = self.root / name
            if count is None and path.stat().st_size > self.max_bytes:
                raise UserError(f"{where}: {path.stat().st_size} bytes, {self._limit()}")
            with path.open("rb") as file:
                return file.read(-1 if count is None else count)
        except (OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
            raise UserError(f"{where}: cannot be read ({error}); {self._remedy()}") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{where}: damaged ({error}); {self._remedy()}") from error

    def _check_size(self, where: str, info: zipfile.ZipInfo) -> None:
        if info.file_size > self.max_bytes:
            raise UserError(f"{where}: unpacks to {info.file_size} bytes, {self._limit()}")
        ratio = info.file_size // max(info.compress_size, 1)
        if info.file_size > RATIO_FROM_BYTES and ratio > MAX_RATIO:
            raise UserError(
                f"{where}: unpacks to {ratio} times its size, over the limit of {MAX_RATIO}; "
                "unpack the archive yourself if you trust it and set data.source.root to the folder"
            )

    def _limit(self) -> str:
        return f"over the limit of {self.max_bytes}; split the file or store it compressed"

    def _remedy(self) -> str:
        if not self.dataset:
            return "check the path or copy the file again"
        return f"copy it again or run `nucleist data download {self.dataset}`"

    def _index(self) -> dict[str, Any]:
        if self._members is not None:
            return self._members
        if self._paths is not None:
            return self._paths
        if not self.root.exists():
            download = f" or run `nucleist data download {self.dataset}`" if self.dataset else ""
            raise UserError(
                f"{self.root}: no such folder or archive; set data.source.root=...{download}"
            )
        if self.root.is_file():
            return self._index_archive(self.root)
        paths = {path.relative_to(self.root).as_posix(): path for path in _walk(self.root)}
        archives = [path for path in paths.values() if path.suffix.lower() == ".zip"]
        loose = [p for p in paths.values() if p.suffix.lower() not in _TEXTS | {".zip"}]
        if archives and not loose:
            if len(archives) > 1:
                listed = ", ".join(path.name for path in archives[:4])
                raise UserError(
                    f"{self.root}: {len(archives)} archives ({listed}); set data.source.root to one"
                )
            return self._index_archive(archives[0])
        self._paths = paths
        return paths

    def _index_archive(self, path: Path) -> dict[str, Any]:
        self._archive = path
        members = {}
        for info in self._open_zip().infolist():
            name = info.filename.replace("\\", "/")
            if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
                raise UserError(
                    f"{path}: member '{info.filename}' lies outside the archive; the archive is "
                    f"not safe, get it anew from its publisher"
                )
            if not info.is_dir() and _visible(name):
                members[name] = info
        self._members = members
        return members

    def _open_zip(self) -> zipfile.ZipFile:
        # A handle that crossed a fork shares its file position with the parent's.
        if self._zip is None or self._pid != os.getpid():
            assert self._archive is not None
            try:
                self._zip = zipfile.ZipFile(self._archive)
            except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
                raise UserError(
                    f"{self._archive}: not a complete .zip ({error}); {self._remedy()}"
                ) from error
            self._pid = os.getpid()
        return self._zip


def _visible(name: str) -> bool:
    parts = name.split("/")
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _walk(root: Path) -> Iterator[Path]:
    """Files below `root`, through links to folders but never in a circle."""
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if _visible(name))
        yield from (Path(folder) / name for name in sorted(files) if _visible(name))
