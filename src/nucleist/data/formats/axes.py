"""Which axis of an array is what: rows, columns, channels, planes, times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleist.types import UserError, Window

CHANNELS = "SC"
"""Letters of axes whose values lie above each other in one picture."""


@dataclass(frozen=True)
class Axes:
    """Where the axes of an array are, and how long.

    Attributes:
        sizes: Of every axis, also of those of length one, which have no place below.
        y: Place of the rows.
        x: Place of the columns.
        channel: Place of the channels; None if there is one.
        z: Place of the planes; None if there is one.
        t: Place of the times; None if there is one.
    """

    sizes: tuple[int, ...]
    y: int
    x: int
    channel: int | None = None
    z: int | None = None
    t: int | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Number of times and of planes."""
        return self._size(self.t), self._size(self.z)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._size(self.channel)

    @property
    def height(self) -> int:
        """Rows, pixels."""
        return self.sizes[self.y]

    @property
    def width(self) -> int:
        """Columns, pixels."""
        return self.sizes[self.x]

    def _size(self, place: int | None) -> int:
        return 1 if place is None else self.sizes[place]

    def take(
        self,
        array: Any,
        t: int,
        z: int,
        window: Window | None = None,
        channel: int | None = None,
    ) -> np.ndarray:
        """A window of one plane.

        Args:
            array: Of these axes: of NumPy, of zarr, or whatever is indexed as they are.
            t: Number of the time, from 0.
            z: Number of the plane, from 0.
            window: Inside the plane; None: all of it.
            channel: Number of a channel, from 0; None for all.

        Returns:
            `(h, w)`, or `(h, w, C)` if there is an axis of channels and none is chosen.
        """
        rows, columns = (slice(None), slice(None)) if window is None else window.slices
        index: list[int | slice] = [0] * len(self.sizes)
        index[self.y], index[self.x] = rows, columns
        for place, number in ((self.t, t), (self.z, z)):
            if place is not None:
                index[place] = number
        kept = [self.y, self.x]
        if self.channel is not None and channel is not None:
            index[self.channel] = channel
        elif self.channel is not None:
            index[self.channel] = slice(None)
            kept.append(self.channel)
        found = np.asarray(array[tuple(index)])
        order = sorted(kept)
        return found.transpose([order.index(place) for place in kept])


def axes_of(
    letters: str, sizes: Sequence[int], where: str, shape: str, t_is_chosen: bool = False
) -> Axes:
    """The axes of a file.

    Args:
        letters: One an axis: `Y`, `X`, `S` or `C` of channels, `T`, `Z`, any other of a stack.
        sizes: Their lengths.
        where: The file, for messages.
        shape: What the file holds, for messages.
        t_is_chosen: Whether a time was chosen. Else times without planes are a stack like others,
            of which `z` chooses.

    Raises:
        UserError: If planes have no place in this order.
    """
    long = {i: a for i, (a, n) in enumerate(zip(letters, sizes, strict=True)) if n > 1 or a in "YX"}
    names = "".join(long.values())
    stacks = {letter: i for i, letter in long.items() if letter not in "YX" + CHANNELS}
    channels = [i for i, letter in long.items() if letter in CHANNELS]
    many = len(names) - 2 - len(channels)
    both = many == 2 and set(stacks) == {"T", "Z"}
    if len(channels) > 1 or not (many < 2 or both) or names.count("Y") != 1 or "X" not in names:
        raise UserError(
            f"{where}: several planes ({shape}); save the plane that shows the nuclei as its own "
            "file"
        )
    place = {letter: i for i, letter in long.items()}
    times = stacks.pop("T") if both or (t_is_chosen and "T" in stacks) else None
    stack = next(iter(stacks.values()), None)
    channel = channels[0] if channels else None
    return Axes(tuple(sizes), place["Y"], place["X"], channel, stack, times)


def largest(read: Callable[[int], np.ndarray], planes: Sequence[int]) -> np.ndarray:
    """The largest value of each pixel over some planes, of which two are in memory at a time.

    Args:
        read: Reads a plane by its number; what it returns may be changed.
        planes: Their numbers.
    """
    found = read(planes[0])
    for number in planes[1:]:
        found = np.maximum(found, read(number))
    return found
