"""Which images were cut from one field of view, or show the same: found by their pixels alone.

Tiles of one field on both sides of a split make a test too easy. Tiles that were cut without a gap
continue in each other, so the lines of pixels on both sides of the cut are nearly the same.

How it works: the lower borders of all images are compared with the upper borders of all images of
the same width in one matrix product, right with left likewise. Two images are neighbours if each
is the other's best match, clearly better than the second best, and if there is enough evidence: a
border that is dark but for one nucleus proves little, because that of an unrelated image may fit
as well. Matches with less evidence count if four of them close a square of 2 x 2 images.

Copies have the same pixels. Images that look alike correlate in means of 32 x 32 blocks, as they
are, turned or mirrored; those, too, need evidence.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from nucleist.data.borders import SIDE, Border, Look, detail_of, window_of

Kind = Literal["below", "right", "alike", "copy"]

ALIKE = 0.95
"""Correlation of blocks from which two images may be the same. Of images of BBBC038 or Kumar that
do not show the same it is at most 0.63; brightness, noise and file format hardly change it."""

ALIKE_IN_DETAIL, DETAIL = 0.6, 5
"""The same without what varies over more than 5 blocks, which images of a microscope share."""

EVIDENCE = 7.0
"""Evidence from which a match counts by itself, see `evidence`; experiments/fields has the count of
wrong matches between unrelated images."""

EVIDENCE_OF_SQUARE = 16.0
"""Sum of the evidence from which four matches count that close a square."""

CERTAIN = 0.99
"""Correlation above which evidence does not grow: one smooth nucleus fits another perfectly."""

MATCH = 0.5
"""Lowest correlation of two borders."""

MARGIN = 1.3
"""How many times farther from 1 the second best correlation is, at least."""

ROWS = 1024
"""Images that are compared with all others at a time, which bounds the memory."""


class Pair(NamedTuple):
    """Two images that belong together.

    Attributes:
        kind: The second lies `below` the first or `right` of it, shows the same (`alike`), or has
            the same pixels (`copy`).
        first: Id of an image.
        second: Id of the other.
        correlation: Of the borders or, of images alike, of the blocks.
        evidence: How certain it is, see `evidence`; infinite for a copy.
    """

    kind: Kind
    first: str
    second: str
    correlation: float
    evidence: float


def find_pairs(looks: Mapping[str, Look]) -> list[Pair]:
    """Images that belong together: copies, then those alike, then neighbours.

    Of copies, and of images alike, only the first has neighbours.

    Args:
        looks: What `look_at` gives, by image id. Their order does not matter.
    """
    names = sorted(looks)
    same = _copies(names, looks)
    same += _alike(_firsts(names, same), looks)
    single = _firsts(names, same)
    matches: list[Pair] = []
    for kind, side, ends in _SIDES:
        lengths = defaultdict(list)
        for name in single:
            lengths[looks[name].size[side]].append(name)
        for some in lengths.values():
            one, other = ([looks[name].borders[end] for name in some] for end in ends)
            found = _matches(one, other)
            matches += [Pair(kind, some[i], some[j], *match) for i, j, *match in found]
    return same + _certain(matches)


_SIDES: tuple[tuple[Kind, int, tuple[str, str]], ...] = (
    ("below", 1, ("bottom", "top")),
    ("right", 0, ("right", "left")),
)


def fields_of(pairs: Iterable[Pair]) -> list[list[str]]:
    """Images that belong together, directly or through others: sorted ids, sorted lists."""
    of: dict[str, list[str]] = {}
    for pair in pairs:
        one, other = (of.setdefault(name, [name]) for name in (pair.first, pair.second))
        if one is not other:
            one += other
            of |= dict.fromkeys(other, one)
    return sorted({id(some): sorted(some) for some in of.values()}.values())


def evidence(product: np.ndarray, correlation: float, window: int) -> float:
    """How much the correlation of two signals of length 1 proves: `-n/2 ln(1 - r^2)`.

    That is the logarithm of a ratio of likelihoods, of a correlation `r` of `n` independent pairs
    of values. `n` is the number of places that contribute to it: the effective number
    `(sum w)^2 / sum w^2` of windows, where `w` is the sum of the products in each.

    Args:
        product: Of the two signals, value by value; one or two dimensions.
        correlation: Of the two.
        window: Side of a place.
    """
    weights = uniform_filter(np.abs(product), window, mode="constant")
    places = weights.sum() ** 2 / max(float((weights**2).sum()), 1e-12) / window**product.ndim
    return float(-0.5 * places * np.log(1 - min(max(correlation, 0.0), CERTAIN) ** 2))


def brightness_evidence(one: Border, other: Border) -> float:
    """What it proves that two borders have the same contrast and level; 0 if they have not.

    For each of the two it is `ln(0.5 / d)` of their difference `d`, which counts as 5 % at least:
    of unrelated images it is some 50 %.
    """
    tiny = 1e-6
    contrast = abs(np.log((one.strength + tiny) / (other.strength + tiny)))
    level = abs(one.level - other.level) / ((one.spread + other.spread) / 2 + tiny)
    return float(sum(max(0.0, np.log(0.5 / max(d, 0.05))) for d in (contrast, level)))


def _copies(names: Sequence[str], looks: Mapping[str, Look]) -> list[Pair]:
    """Pairs of the same pixels; blank images are no copies of each other."""
    same = defaultdict(list)
    for name in names:
        if looks[name].blocks.any():
            same[looks[name].digest].append(name)
    pairs = (pair for some in same.values() for pair in combinations(some, 2))
    return [Pair("copy", one, other, 1.0, np.inf) for one, other in pairs]


def _firsts(names: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """One image of each that show the same."""
    others = {name for some in fields_of(pairs) for name in some[1:]}
    return [name for name in names if name not in others]


def _alike(names: Sequence[str], looks: Mapping[str, Look]) -> list[Pair]:
    """Pairs of images that show the same, perhaps turned or mirrored."""
    if not names:
        return []
    blocks = np.stack([looks[name].blocks for name in names]).reshape(-1, SIDE, SIDE)
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for turns in range(8):
        turned = np.rot90(blocks if turns < 4 else blocks[:, ::-1], turns % 4, (1, 2))
        flat, columns = (part.reshape(len(names), -1) for part in (blocks, turned))
        for start in range(0, len(names), ROWS):
            found = flat[start : start + ROWS] @ columns.T
            for row, j in np.argwhere(found >= ALIKE):
                if row + start < j:
                    value = float(found[row, j])
                    proof = _evidence_alike(blocks[row + start], turned[j], value)
                    place = int(row + start), int(j)
                    best[place] = max(best.get(place, (0.0, 0.0)), (value, proof))
    return [
        Pair("alike", names[i], names[j], correlation, proof)
        for (i, j), (correlation, proof) in sorted(best.items())
        if proof >= EVIDENCE
    ]


def _evidence_alike(one: np.ndarray, other: np.ndarray, correlation: float) -> float:
    """Evidence of two images `(32, 32)` that look alike; 0 if their details differ."""
    product = detail_of(one, DETAIL) * detail_of(other, DETAIL)
    return evidence(product, correlation, DETAIL) if product.sum() >= ALIKE_IN_DETAIL else 0.0


def _matches(
    some: Sequence[Border], others: Sequence[Border]
) -> list[tuple[int, int, float, float]]:
    """Borders that are each other's best by a margin: places, correlation, evidence."""
    if len(some) < 2:
        return []
    one, other = (np.stack([border.detail for border in part]) for part in (some, others))
    (best, first, second), (back, _, runner_up) = _best_two(one, other), _best_two(other, one)
    found = []
    for i, j in enumerate(best):
        rival = max(second[i], runner_up[j])
        if back[j] == i and first[i] >= MATCH and 1 - rival >= MARGIN * (1 - first[i]):
            proof = evidence(one[i] * other[j], float(first[i]), window_of(one.shape[1]))
            proof += brightness_evidence(some[i], others[j])
            found.append((i, int(j), float(first[i]), proof))
    return found


