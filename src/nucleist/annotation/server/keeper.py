"""What goes on while nobody clicks: retries, files beside images, and the training's progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool

from nucleist.annotation.rounds import Rounds
from nucleist.annotation.server.events import Events
from nucleist.annotation.session import Session
from nucleist.types import UserError

EVERY, IDLE = 0.5, 2.0
"""Seconds between two looks, and without a command before the files beside images are written."""

OTHERS = 3.0
"""Seconds between two looks for what other programs wrote."""


class Keeper:
    """Looks after a session while the server runs.

    Args:
        session: The folder.
        rounds: Its trainings.
        events: Told what happens.
        settings: Of every training that the page starts.
    """

    def __init__(
        self, session: Session, rounds: Rounds, events: Events, settings: Sequence[str] = ()
    ):
        self._session, self._rounds, self._events = session, rounds, events
        self.settings = list(settings)
        self.problems: list[str] = []
        self._told: dict[str, Any] = {}
        self._touched = self._looked = time.monotonic()

    def touch(self, problem: str) -> None:
        """A command came: the files beside images wait a little longer.

        Args:
            problem: Why it is not on the disk, which the page was told; empty if it is.
        """
        self._touched = time.monotonic()
        if problem and not self.problems:
            self.problems = [problem]  # so that the end of it is told too

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(EVERY)

    async def _look(self) -> None:
        problems = await run_in_threadpool(self._mend)
        if problems != self.problems:
            self.problems = problems
            await self._events.tell("problems", problems=problems)
        status = await run_in_threadpool(self._rounds.status)
        if status != self._told:
            self._told = status
            await self._events.tell("round", **status)
        try:
            if await run_in_threadpool(self._rounds.collect) is not None:
                await self._events.tell("reload")
        except UserError as error:
            await self._events.tell("problems", problems=[*self.problems, str(error)])

    def _mend(self) -> list[str]:
        """Try again what failed, write what waited, take over what others wrote."""
        found = self._session.problems()
        now = time.monotonic()
        if not found and now > self._touched + IDLE:
            found = self._session.compact()
        if not found and now > self._looked + OTHERS:
            self._looked = now
            try:
                self._session.absorb()
            except UserError as error:
                found = [str(error)]
        return found
