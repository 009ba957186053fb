"""Nuclei followed over time, with their divisions.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020, who follow nuclei without saying how.
Here it is the assignment of Jaqaman et al., *Robust single-particle tracking in live-cell
time-lapse sequences*, Nature Methods 2008: from frame to frame by distance, then divisions, both by
SciPy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

HISTORY = 5
"""A mother's area is the largest of so many frames: before it divides a nucleus condenses."""

ALIKE = 0.5
"""Least ratio of the areas of two daughters."""

SMALLER = 0.9
"""Largest ratio of a daughter's area to her mother's."""


class Tracks(NamedTuple):
    """Nuclei over time.

    Attributes:
        frames: For each frame an `int32` label map, or volume, in which a nucleus has the same
            label as long as it lives.
        table: `(N, 4)` `int64`, a row for each nucleus, in the order of its label: label, first
            frame, last frame, label of the mother (0 for none); frames are counted from 0.
    """

    frames: list[np.ndarray]
    table: np.ndarray


class _Seen(NamedTuple):
    """The nuclei of a frame: ids `(N,)`, centroids `(N, D)` and areas `(N,)`."""

    ids: np.ndarray
    places: np.ndarray
    areas: np.ndarray


def follow(
    frames: Sequence[np.ndarray],
    reach: float | None = None,
    gap: int = 0,
    divisions: bool = True,
    spacing: Sequence[float] | None = None,
) -> Tracks:
    """Follow nuclei from frame to frame.

    How it works: the nuclei of two frames are paired one to one so that the sum of the squared
    distances between their centroids is smallest, the likeliest way of nuclei that wander; one
    without a partner costs the square of `reach`. A nucleus that begins beside one that goes on
    is its sister if both are smaller than that was, and alike, and the middle between them has
    moved as little as a nucleus does: then the mother ends, and two daughters begin.

    Args:
        frames: `(H, W)` or `(Z, H, W)` integer label maps of one shape, 0 background; their labels
            need not agree.
        reach: A nucleus moves less than this from one frame to the next, in units of `spacing`;
            None for the diameter of the median nucleus.
        gap: A nucleus may be missing in so many frames in a row.
        divisions: Look for divisions.
        spacing: Size of a pixel along each axis; None for 1.

    Raises:
        ValueError: If the shapes differ, there is no frame, or a number is out of range.

    Examples:
        >>> tracks = follow([np.array([[3, 3, 0, 0]]), np.array([[0, 8, 8, 0]])])
        >>> tracks.frames[1].tolist(), tracks.table.tolist()
        ([[0, 1, 1, 0]], [[1, 0, 1, 0]])
    """
    if not frames or len({one.shape for one in frames}) > 1:
        raise ValueError(
            f"Expected frames of one shape, but got {sorted({one.shape for one in frames})}"
        )
    size = np.ones(frames[0].ndim) if spacing is None else np.asarray(spacing, float)
    if size.shape != (frames[0].ndim,) or not (size > 0).all() or gap < 0:
        raise ValueError(
            f"Expected a positive `spacing` for each axis and `gap` >= 0, but got {spacing}, {gap}"
        )
    seen = [_nuclei(frame, size) for frame in frames]
    film = _Film(_diameter(seen) if reach is None else float(reach), gap, divisions)
    numbers = [film.add(t, found) for t, found in enumerate(seen)]
    painted = []
    for frame, found, own in zip(frames, seen, numbers, strict=True):
        lookup = np.append(own, 0).astype(np.int32)  # the last for the background
        place = np.searchsorted(found.ids, frame)
        painted.append(lookup[np.where(frame > 0, place, len(own))])
    return Tracks(painted, np.array(film.rows, np.int64).reshape(-1, 4))


