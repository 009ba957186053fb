"""A data set of which only some training images are used: as if no more had been annotated."""

from collections.abc import Mapping

from nucleist.data.readers.splitting import place_of
from nucleist.data.readers.wrapped import Wrapped
from nucleist.types import Source, UserError


class Fewer(Wrapped):
    """A data set with the first training images in an order of hashes; the others are left out.

    A larger number contains the smaller, and no other split changes.

    Args:
        source: The data set.
        images: Number of training images, 1 or more.
        split: The split that trains.
        seed: Of the hashes.

    Raises:
        UserError: If it is not a whole number of 1 or more.
    """

    def __init__(self, source: Source, images: int, split: str = "train", seed: int = 0):
        if not isinstance(images, int) or isinstance(images, bool) or images < 1:
            raise UserError(f"data.train_images={images}: give a whole number of 1 or more")
        super().__init__(source)
        self._images, self._split, self._seed = images, split, seed

    def splits(self) -> Mapping[str, list[str]]:
        """As the data set's own, the one that trains with the first images alone.

        Raises:
            UserError: If it has fewer images than are asked for.
        """
        own = dict(self._source.splits())
        ids = own.get(self._split, [])
        if len(ids) < self._images:
            raise UserError(
                f"data.train_images={self._images}: split {self._split!r} has {len(ids)} images; "
                "give fewer, or null for all"
            )
        first = sorted(ids, key=lambda name: (place_of(name, self._seed), name))[: self._images]
        return {**own, self._split: sorted(first)}


def fewer(source: Source, images: int | None, split: str, seed: int) -> Source:
    """The data set with so many training images, or as it is if None is asked for."""
    return source if images is None else Fewer(source, images, split, seed)