def _best_two(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row the best row of the other but its own, and the two highest correlations."""
    best, values = np.empty(len(one), int), np.empty((2, len(one)), np.float32)
    for start in range(0, len(one), ROWS):
        found = one[start : start + ROWS] @ other.T
        rows = np.arange(len(found))
        found[rows, rows + start] = -1
        here = slice(start, start + len(found))
        best[here] = found.argmax(1)
        values[0, here] = found[rows, best[here]]
        found[rows, best[here]] = -1
        values[1, here] = found.max(1)
    return best, values[0], values[1]


def _certain(matches: Sequence[Pair]) -> list[Pair]:
    """The matches with enough evidence, by themselves or as a square of 2 x 2 images."""
    kept = {pair for pair in matches if pair.evidence >= EVIDENCE}
    below = {pair.first: pair for pair in matches if pair.kind == "below"}
    right = {pair.first: pair for pair in matches if pair.kind == "right"}
    for name in below.keys() & right.keys():
        down, across = below[name], right[name]
        if down.second in right and across.second in below:
            square = {down, across, right[down.second], below[across.second]}
            closed = right[down.second].second == below[across.second].second
            if closed and sum(pair.evidence for pair in square) >= EVIDENCE_OF_SQUARE:
                kept |= square
    return sorted(kept, key=lambda pair: (pair.first, pair.second, pair.kind))
