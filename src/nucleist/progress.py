"""Lines and bars on stderr for whoever watches, as a parameter of every long function."""

import sys
from collections.abc import Iterable, Sequence

from nucleist.types import Progress, T


class Console(Progress):
    """Lines on stderr, and on a terminal a bar with the time left.

    Args:
        name: Begins each warning.
        verbose: Show technical lines too.
    """

    def __init__(self, name: str = "nucleist", verbose: bool = False):
        self.name, self.verbose = name, verbose

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
        """The items under a bar; without a terminal just the items."""
        from rich.console import Console as Terminal
        from rich.progress import track

        terminal = Terminal(stderr=True)
        hidden = not terminal.is_terminal
        return track(items, title, console=terminal, disable=hidden, transient=True)


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
