"""Nets that were trained several times, on folds and with seeds: their pooled scores, compared.

A score is pooled over the test images of all folds, each of which tests once, and then the mean
over seeds. Its interval is of `nucleist.metrics.bootstrap`: groups of images are drawn within their
folds, then seeds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nucleist.metrics.bootstrap import Combine, Interval, Statistic, bootstrap
from nucleist.metrics.match_counts import map_of


class Replicate(NamedTuple):
    """What one training found in the images that its fold tests.

    Attributes:
        fold: Name of the fold; one name for all where there are no folds.
        seed: Name of the seed.
        groups: Counts of each group of test images, added up: `(counts,)` by its name.
    """

    fold: str
    seed: str
    groups: Mapping[str, np.ndarray]


class Estimate(NamedTuple):
    """A score of a net, or a difference of two, with what it stands on.

    Attributes:
        interval: Value and 95 % interval.
        folds: Folds that all nets were trained on.
        seeds: Seeds of which all nets have all of these folds.
        groups: Groups of test images, over the folds.
    """

    interval: Interval
    folds: tuple[str, ...]
    seeds: tuple[str, ...]
    groups: int


def added_up(images: Mapping[str, np.ndarray], groups: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Counts of groups from those of images.

    Args:
        images: `(counts,)` of each image.
        groups: Group of each image; one that is not named is a group of its own.
    """
    found: dict[str, np.ndarray] = {}
    for image_id, row in images.items():
        name = groups.get(image_id, image_id)
        found[name] = found[name] + row if name in found else np.asarray(row)
    return found


def without_folds(some: Sequence[Replicate], folds: int) -> list[Replicate]:
    """The trainings of each seed as one that tests all images, where all folds are there.

    To compare ways of splitting, in which an image is tested by different folds.

    Args:
        some: Trainings of one net.
        folds: Number of folds; a seed with fewer is left out.
    """
    found = []
    for seed in sorted({one.seed for one in some}):
        own = [one for one in some if one.seed == seed]
        if len(own) == folds:
            names = sorted({name for one in own for name in one.groups})
            total = {n: sum(one.groups[n] for one in own if n in one.groups) for n in names}
            found.append(Replicate("", seed, {n: np.asarray(row) for n, row in total.items()}))
    return found


def in_common(arms: Sequence[Sequence[Replicate]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folds and seeds such that every net has each fold with each seed.

    The folds are those of the seed that has most in all nets; seeds without one of them are left
    out.

    Returns:
        Folds and seeds, sorted; both empty if the nets have no fold and seed in common.
    """
    have = [{(one.fold, one.seed) for one in arm} for arm in arms]
    cells = set.intersection(*have) if have else set()
    by_seed: dict[str, set[str]] = {}
    for fold, seed in cells:
        by_seed.setdefault(seed, set()).add(fold)
    if not by_seed:
        return (), ()
    folds = max((by_seed[seed] for seed in sorted(by_seed)), key=len)
    return tuple(sorted(folds)), tuple(s for s in sorted(by_seed) if folds <= by_seed[s])


def estimate(
    arms: Sequence[Sequence[Replicate]],
    combine: Combine | None = None,
    statistic: Statistic = map_of,
    samples: int = 10_000,
) -> Estimate | None:
    """The score of one net, or what `combine` makes of those of several.

    Args:
        arms: For each net its trainings, at most one for each fold and seed.
        combine: See `bootstrap`; None for one net's score, or the first minus the second.
        statistic: The score from added counts; the mAP unless another is given.
        samples: Bootstrap samples.

    Returns:
        None if the nets have no fold and seed in common.

    Raises:
        ValueError: If the groups that a fold tests are not the same in all trainings.
    """
    folds, seeds = in_common(arms)
    if not folds:
        return None
    cells = [{(one.fold, one.seed): one.groups for one in arm} for arm in arms]
    names = {fold: sorted(cells[0][fold, seeds[0]]) for fold in folds}
    for fold in folds:
        if any(sorted(arm[fold, seed]) != names[fold] for arm in cells for seed in seeds):
            raise ValueError(f"Expected fold {fold!r} to test the same groups in all trainings")
    arrays = [
        np.array([[arm[f, s][name] for f in folds for name in names[f]] for s in seeds])
        for arm in cells
    ]
    strata = [fold for fold in folds for _ in names[fold]]
    found = bootstrap(arrays, statistic, combine, strata, samples)
    return Estimate(found, folds, seeds, len(strata))
