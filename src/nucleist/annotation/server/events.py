"""What the page is told while it is open: server-sent events, numbered, replayed after a break."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

KEPT = 500
"""Events that a page which was away can still get."""

SLICE, PING = 0.5, 30
"""Seconds of one wait, and waits after which a quiet stream says that it is there."""


class Events:
    """Everything that happened, in order, for any number of streams.

    Events are told by the loop of the server alone.

    Attributes:
        closed: True ends all streams within `SLICE`: the server waits for them when it ends.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, str, str]] = deque(maxlen=KEPT)
        self._last = 0
        self._news = asyncio.Condition()
        self.closed = False

    async def tell(self, kind: str, **content: Any) -> None:
        """Tell all streams."""
        async with self._news:
            self._last += 1
            self._kept.append((self._last, kind, json.dumps(content)))
            self._news.notify_all()

    async def stream(self, seen: int | None) -> AsyncIterator[bytes]:
        """The events after a number, as they come.

        Args:
            seen: Number of the last one that the page got; None for a page that was just opened.
        """
        missed = seen is not None and (
            seen > self._last or (bool(self._kept) and seen < self._kept[0][0] - 1)
        )
        at = self._last if seen is None or missed else seen
        hello = "reset" if missed else "hello"
        yield f"retry: 1000\nid: {at}\nevent: {hello}\ndata: {{}}\n\n".encode()
        quiet = 0
        while not self.closed:
            found = [event for event in self._kept if event[0] > at]
            for at, kind, content in found:
                yield f"id: {at}\nevent: {kind}\ndata: {content}\n\n".encode()
            quiet = 0 if found else quiet + 1
            if quiet > PING:
                quiet = 0
                yield b": still here\n\n"
            if not found:
                await self._wait(at)

    async def _wait(self, at: int) -> None:
        """Until there is an event after a number, or a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLICE), self._news:
                if self._last == at:
                    await self._news.wait()
