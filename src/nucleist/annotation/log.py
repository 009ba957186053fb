"""The log of a picture: one line a command, on the disk before it is acknowledged.

A line that a crash cut short was never acknowledged: it is dropped when the log is opened.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nucleist.files import replacing

Line = Mapping[str, Any]


class Log:
    """Lines of JSON in a file that only grows, until it is trimmed.

    Args:
        path: The file; it is made with the first line.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole lines. What follows the last of them is cut off.

        Raises:
            OSError: If the file is there and cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        lines: list[dict[str, Any]] = []
        good = 0
        for raw in data.splitlines(keepends=True):
            try:
                line = json.loads(raw)
            except ValueError:
                break
            if not raw.endswith(b"\n") or not isinstance(line, dict):
                break
            lines.append(line)
            good += len(raw)
        if good < len(data):
            with self.path.open("r+b") as file:
                file.truncate(good)
        return lines

    def append(self, line: Line) -> None:
        """Add a line; when this returns it is on the disk.

        Raises:
            OSError: If it is not. The file is then as it was before, as far as that is possible.
        """
        raw = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        new = not self.path.exists()
        if new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: closing a buffered file tries again to write what failed.
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_all(file.fileno(), raw)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), before)
                raise
        if new:
            _sync_folder(self.path.parent)

    def keep(self, lines: Sequence[Line]) -> None:
        """Replace all lines by some, whole or not at all.

        Raises:
            UserError: If the file cannot be written.
        """
        whole = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        write_synced(self.path, whole.encode())


def write_synced(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all; when this returns it is on the disk.

    Raises:
        UserError: If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """The name of a new file is in its folder, which is written apart; Windows has no such call."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
