"""Lines and bars on stderr for whoever watches, as a parameter of every long function."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from nucleist.types import Progress, T

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

EVERY = 60.0
"""Seconds between two lines about the same work, where there is no terminal for a bar."""


class Console(Progress):
    """Lines on stderr, and on a terminal a bar with the time left.

    Args:
        name: Begins each warning.
        verbose: Show technical lines too.
    """

    def __init__(self, name: str = "nucleist", verbose: bool = False):
        self.name, self.verbose = name, verbose
        self._bars: Bars | None = None

    def note(self, line: str) -> None:
        """Print the line."""
        print(line, file=sys.stderr, flush=True)

    def detail(self, line: str) -> None:
        """Print the line if technical lines are asked for."""
        if self.verbose:
            self.note(line)

    def warn(self, line: str) -> None:
        """Print the line as a warning."""
        self.note(f"{self.name}: warning: {line}")

    def watch(self, items: Sequence[T], title: str) -> Iterable[T]:
        """The items under a bar with the time left; without a terminal a line now and then.

        A bar may be shown while another one is: it comes below it.
        """
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        if self._bars is not None:
            return self._bars.track(items, description=title)
        terminal = Terminal(stderr=True)
        if not terminal.is_terminal:
            return self._told(items, title)
        look = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
        rest = TimeLeft(elapsed_when_finished=True)
        bars = Progress(*look, rest, console=terminal, transient=True)
        return self._watched(bars, items, title)

    def _told(self, items: Sequence[T], title: str) -> Iterator[T]:
        begin = last = time.monotonic()
        for done, item in enumerate(items):
            now = time.monotonic()
            if done and now - last >= EVERY:
                left = duration((now - begin) / done * (len(items) - done))
                self.note(f"{title}: {done} of {len(items)}, {left} left")
                last = now
            yield item

    def _watched(self, bars: "Bars", items: Sequence[T], title: str) -> Iterator[T]:
        self._bars = bars
        try:
            with bars:
                yield from bars.track(items, description=title)
        finally:
            self._bars = None


def shown(progress: bool | Progress) -> Progress:
    """What `progress=` of a library function stands for.

    Args:
        progress: True prints to stderr, False shows nothing, an object is used as it is.
    """
    if isinstance(progress, Progress):
        return progress
    return Console() if progress else Progress()


def duration(seconds: float) -> str:
    """A time in words: `45 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
