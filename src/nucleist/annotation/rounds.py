"""Rounds of training on a session: started in a process of their own, watched, collected."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nucleist.annotation.session import Session
from nucleist.annotation.worker import JOB, PROPOSALS, STATUS
from nucleist.files import is_held, read_json, read_json_if_there, write_json
from nucleist.inference.load import checkpoint_of
from nucleist.types import UserError

FINAL = ("done", "failed", "cancelled", "collected")
_START = 60.0
"""Seconds within which a process that was started has come so far that it is seen."""

_GRACE = 5.0
"""Seconds between asking a training to end and ending it."""


class Rounds:
    """The rounds of a session, numbered from 1.

    Args:
        session: Whose labels are trained on.
    """

    def __init__(self, session: Session):
        self._session = session
        self._folder = (session.project / "rounds").resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def number(self) -> int:
        """Of the last round; 0 before the first."""
        names = [path.name for path in self._folder.glob("*") if path.name.isdecimal()]
        return max(map(int, names), default=0)

    def start(self, overrides: Sequence[str] = (), anew: bool = False) -> int:
        """Begin a round on what is labelled now.

        Args:
            overrides: Settings of `nucleist train`.
            anew: Not from the weights of the last round.

        Returns:
            Its number.

        Raises:
            UserError: If one is running, nothing is labelled, or the labels cannot be written.
        """
        if self.is_running():
            raise UserError("a training is running; wait for it, or cancel it")
        if not any(entry.labelled for entry in self._session.entries()):
            raise UserError("no nucleus is outlined yet; outline some first")
        if failed := self._session.compact() or self._session.problems():
            raise UserError(failed[0])
        weights = None if anew else self.weights()
        return self._start({"weights": weights and str(weights), "overrides": list(overrides)})

    def propose_with(self, model: str | Path) -> int:
        """Begin a round that trains nothing: a given model proposes.

        Args:
            model: A run folder or a checkpoint.

        Returns:
            Its number.

        Raises:
            UserError: If one is running, or there is no such model.
        """
        if self.is_running():
            raise UserError("a training is running; wait for it, or cancel it")
        return self._start({"model": str(checkpoint_of(model).resolve())})

    def _start(self, job: dict[str, Any]) -> int:
        number = self.number + 1
        folder = self._folder / str(number)
        folder.mkdir(parents=True)
        about = {
            "images": str(self._session.folder.resolve()),
            "pairs": [pair.image for pair in self._session.pairs],
            "channel": self._session.choice.channel,
            "z": self._session.choice.z,
        }
        write_json(folder / JOB, {**about, **job})
        write_json(folder / STATUS, {"phase": "starting", "started": time.time()})
        with (folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nucleist.annotation.worker", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it outlives the page, and is cancelled as a group
            )
        threading.Thread(target=self._process.wait, daemon=True).start()  # no zombie is left
        return number

    def weights(self) -> Path | None:
        """The checkpoint of the last round that was finished."""
        for number in range(self.number, 0, -1):
            found = self._status(number).get("run")
            path = Path(found or "") / "checkpoints" / "last.ckpt"
            if found and path.is_file():
                return path
        return None

    def is_running(self) -> bool:
        """Whether the last round is at work. One that has its result may still be tidying up."""
        number = self.number
        found = self._status(number) if number else {}
        if not number or found.get("phase") in FINAL:
            return False
        if self._process is not None:
            return self._process.poll() is None
        # Of a page that was restarted: the round's process holds its folder once it has begun.
        starting = found.get("phase") == "starting" and time.time() < found["started"] + _START
        return starting or is_held(self._folder / str(number))

    def status(self) -> dict[str, Any]:
        """Number, phase, step and steps, seconds left, score and last line of the last round.

        The phase is `none`, `starting`, `training`, `proposing`, `done`, `collected`, `failed` or
        `cancelled`.
        """
        number = self.number
        if not number:
            return {"number": 0, "phase": "none"}
        running = self.is_running()  # before the status is read: it is written before the end
        found = self._status(number)
        if not running and found.get("phase") not in FINAL:
            found = {**found, "phase": "failed", "error": self._last_line(number)}
            write_json(self._folder / str(number) / STATUS, found)
        return {**found, "number": number}

    def cancel(self) -> None:
        """End the running training; what it has is kept, proposals stay as they were."""
        if not self.is_running():
            return
        number = self.number
        pid = self._process.pid if self._process else int(self._status(number)["pid"])
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(pid, sign)
            until = time.monotonic() + _GRACE
            while self.is_running() and time.monotonic() < until:
                time.sleep(0.05)
        path = self._folder / str(number) / STATUS
        write_json(path, {**self._status(number), "phase": "cancelled", "error": ""})

    def collect(self) -> int | None:
        """Put the proposals of a round that is done on the pictures.

        Returns:
            How many; None if there is no such round.
        """
        number = self.number
        if not number or self.status()["phase"] != "done":
            return None
        folder, status = self._folder / str(number), self._status(number)
        model = re.sub(r"^.*/", "", str(status.get("run", "")))
        count = 0
        for index in range(len(self._session)):
            path = folder / PROPOSALS / f"{index}.json"
            found = read_json(path, "train again")["found"]
            count += self._session.propose(index, found, number, model)
        write_json(folder / STATUS, {**status, "phase": "collected", "proposals": count})
        return count

    def _status(self, number: int) -> dict[str, Any]:
        return read_json_if_there(self._folder / str(number) / STATUS)

    def _last_line(self, number: int) -> str:
        with suppress(OSError):
            text = (self._folder / str(number) / "output.txt").read_text(errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1][:500]
        return "the training ended without a word; train again"
