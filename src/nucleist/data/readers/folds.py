"""Splits by group: folds of a cross-validation, or shares for training, validation and test.

Groups (fields, patients, slides) are never cut, and each split gets about its share of the images.
"""

from collections.abc import Mapping, Sequence

from nucleist.data.readers.splitting import place_of
from nucleist.data.readers.wrapped import Wrapped
from nucleist.types import Source, UserError, one_of

UNLABELLED = "unlabelled"
"""Split of images without labels, which stays as it is."""

SPLITS = ("train", "val", "test")


class ByGroup(Wrapped):
    """A data set whose labelled images are split anew, by group.

    Args:
        source: The data set. Its own splits are given up; images without labels stay apart.
        folds: Number of folds, 2 or more: fold `fold` tests, the next one validates if there are 3
            or more, the others train. Each image tests once.
        fold: Which fold tests, from 0.
        fractions: Instead of folds: share of the images of `train`, `val` and `test`, of sum 1.
        seed: Of the choice.
        by: `"group"`; or `"image"`: neighbours train and test, to see what that is worth.

    Raises:
        UserError: If a number is out of range, `by` is unknown, or both or none of folds and
            fractions is given.
    """

    def __init__(
        self,
        source: Source,
        folds: int | None = None,
        fold: int = 0,
        fractions: Mapping[str, float] | None = None,
        seed: int = 0,
        by: str = "group",
    ):
        one_of("data.split_by", by, ("group", "image"))
        if (folds is None) == (fractions is None):
            raise UserError("data.folds or data.fractions: give one of the two")
        super().__init__(source)
        self._seed, self._fold, self._by = seed, fold, by
        if folds is not None:
            if folds < 2 or not 0 <= fold < folds:
                raise UserError(
                    f"data.folds={folds}, data.fold={fold}: give 2 folds or more, and a fold from "
                    "0 to one less"
                )
            self._shares = {str(number): 1 / folds for number in range(folds)}
        else:
            self._shares = _checked(fractions or {})
        self._folds = folds
        self._splits: dict[str, list[str]] = {}

    def splits(self) -> Mapping[str, list[str]]:
        """Sorted ids of `train`, `val` (if there are such) and `test`, and of `unlabelled`.

        Raises:
            UserError: As the data set's own, or if there are too few groups.
        """
        if not self._splits:
            own = self._source.splits()
            ids = {i for split, some in own.items() if split != UNLABELLED for i in some}
            groups = {i: i for i in ids} if self._by == "image" else self._source.groups()
            parts = divide({i: groups[i] for i in ids}, self._shares, self._seed)
            self._splits = {split: parts[part] for split, part in self._parts().items()}
            if self._folds is not None:
                rest = {i for some in self._splits.values() for i in some}
                self._splits = {"train": sorted(ids - rest), **self._splits}
            if not all(parts.values()):
                raise UserError(
                    f"data.folds, data.fractions: {len({groups[i] for i in ids})} groups are too "
                    f"few for {len(parts)} parts with an image each; give fewer, or smaller groups"
                )
            self._splits |= {s: list(some) for s, some in own.items() if s == UNLABELLED}
        return self._splits

    def _parts(self) -> dict[str, str]:
        """Which part each split is; of folds, those that do not train."""
        if self._folds is None:
            return {split: split for split in self._shares}
        after = str((self._fold + 1) % self._folds)
        return {**({"val": after} if self._folds > 2 else {}), "test": str(self._fold)}


def divide(
    groups: Mapping[str, str], shares: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """Divide images into parts of about the asked size, without cutting a group.

    The groups, the largest first and those of one size in an order of hashes, go one by one to the
    part that lacks most images. Nothing depends on the order of the images.

    Args:
        groups: Of each image.
        shares: Of each part, of sum 1.
        seed: Of the hashes.

    Returns:
        Sorted images of each part.
    """
    members: dict[str, list[str]] = {}
    for image_id, group in groups.items():
        members.setdefault(group, []).append(image_id)
    order = sorted(members, key=lambda name: (-len(members[name]), place_of(name, seed), name))
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for name in order:
        lacks = {part: shares[part] * len(groups) - len(some) for part, some in parts.items()}
        parts[max(lacks, key=lambda part: lacks[part])] += members[name]
    return {part: sorted(some) for part, some in parts.items()}


def regroup(
    source: Source,
    folds: int | None,
    fold: int,
    fractions: Mapping[str, float] | None,
    seed: int,
    by: str = "group",
) -> Source:
    """The data set split by group, or as it is where neither folds nor fractions are asked for.

    Args:
        source: The data set.
        folds: As in `ByGroup`, like the others; None for none.
        fold: Which fold tests.
        fractions: Instead of folds; None for none.
        seed: Of the choice.
        by: As in `ByGroup`.

    Raises:
        UserError: As `ByGroup`.
    """
    if folds is None and fractions is None:
        return source
    return ByGroup(source, folds, fold, fractions, seed, by)


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    shares = {split: float(fractions[split]) for split in SPLITS if fractions.get(split)}
    unknown: Sequence[str] = sorted(set(fractions) - set(SPLITS))
    if unknown or not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(
            f"data.fractions={dict(fractions)}: give shares of train, val and test with sum 1"
        )
    return shares
