"""What a loader reads: training images with the kept labels, evaluation images with all.

`Draws` numbers what training shows, so that neither workers, processes nor a restart change it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nucleist.data.annotation import Annotation
from nucleist.data.paste import Exemplar, exemplars, paste
from nucleist.data.targets import supervised, to_tensor
from nucleist.data.transforms import Augment
from nucleist.types import Source

Normalize = Callable[[np.ndarray], np.ndarray]
Batch = tuple[list[Tensor], list[Any], list[str]]


class PartialSet(Dataset[tuple[Tensor, Any, str]]):
    """Training images of which only the kept labels are visible.

    Items are numbered by *draw*: draw `d` shows image `d mod n` of the `d // n`-th shuffle with
    the augmentation of seed `(seed, d)`, so that neither workers, processes nor a restart
    change what is seen.

    Args:
        source: Where images come from.
        ids: The training images.
        annotation: Which of their labels are kept.
        normalize: From `nucleist.ops.normalize`.
        augment: From `nucleist.data.transforms`.
        seed: Of order and augmentation.
        pasted: At most so many labelled nuclei are pasted into an image.
        supervision: `"instances"` or `"binary"`, see `nucleist.data.targets.supervised`.
    """

    def __init__(
        self,
        source: Source,
        ids: Sequence[str],
        annotation: Annotation,
        normalize: Normalize,
        augment: Augment,
        seed: int,
        pasted: int = 0,
        supervision: str = "instances",
    ):
        self.supervision, self.to_target = supervision, supervised(supervision)
        self.source, self.ids, self.annotation = source, list(ids), annotation
        self.normalize, self.augment, self.seed = normalize, augment, seed
        self.pasted = pasted
        self._cache: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def partial(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Normalised image `(h, w, 3)` and its label map with the kept nuclei alone."""
        if image_id not in self._cache:
            record = self.source.read(image_id)
            # Normalised before a crop is cut, so that crop and whole image look the same.
            record = replace(record, image=self.normalize(record.image))
            self._cache[image_id] = self.annotation.apply(record)
        return self._cache[image_id]

    def forget(self) -> None:
        """Read the images anew, after the normalisation has changed."""
        self._cache.clear()

    @cached_property
    def exemplars(self) -> list[Exemplar]:
        """All labelled nuclei of the training images."""
        return exemplars(self.partial(image_id) for image_id in self.ids)

    def __getitem__(self, draw: int) -> tuple[Tensor, Any, str]:
        shuffle, place = divmod(draw, len(self.ids))
        order = np.random.default_rng([self.seed, shuffle]).permutation(len(self.ids))
        image_id = self.ids[order[place]]
        seed = np.random.SeedSequence([self.seed, 1, draw]).generate_state(1)[0]
        image, labels = self.augment(*self.partial(image_id), int(seed))
        if self.pasted:
            rng = np.random.default_rng([self.seed, 2, draw])
            image, labels = paste(image, labels, self.exemplars, self.pasted, rng)
        return to_tensor(image), self.to_target(labels), image_id


class WholeSet(Dataset[tuple[Tensor, Tensor, str]]):
    """Whole images: those of evaluation with all labels, or of training with the kept ones.

    Args:
        ids: The images.
        read: Gives the normalised image `(H, W, 3)` and the label map `(H, W)` of an id.
    """

    def __init__(self, ids: Sequence[str], read: Callable[[str], tuple[np.ndarray, np.ndarray]]):
        self.ids, self.read = list(ids), read

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        image, labels = self.read(self.ids[index])
        return to_tensor(image), torch.from_numpy(labels), self.ids[index]


class Draws(Sampler[int]):
    """One process's share of the draw numbers `0 .. stop - 1`: `rank, rank + world, ...`.

    Args:
        stop: Draws of the whole training, over all processes.
        done: Draws that a resumed run has seen; they are left out, but count in the length,
            because the trainer goes on counting where it stopped.
        rank: Number of the process.
        world: Number of processes, a divisor of `done`.
    """

    def __init__(self, stop: int, done: int = 0, rank: int = 0, world: int = 1):
        self.numbers = range(rank, stop, world)
        self.done = done // world

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers[self.done :])

    def __len__(self) -> int:
        return len(self.numbers)


def collate(items: Sequence[tuple[Any, Any, str]]) -> Batch:
    """Images differ in size, so a batch is lists."""
    images, targets, ids = zip(*items, strict=True)
    return list(images), list(targets), list(ids)
