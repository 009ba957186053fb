"""Images of another data set as patches of one size, as Costa et al. train and test on them.

Costa et al., Weakly supervised nuclei instance segmentation, MIDL 2022, section 3.1: images of
many sizes are broken into patches of 128 px, and what is cut by a patch's edge counts in each.
The paper does not say how; the grid and the padding here are our choice.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from skimage.measure import label

from nucleist.data.complete import complete_of, inside, mask_of
from nucleist.data.readers.wrapped import Wrapped
from nucleist.types import Record, Source, UserError, Window

WHOLE = "train"
"""The split whose images stay whole: training takes random crops (`augment.crop`) of them."""

REMEMBERED = 2
"""Images kept in memory, so that tile after tile of one image decodes it once."""


class Tiles(Wrapped):
    """Show the images of a data set as tiles in every split but `train`.

    A tile is called `<image>@<row>,<column>`, after its first pixel. Tiles lie side by side from
    the corner; the last of a row or column is moved inward, so that it overlaps its neighbour
    instead of reaching beyond the image. Training images stay whole, because a random crop of
    the same size (`augment.crop=128`) shows more than a fixed grid does.

    An image smaller than a tile is mirrored at its lower and right edge. What is seen there are
    nuclei, so they are labelled: a mirrored nucleus that touches the image's own goes on with
    its id, any other gets a new one.

    Use `normalize=full_range`: a percentile of one tile is not that of its image, and an empty
    tile would be stretched to noise.

    Args:
        source: The data set.
        size: Side of a tile, px.
        splits: Share of the images in each split, such as `{train: 0.8, val: 0.08, test: 0.12}`:
            all images of the data set are divided anew, by a shuffle of the sorted ids, into
            consecutive parts of rounded size, at least one image each; the first takes what is
            left. None keeps the data set's own splits.
        images: Only so many images of the data set, the first of that shuffle; None for all.
        tiles: Only so many tiles of a split, such as `{val: 64}`, a random choice; the others
            have all.
        seed: Seed of the shuffle and of the choice of tiles.

    Raises:
        UserError: If a size or number is below 1, or the shares are not positive with sum 1.
    """

    def __init__(
        self,
        source: Source,
        size: int = 128,
        splits: Mapping[str, float] | None = None,
        images: int | None = None,
        tiles: Mapping[str, int | None] | None = None,
        seed: int = 0,
    ):
        super().__init__(source)
        self._size, self._images, self._seed = size, images, seed
        self._splits = None if splits is None else dict(splits)
        self._tiles = {k: n for k, n in (tiles or {}).items() if n is not None}
        numbers = {"size": size, "images": images}
        numbers |= {f"tiles.{name}": number for name, number in self._tiles.items()}
        for key, number in numbers.items():
            if number is not None and number < 1:
                raise UserError(f"data.source.{key}={number}: give 1 or more")
        shares = [1.0] if splits is None else list(splits.values())
        if min(shares, default=0) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise UserError(f"data.source.splits={self._splits}: give positive shares with sum 1")
        self._ids: dict[str, list[str]] = {}
        self._places: dict[str, tuple[str, int, int]] = {}
        self._recent: OrderedDict[str, Record] = OrderedDict()

    def splits(self) -> dict[str, list[str]]:
        """Ids of whole images (`train`) and of tiles (every other split), in a fixed order.

        The first call reads the images that are cut, for their sizes.

        Raises:
            UserError: As the data set's own, or if it has too few images or no such split.
        """
        if not self._ids:
            images = self._divided()
            if unknown := sorted(self._tiles.keys() - images.keys()):
                raise UserError(
                    f"data.source.tiles.{unknown[0]}: no such split; there is {', '.join(images)}"
                )
            self._ids = {
                name: ids if name == WHOLE else self._cut(name, ids) for name, ids in images.items()
            }
        return self._ids

    def read(self, image_id: str) -> Record:
        """Read a tile, or a training image.

        Raises:
            UserError: As the data set's own.
        """
        self.splits()
        if image_id not in self._places:
            return self._source.read(image_id)
        name, row, col = self._places[image_id]
        whole = self._whole(name)
        window = Window(row, col, row + self._size, col + self._size)
        # Copies, or a tile that is kept would keep its whole image in memory.
        image, labels = (part[window.slices].copy() for part in (whole.image, whole.labels))
        height, width = whole.labels.shape
        complete = inside(whole.complete, window, (height, width))
        return Record(image_id, image, labels, complete=complete)

    def groups(self) -> dict[str, str]:
        """Group of each image and of each tile: that of its image in the data set."""
        own = self._source.groups()
        ids = [image_id for some in self.splits().values() for image_id in some]
        return {i: own[self._places[i][0] if i in self._places else i] for i in ids}

    def _divided(self) -> dict[str, list[str]]:
        """Images of each split."""
        own = self._source.splits()
        every = sorted({image_id for ids in own.values() for image_id in ids})
        order = np.random.default_rng(self._seed).permutation(len(every))
        chosen = [every[i] for i in order[: self._images]]
        if self._splits is None:
            return {name: [i for i in ids if i in set(chosen)] for name, ids in own.items()}
        first, *others = self._splits
        numbers = {name: max(1, round(self._splits[name] * len(chosen))) for name in others}
        rest = len(chosen) - sum(numbers.values())
        if rest < 1:
            raise UserError(
                f"data.source.splits={self._splits}: {len(chosen)} images are too few; "
                f"use {len(self._splits)} or more"
            )
        ends = np.cumsum([rest, *numbers.values()])
        parts = np.split(np.array(chosen, object), ends[:-1])
        return {name: sorted(part) for name, part in zip([first, *others], parts, strict=True)}

    def _cut(self, split: str, images: Sequence[str]) -> list[str]:
        """Ids of the tiles of a split, image by image."""
        found: list[str] = []
        for name in images:
            height, width = self._whole(name).labels.shape
            for row in starts(height, self._size):
                for col in starts(width, self._size):
                    found.append(f"{name}@{row},{col}")
                    self._places[found[-1]] = name, row, col
        number = self._tiles.get(split, len(found))
        order = np.random.default_rng([self._seed, 1]).permutation(len(found))
        return [found[i] for i in sorted(order[:number])]

    def _whole(self, name: str) -> Record:
        """An image, mirrored to the size of a tile if it is smaller, from memory if it is there."""
        if name not in self._recent:
            self._recent[name] = mirrored(self._source.read(name), self._size)
        self._recent.move_to_end(name)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return self._recent[name]


def starts(side: int, size: int) -> list[int]:
    """First pixels of the tiles along a side; the last is moved inward.

    Examples:
        >>> starts(300, 128), starts(256, 128), starts(100, 128)
        ([0, 128, 172], [0, 128], [0])
    """
    return [min(start, max(side - size, 0)) for start in range(0, side, size)]


def mirrored(record: Record, size: int) -> Record:
    """An image of at least `size` x `size` px: mirrored at its lower and right edge if need be.

    Labels are mirrored too. A piece that is connected (8 neighbours) to what it is the mirror
    image of is one nucleus with it; any other is a new one. A mirrored pixel is complete where
    its original is.
    """
    height, width = record.labels.shape
    more = (0, max(size - height, 0)), (0, max(size - width, 0))
    if not any(map(any, more)):
        return record
    image = np.pad(record.image, (*more, (0, 0)), "reflect")
    labels = np.pad(record.labels, more, "reflect")
    pieces = label(labels, connectivity=2)
    own = np.isin(pieces, pieces[:height, :width])
    labels = np.where(own, labels, pieces + labels.max())
    complete = complete_of(np.pad(mask_of(record.complete, (height, width)), more, "reflect"))
    return Record(record.id, image, labels.astype(np.int32), record.notes, complete)
