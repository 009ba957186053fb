"""One picture: what lies on it, every command ever given to it, and its two files.

A command is written to the log and synced before it is acknowledged. Where the disk refuses, the
command is kept in memory, the answer says so, and `retry` writes it later. The GeoJSON beside the
image is written anew by `compact`, in one replacement, and the lines before it stay in the log for
undo.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleist.annotation.answer import (
    Answer,
    ConflictError,
    change_from_json,
    change_to_json,
    put_into,
)
from nucleist.annotation.beside import Beside
from nucleist.annotation.commands import Change, Stamp, change_of, inverse, is_whole
from nucleist.annotation.log import Log
from nucleist.annotation.store import Stored
from nucleist.annotation.things import Thing
from nucleist.types import UserError

REMEMBERED = 2000
"""Commands that can be undone after the file was written and the program restarted."""


class Picture:
    """The annotation of one image.

    Args:
        file: The GeoJSON beside the image.
        log: The log, in the folder of the project.
        versions: Folder of old versions of the file.
        size: Height and width of the image, pixels.
        image: Hash of the image.
        base: What lies on it if there is no file yet: labels of other formats.

    Raises:
        UserError: If a file is damaged or cannot be read.
    """

    def __init__(
        self,
        file: Path,
        log: Path,
        versions: Path,
        size: tuple[int, int],
        image: str,
        base: Callable[[], Mapping[str, Thing]] = dict,
    ):
        self.size, self.image = size, image
        self.lock = threading.RLock()
        self.problem = ""
        self._log = Log(log)
        self._lines = self._log.read()
        self._pending: list[dict[str, Any]] = []
        self._beside = Beside(file, versions, size, image)
        stored = self._beside.read()
        self.things = dict(base()) if stored is None else stored.things
        self._unwritten_base = stored is None and bool(self.things)
        self.written = 0 if stored is None else self._revision_of(stored)
        self.revision = self.written
        self._touched: dict[str, int] = {}  # revision by id
        self._undo: list[Change] = []
        self._redo: list[Change] = []
        self._keys: dict[str, Answer] = {}
        self._replay()

    def _revision_of(self, stored: Stored) -> int:
        """Of a file that another program wrote, one above all that is known: it is the newest.

        It is written at once as ours; the log is about another state, nothing of it can be undone.
        """
        if stored.revision is not None:
            return stored.revision
        revision = 1 + max((line["revision"] for line in self._lines), default=0)
        self._beside.write(stored.things, revision)
        if self._lines:
            self._log.keep([])
        self._lines = []
        return revision

    def _replay(self) -> None:
        for line in self._lines:
            change = change_from_json(line["change"])
            if line["revision"] > self.written:
                self.revision = line["revision"]
                self._put(change)
            self._remember(line["do"], change)
            if line.get("key"):
                self._keys[line["key"]] = Answer(line["revision"], True, "", change)

    def apply(
        self, command: Mapping[str, Any], who: str = "", seen: int | None = None, key: str = ""
    ) -> Answer:
        """Do a command, and write it down.

        Args:
            command: See `nucleist.annotation.commands`; or `{"do": "undo"}`, `{"do": "redo"}`.
            who: Who gives it.
            seen: The revision that this person saw; None does not ask.
            key: Names this command: given a second time, it is not done again.

        Returns:
            The change, and whether it is saved.

        Raises:
            UserError: If the command cannot be done.
            ConflictError: If what it is about was changed since the revision that was seen.
        """
        with self.lock:
            if key and key in self._keys:
                return replace(self._keys[key], saved=not self._pending, problem=self.problem)
            do = str(command.get("do"))
            change = self._change(do, command, who)
            self._check(do, change, seen)
            return self._record(do, change, who, key)

    def put(self, do: str, change: Change, who: str = "") -> Answer:
        """Record a change that was made elsewhere, as one command that can be undone."""
        with self.lock:
            return self._record(do, change, who, "")

    def stamp(self, who: str) -> Stamp:
        """Who, and when: now."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Stamp(who, when, self.size)

    def _change(self, do: str, command: Mapping[str, Any], who: str) -> Change:
        if do not in ("undo", "redo"):
            return change_of(self.things, command, self.stamp(who))
        stack = self._undo if do == "undo" else self._redo
        if not stack:
            raise UserError(f"nothing to {do}")
        return inverse(stack[-1])

    def _check(self, do: str, change: Change, seen: int | None) -> None:
        if seen is None:
            return
        newest = max((self._touched.get(own, 0) for own, _, _ in change), default=0)
        if newest > seen or (do in ("undo", "redo") and self.revision > seen):
            raise ConflictError("this was changed in another window; look, and do it again")

    def _record(self, do: str, change: Change, who: str, key: str) -> Answer:
        if not change:
            return Answer(self.revision, not self._pending, self.problem, [])
        self.revision += 1
        self._put(change)
        self._remember(do, change)
        line = {"revision": self.revision, "do": do, "who": who, "key": key}
        self._pending.append({**line, "change": change_to_json(change)})
        self.retry()
        answer = Answer(self.revision, not self._pending, self.problem, change)
        if key:
            self._keys[key] = answer
        return answer

    def retry(self) -> bool:
        """Write what is not on the disk yet; returns whether all is."""
        with self.lock:
            try:
                if self._pending and self._unwritten_base:
                    self._write_base()
                while self._pending:
                    self._log.append(self._pending[0])
                    self._lines.append(self._pending.pop(0))
                self.problem = ""
            except OSError as error:
                self.problem = f"{self._log.path}: {error.strerror}; free space, or allow writing"
            except UserError as error:
                self.problem = str(error)
            return not self._pending

    def _write_base(self) -> None:
        """Labels of other formats go into the file first: they may change, and the log needs them.

        They are the state before all that the log and memory hold.
        """
        self._beside.write(self._at(0), 0)
        self._unwritten_base = False

    def _at(self, revision: int) -> dict[str, Thing]:
        """What lay on the picture at an earlier revision."""
        found = dict(self.things)
        for line in reversed([*self._lines, *self._pending]):
            if line["revision"] > revision:
                put_into(found, inverse(change_from_json(line["change"])))
        return found

    def absorb(self, who: str = "") -> int:
        """Take over what another program wrote into the file; what was changed here too stays.

        Returns:
            Number of things that it changes.

        Raises:
            UserError: If the file is damaged.
        """
        with self.lock:
            if not self._beside.is_foreign():
                return 0
            before = self._at(self.written)
            stored = self._beside.read(before)
            after = {} if stored is None else stored.things
            change = [
                (own, before.get(own), after.get(own))
                for own in dict.fromkeys([*before, *after])
                if before.get(own) != after.get(own) and before.get(own) == self.things.get(own)
            ]
            self._record("import", change, who, "")
            return len(change)

    def _put(self, change: Change) -> None:
        put_into(self.things, change)
        self._touched |= {own: self.revision for own, _, _ in change}

    def _remember(self, do: str, change: Change) -> None:
        if do == "undo":
            self._redo.append(change)
            del self._undo[-1:]
        elif do == "redo":
            self._undo.append(change)
            del self._redo[-1:]
        else:
            self._undo.append(change)
            self._redo.clear()
        del self._undo[:-REMEMBERED]

    @property
    def can_undo(self) -> bool:
        """Whether there is a command to take back."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether one was taken back."""
        return bool(self._redo)

    @property
    def is_dirty(self) -> bool:
        """Whether the file beside the image is older than the log."""
        return self.revision > self.written

    @property
    def state(self) -> str:
        """`untouched`, `partial` or `complete`."""
        if is_whole(self.things.values(), self.size):
            return "complete"
        labels = any(one.is_label or one.kind == "region" for one in self.things.values())
        return "partial" if labels else "untouched"

    def compact(self) -> None:
        """Write the file beside the image, keep its old version, and trim the log.

        Raises:
            UserError: If that is not possible; nothing is lost then.
        """
        with self.lock:
            if not self.is_dirty or not self.retry():
                return
            self.absorb()
            self._beside.keep_version(self.written)
            self._beside.write(self.things, self.revision)
            self.written = self.revision
            if len(self._lines) > 2 * REMEMBERED:
                self._log.keep(self._lines[-REMEMBERED:])
                del self._lines[:-REMEMBERED]
