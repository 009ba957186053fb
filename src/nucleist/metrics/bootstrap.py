"""Intervals of pooled scores by a bootstrap of two levels: groups of test images, then seeds.

Images of one field (patient, slide) are alike, so whole groups are drawn, with replacement, as many
as there are in each stratum (the test part of a fold). Every net is scored on the same draw, so
that differences are paired. Then seeds are drawn, the same for all nets, as nets of one seed share
kept labels and order of images. Source: Field and Welsh, J. R. Stat. Soc. B 69 (2007), the
randomised cluster bootstrap; percentiles as in Efron and Tibshirani (1993), chapter 13.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
Combine = Callable[..., np.ndarray]

CHUNK = 500
"""Samples that are computed at once, to bound the memory."""


class Interval(NamedTuple):
    """A value with its interval.

    Attributes:
        value: Of all data.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    arms: Sequence[np.ndarray],
    statistic: Statistic,
    combine: Combine | None = None,
    strata: Sequence[Hashable] | None = None,
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a score that is a function of counts added up over groups.

    Args:
        arms: For each net `(seeds, groups, counts)` numbers, summed over the images of a group; all
            of one shape, in the same order of seeds and groups.
        statistic: The score from sums: `(..., counts)` to `(...)`.
        combine: What is asked for, from the mean over seeds of each net's score, `(samples,)` each;
            None for the one net's score, or the first minus the second.
        strata: For each group what it may be exchanged within, such as its fold; None for one.
        samples: Number of bootstrap samples.
        level: Probability of the interval, in (0, 1).
        seed: Of the draws.

    Raises:
        ValueError: If shapes differ, something is empty, or `level` is not in (0, 1).

    Examples:
        >>> counts = np.array([[[1, 2], [1, 2], [1, 2]]])        # one seed, three equal groups
        >>> bootstrap([counts], lambda total: total[..., 0] / total[..., 1])
        Interval(value=0.5, low=0.5, high=0.5)
    """
    data = [np.asarray(arm, np.float64) for arm in arms]
    _check(data, strata, level)
    asked = combine or (np.subtract if len(data) == 2 else _only)
    seeds, groups, _ = data[0].shape
    places = _strata(strata or [0] * groups)
    rng = np.random.default_rng(seed)

    def value(weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
        scores = [statistic(np.einsum("ng,sgc->nsc", weights, arm)) for arm in data]
        return np.asarray(asked(*((score * shares).sum(-1) for score in scores)))

    found = []
    for begin in range(0, samples, CHUNK):
        number = min(CHUNK, samples - begin)
        weights = np.zeros((number, groups))
        for place in places:
            equal = np.full(len(place), 1 / len(place))
            weights[:, place] = rng.multinomial(len(place), equal, number)
        shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), number) / seeds
        found.append(value(weights, shares))
    middle = value(np.ones((1, groups)), np.full((1, seeds), 1 / seeds))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return Interval(float(middle[0]), float(low), float(high))


def _only(*scores: np.ndarray) -> np.ndarray:
    if len(scores) != 1:
        raise ValueError(f"Expected `combine` for {len(scores)} nets, but got None")
    return scores[0]


def _strata(names: Sequence[Hashable]) -> list[np.ndarray]:
    """Places of the groups of each stratum."""
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    numbers = np.array([known[name] for name in names])
    return [np.flatnonzero(numbers == number) for number in known.values()]


def _check(data: list[np.ndarray], strata: Sequence[Hashable] | None, level: float) -> None:
    shapes = {arm.shape for arm in data}
    if len(shapes) != 1 or data[0].ndim != 3 or 0 in data[0].shape:
        raise ValueError(
            f"Expected arrays (seeds, groups, counts) of one shape, but got {sorted(shapes)}"
        )
    if strata is not None and len(strata) != data[0].shape[1]:
        raise ValueError(
            f"Expected a stratum for each of {data[0].shape[1]} groups, but got {len(strata)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"Expected `level` in (0, 1), but got {level}")
