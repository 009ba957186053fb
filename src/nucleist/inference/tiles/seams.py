"""One answer for every nucleus that two tiles have seen: which version counts, and whose pixels.

Two tiles see a nucleus on their seam a little differently. Each may place the centroid in its own
core, so that it would count twice, or each in the other's, so that it would be lost; one may see
two nuclei where the other sees one. The rules depend on what was found alone, not on the order in
which tiles were done:

1. Nuclei of different tiles that share pixels are looked at together, the best first: whole ones
   before those that the end of a window cuts, those in the core of their own tile before others,
   then by score.
2. One that lost more than half of its pixels to better ones is the same nucleus, and is dropped.
   (Whatever has an IoU above one half with a better one does lose more than half.) One that lost
   less is another nucleus, and keeps the rest.
3. One whose centroid lies in the core of another tile counts only if that tile saw it too, but its
   own version was not taken. So nothing is found twice as easily near a seam as elsewhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nucleist.inference.tiles.found import Found, Store, owned
from nucleist.inference.tiles.grid import Grid
from nucleist.types import Window

SAME = 0.5
"""Share of its pixels above which a nucleus that another one covers is the same nucleus."""


class Key(NamedTuple):
    """A nucleus of a tile: number of the tile, row in its `Found`."""

    tile: int
    row: int


class Shape(NamedTuple):
    """Pixels of a nucleus: its window in the image, and its mask there."""

    window: Window
    mask: np.ndarray


@dataclass
class Settled:
    """Which nuclei of all tiles count.

    Attributes:
        kept: For each tile `(N,)` `bool`.
        changed: The pixels that are left of those that lost some to a better one.
    """

    kept: list[np.ndarray] = field(default_factory=list)
    changed: dict[Key, Shape] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of nuclei that count."""
        return sum(int(kept.sum()) for kept in self.kept)


def settle(grid: Grid, store: Store) -> Settled:
    """Decide which nuclei count.

    Args:
        grid: The tiles.
        store: What each of them shows; all are done.
    """
    settled, meetings = Settled(), Meetings()
    for tile in range(len(grid)):
        found = store.load(tile)
        settled.kept.append(owned(found, grid, tile))
        later = [other for other in grid.neighbours(tile) if other > tile]
        for other in later:
            for one, two in _overlapping(found, store.load(other)):
                meetings.add(Key(tile, one), Key(other, two))
    for group in meetings.groups():
        _settle(group, meetings, grid, store, settled)
    return settled


class Meetings:
    """Which nuclei share pixels with which of other tiles."""

    def __init__(self) -> None:
        """Begin without any."""
        self._of: dict[Key, list[Key]] = {}

    def add(self, one: Key, two: Key) -> None:
        """Two share pixels."""
        self._of.setdefault(one, []).append(two)
        self._of.setdefault(two, []).append(one)

    def of(self, key: Key) -> list[Key]:
        """Those that share pixels with one."""
        return self._of[key]

    def groups(self) -> Iterator[list[Key]]:
        """Nuclei that are joined by meetings, in the order of the first of each group."""
        seen: set[Key] = set()
        for first in sorted(self._of):
            group = [] if first in seen else [first]
            seen.add(first)
            for key in group:  # it grows
                new = [other for other in self._of[key] if other not in seen]
                seen.update(new)
                group += new
            if group:
                yield group


def _overlapping(one: Found, two: Found) -> Iterable[tuple[int, int]]:
    """Pairs of rows of two tiles whose nuclei share pixels."""
    if not len(one) or not len(two):
        return
    for first, second in zip(*_crossing(one.windows, two.windows), strict=True):
        a, b = (
            Shape(one.window(first), one.mask(first)),
            Shape(two.window(second), two.mask(second)),
        )
        if shared(a, b).any():
            yield int(first), int(second)