def assign(
    first: np.ndarray, second: np.ndarray, costs: np.ndarray, shape: tuple[int, int], limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pair two sets one to one with the least sum of costs.

    Args:
        first: `(K,)` index into the first set, of each pair that is possible.
        second: `(K,)` index into the second set.
        costs: `(K,)`, not negative.
        shape: Sizes of the two sets.
        limit: Cost of one of the first set without a partner.

    Returns:
        Indices into both sets of the pairs, `(P,)` each.
    """
    rows, cols = shape
    if not rows or not len(first):
        return np.zeros(0, int), np.zeros(0, int)
    alone = np.arange(rows)  # each of the first may have a partner of its own that is nobody
    # One more for each, which changes no choice: SciPy takes a cost of 0 for no edge.
    values = np.concatenate([costs, np.full(rows, limit)]) + 1.0
    edges = np.concatenate([first, alone]), np.concatenate([second, cols + alone])
    matrix = coo_array((values, edges), (rows, cols + rows)).tocsr()
    one, other = min_weight_full_bipartite_matching(matrix)
    real = other < cols
    return one[real], other[real]


def without_gaps(tracks: Tracks) -> Tracks:
    """The same with a new label, and the earlier one for its mother, after each gap.

    As the Cell Tracking Challenge wants it, whose tracks are in every frame from first to last.
    """
    present = [set(np.unique(frame).tolist()) for frame in tracks.frames]
    frames = [frame.copy() for frame in tracks.frames]
    rows: dict[int, list[int]] = {}
    last = {0: 0}  # the last label that each nucleus has
    count = len(tracks.table)
    for label, begin, end, parent in tracks.table.tolist():
        current, rows[label] = label, [label, begin, end, parent]
        for t in (t for t in range(begin, end + 1) if label in present[t]):
            if t > begin and label not in present[t - 1]:
                count += 1
                rows[count] = [count, t, t, current]
                current = count
            rows[current][2] = t
            if current != label:
                frames[t][tracks.frames[t] == label] = current
        last[label] = current
    for label, _, _, parent in tracks.table.tolist():
        rows[label][3] = last[parent]
    return Tracks(frames, np.array([rows[k] for k in sorted(rows)], np.int64).reshape(-1, 4))


def _nuclei(frame: np.ndarray, size: np.ndarray) -> _Seen:
    where = np.nonzero(frame > 0)
    ids, own = np.unique(frame[where], return_inverse=True)
    areas = np.bincount(own, minlength=len(ids)).astype(float)
    sums = [np.bincount(own, axis, len(ids)) for axis in where]
    places = np.stack(sums, 1) / np.maximum(areas, 1)[:, None] * size
    return _Seen(ids, places, areas * size.prod())


def _diameter(seen: Sequence[_Seen]) -> float:
    """Of a disc or ball with the median area or volume; 1 without any nucleus."""
    areas = np.concatenate([found.areas for found in seen])
    if not len(areas):
        return 1.0
    middle = float(np.median(areas))
    if seen[0].places.shape[1] == 2:
        return 2 * (middle / np.pi) ** 0.5
    return 2 * (3 * middle / (4 * np.pi)) ** (1 / 3)


class _Film:
    """Tracks so far; `rows` is the table of `Tracks`."""

    def __init__(self, reach: float, gap: int, divisions: bool):
        self.reach, self.gap, self.divisions = reach, gap, divisions
        self.rows: list[list[int]] = []
        self._places: dict[int, np.ndarray] = {}  # of the tracks that may go on
        self._areas: dict[int, list[float]] = {}

    def add(self, t: int, found: _Seen) -> np.ndarray:
        """Go on with frame `t`; returns the number of the track of each nucleus, `(N,)`."""
        live = [k for k in self._places if self.rows[k - 1][2] >= t - 1 - self.gap]
        numbers = self._continued(live, found)
        for sister, new, mother in self._divided(t, found, numbers) if self.divisions else ():
            del self._places[mother], self._areas[mother]
            for i in (sister, new):
                numbers[i] = self._begin(t, mother)
        for own in np.flatnonzero(numbers == 0):
            numbers[own] = self._begin(t, 0)
        for i, k in enumerate(numbers.tolist()):
            self.rows[k - 1][2] = t
            self._places[k] = found.places[i]
            self._areas[k] = [*self._areas.get(k, [])[1 - HISTORY :], float(found.areas[i])]
        lost = [k for k in self._places if self.rows[k - 1][2] < t - self.gap]
        for k in lost:
            del self._places[k], self._areas[k]
        return numbers

    def _begin(self, t: int, mother: int) -> int:
        self.rows.append([len(self.rows) + 1, t, t, mother])
        return len(self.rows)

    def _continued(self, live: list[int], found: _Seen) -> np.ndarray:
        """Number of the track that goes on with each nucleus, 0 for none."""
        numbers = np.zeros(len(found.ids), np.int64)
        if live and len(found.ids):
            before = np.stack([self._places[k] for k in live])
            i, j, costs = _near(before, found.places, self.reach)
            shape = len(live), len(found.ids)
            one, other = assign(i, j, costs**2, shape, self.reach**2)
            numbers[other] = np.array(live)[one]
        return numbers

    def _divided(self, t: int, found: _Seen, numbers: np.ndarray) -> list[tuple[int, int, int]]:
        """Indices of two sisters, the second without a track so far, and their mother's number."""
        new = np.flatnonzero(numbers == 0)
        old = np.array([i for i, k in enumerate(numbers) if k and self.rows[k - 1][2] == t - 1])
        if not len(new) or not len(old):
            return []
        mothers = np.stack([self._places[k] for k in numbers[old]])
        largest = np.array([max(self._areas[k]) for k in numbers[old]])
        i, j, _ = _near(mothers, found.places[new], 1.5 * self.reach)
        one, other = found.areas[old[i]], found.areas[new[j]]
        middle = (found.places[old[i]] + found.places[new[j]]) / 2
        off = np.linalg.norm(middle - mothers[i], axis=1)
        fits = np.minimum(one, other) >= ALIKE * np.maximum(one, other)
        fits &= np.maximum(one, other) <= SMALLER * largest[i]
        fits &= off < self.reach
        shape = len(old), len(new)
        pairs = assign(i[fits], j[fits], off[fits], shape, self.reach)
        return [
            (int(old[a]), int(new[b]), int(numbers[old[a]])) for a, b in zip(*pairs, strict=True)
        ]


def _near(
    first: np.ndarray, second: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of points less than `reach` apart: indices of both, and the distances."""
    found = cKDTree(first).sparse_distance_matrix(cKDTree(second), reach, output_type="ndarray")
    within = found["v"] < reach
    return found["i"][within], found["j"][within], found["v"][within]