def _crossing(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the windows, `(N, 4)` and `(M, 4)`, that share pixels, pair by pair."""
    # Only those within what the other tile shows can; on a seam these are few.
    near, other = _within(one, two), _within(two, one)
    a, b = one[near][:, None], two[other][None]
    meet = (a[..., :2] < b[..., 2:]).all(-1) & (b[..., :2] < a[..., 2:]).all(-1)
    first, second = meet.nonzero()
    return near[first], other[second]


def _within(windows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Numbers of the windows that reach into the smallest rectangle around others."""
    low, high = others[:, :2].min(0), others[:, 2:].max(0)
    return ((windows[:, :2] < high) & (windows[:, 2:] > low)).all(1).nonzero()[0]


def shared(one: Shape, two: Shape) -> np.ndarray:
    """Pixels of the first nucleus that are the second's too, `(h, w)` `bool` of its window."""
    a, b, common = one.window, two.window, np.zeros_like(one.mask)
    top, left = max(a.y0, b.y0), max(a.x0, b.x0)
    low, right = min(a.y1, b.y1), min(a.x1, b.x1)
    if top < low and left < right:
        own = slice(top - a.y0, low - a.y0), slice(left - a.x0, right - a.x0)
        other = slice(top - b.y0, low - b.y0), slice(left - b.x0, right - b.x0)
        common[own] = one.mask[own] & two.mask[other]
    return common


class _Candidate(NamedTuple):
    """A nucleus of a group. Sorted, the better come first."""

    cut: bool
    outside: bool
    against: float
    key: Key
    owner: int


def _settle(
    group: list[Key], meetings: Meetings, grid: Grid, store: Store, settled: Settled
) -> None:
    """Decide about nuclei that are joined by meetings."""
    shapes = {key: _shape(store, key) for key in group}
    taken: dict[Key, Shape] = {}
    for candidate in sorted(_candidate(key, grid, store) for key in group):
        key, shape = candidate.key, shapes[candidate.key]
        others = meetings.of(key)
        free = [shapes[o] for o in others if o.tile == candidate.owner and o not in taken]
        settled.kept[key.tile][key.row] = False
        if candidate.outside and not any(same(shape, other) for other in free):
            continue
        lost = np.zeros_like(shape.mask)
        for other in others:
            if other in taken:
                lost |= shared(shape, taken[other])
        if lost.sum() > SAME * shape.mask.sum():
            continue
        settled.kept[key.tile][key.row] = True
        taken[key] = shape
        if lost.any():
            taken[key] = settled.changed[key] = trimmed(shape, ~lost)


def _candidate(key: Key, grid: Grid, store: Store) -> _Candidate:
    found, row = store.load(key.tile), key.row
    columns = found.columns
    owner = grid.tile_at(float(columns["centroid_y"][row]), float(columns["centroid_x"][row]))
    against = -float(found.scores[row])
    return _Candidate(bool(found.cut[row]), owner != key.tile, against, key, owner)


def _shape(store: Store, key: Key) -> Shape:
    found = store.load(key.tile)
    return Shape(found.window(key.row), found.mask(key.row))


def same(one: Shape, two: Shape) -> bool:
    """Whether one of two nuclei covers more than half of the other."""
    both = int(shared(one, two).sum())
    return both > SAME * min(int(one.mask.sum()), int(two.mask.sum()))


def trimmed(shape: Shape, left: np.ndarray) -> Shape:
    """The pixels of a nucleus that are left, in the smallest window around them.

    Args:
        shape: The nucleus.
        left: `(h, w)` `bool` of its window; at least one pixel of its mask.
    """
    mask = shape.mask & left
    rows, cols = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    own = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    top, left_side = shape.window.y0 + int(rows[0]), shape.window.x0 + int(cols[0])
    low, right = shape.window.y0 + int(rows[-1]) + 1, shape.window.x0 + int(cols[-1]) + 1
    return Shape(Window(top, left_side, low, right), mask[own])
