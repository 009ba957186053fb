"""What a loader reads: training images with the kept labels, evaluation images with all.

`Draws` numbers what training shows, so that neither workers, processes nor a restart change it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nucleist.data.annotation import Annotation
from nucleist.data.choosing import nucleus_ids
from nucleist.data.complete import inside, mask_of
from nucleist.data.held_out import hold_out
from nucleist.data.mixed import Mixed
from nucleist.data.paste import Exemplar, exemplars, paste
from nucleist.data.targets import UNKNOWN, supervised, to_tensor
from nucleist.data.transforms import Augment
from nucleist.ops.normalize import Normalize
from nucleist.types import Complete, Record, Source, Truth, UserError, Window

Batch = tuple[list[Tensor], list[Any], list[str]]


class Whole(NamedTuple):
    """A whole image of evaluation.

    Attributes:
        image: `(H, W, 3)` `float32`, normalised.
        labels: `(H, W)` `int32` label map.
        complete: `(H, W)` `bool`, where it has every nucleus; None: everywhere.
        known: `(H, W)` `int32` label map of further labelled nuclei, which are not scored.
    """

    image: np.ndarray
    labels: np.ndarray
    complete: np.ndarray | None
    known: np.ndarray | None = None


class PartialSet(Dataset[tuple[Tensor, Any, str]]):
    """Training images of which only the kept labels are visible.

    Items are numbered by *draw*: draw `d` shows image `d mod n` of the `d // n`-th shuffle with
    the augmentation of seed `(seed, d)`, so that neither workers, processes nor a restart
    change what is seen. With `balance` below 1 an image of `n` of its kind is shown with a
    probability in proportion to `n ** (balance - 1)`. Synthetic images are shuffled among the
    others.

    Args:
        source: Where images come from.
        ids: The training images.
        annotation: Which of their labels are kept.
        normalize: From `nucleist.ops.normalize`.
        augment: From `nucleist.data.transforms`.
        seed: Of order and augmentation.
        pasted: At most so many labelled nuclei are pasted into an image.
        supervision: `"instances"` or `"binary"`, see `nucleist.data.targets.supervised`.
        held_out: Share of the kept nuclei that training does not see; None for none.
        mixed: Synthetic images to show besides; None for none.
        balance: 1 shows all images equally often, 0 all kinds of them (`Source.kinds`).
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
        held_out: float | None = None,
        mixed: Mixed | None = None,
        balance: float = 1.0,
    ):
        if not 0 <= balance <= 1:
            raise UserError(f"data.balance={balance}: give a number from 0 (kinds) to 1 (images)")
        self.supervision, self.to_target = supervision, supervised(supervision)
        self.source, self.ids, self.annotation = source, list(ids), annotation
        self.normalize, self.augment, self.seed = normalize, augment, seed
        self.pasted, self.mixed, self.balance = pasted, mixed, balance
        self._held_share, self._held_seed = held_out, annotation.seed
        self._cache: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._complete: dict[str, Complete] = {}
        self._seen: dict[str, np.ndarray] = {}

    @cached_property
    def held_out(self) -> Mapping[str, Sequence[int]]:
        """Kept nuclei of each image that training does not see, by their ids.

        Those of a manifest, if the run that wrote it held any out.
        """
        if self._held_share is None:
            return {image_id: [] for image_id in self.ids}
        earlier = self.annotation.held_out() or {}
        if any(earlier.values()):
            return earlier
        kept = {image_id: nucleus_ids(self.annotated(image_id)[1]) for image_id in self.ids}
        return hold_out(kept, self._held_share, self._held_seed)

    @property
    def validated(self) -> list[str]:
        """The images with held-out nuclei."""
        return [image_id for image_id in self.ids if len(self.held_out[image_id])]

    def partial(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Normalised image `(h, w, 3)` and its label map with the nuclei that training sees."""
        image, labels = self.annotated(image_id)
        if image_id not in self._seen:
            hidden = self.held_out[image_id]
            self._seen[image_id] = (
                np.where(np.isin(labels, hidden), 0, labels) if len(hidden) else labels
            )
        return image, self._seen[image_id]

    def hidden(self, image_id: str) -> Whole:
        """The same image, and the label map of the nuclei that are held out."""
        image, labels = self.annotated(image_id)
        held = np.where(np.isin(labels, self.held_out[image_id]), labels, 0)
        return Whole(image, held, np.zeros(labels.shape, bool), self.partial(image_id)[1])

    def annotated(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """The same image, and the label map of all kept nuclei, held out or not."""
        if image_id not in self._cache:
            record = self.source.read(image_id)
            # Normalised before a crop is cut, so that crop and whole image look the same.
            seen = self.annotation.apply(record, self.normalize(record.image))
            self._cache[image_id] = seen
            complete, choice = self.annotation.complete(record), self.annotation.choose(record)
            if isinstance(choice, Window):
                height, width = record.labels.shape
                complete = inside(complete, choice, (height, width))
            self._complete[image_id] = complete
        return self._cache[image_id]

    def with_unknown(self, image_id: str) -> np.ndarray:
        """The label map that training sees, `UNKNOWN` where unlabelled pixels may be nuclei.

        That is outside of what is complete, and in nuclei that are held out.
        """
        every, labels = self.annotated(image_id)[1], self.partial(image_id)[1]
        known = mask_of(self._complete[image_id], labels.shape)
        unknown = np.where(every > 0, labels == 0, ~known)
        return np.where(unknown, UNKNOWN, labels).astype(np.int32)

    def forget(self) -> None:
        """Read the images anew, after the normalisation has changed."""
        self._cache.clear()
        self._seen.clear()
        self.__dict__.pop("exemplars", None)  # they are cut out of the images

    @cached_property
    def exemplars(self) -> list[Exemplar]:
        """All nuclei of the training images that training sees."""
        return exemplars(self.partial(image_id) for image_id in self.ids)

    @cached_property
    def weights(self) -> np.ndarray:
        """Probability of each image in a draw, `(N,)` `float64`."""
        kinds = self.source.kinds()
        of_kind = Counter(kinds[image_id] for image_id in self.ids)
        counts = np.array([of_kind[kinds[image_id]] for image_id in self.ids], float)
        weights = counts ** (self.balance - 1)
        return weights / weights.sum()

    def shown(self, draw: int) -> str | Record:
        """The id of the image of a draw, or a synthetic image."""
        real = len(self.ids)
        more = self.mixed.count(real) if self.mixed else 0
        shuffle, place = divmod(draw, real + more)
        order = np.random.default_rng([self.seed, shuffle]).permutation(real + more)
        number = int(order[place])
        if self.mixed and number >= real:
            return self.mixed.read(shuffle * more + number - real)
        if self.balance < 1:
            number = np.random.default_rng([self.seed, 3, draw]).choice(real, p=self.weights)
        return self.ids[number]

    def __getitem__(self, draw: int) -> tuple[Tensor, Any, str]:
        shown = self.shown(draw)
        seed = int(np.random.SeedSequence([self.seed, 1, draw]).generate_state(1)[0])
        if isinstance(shown, Record):
            return self._synthetic(shown, seed)
        image = self.partial(shown)[0]
        image, labels = self.augment(image, self.with_unknown(shown), seed)
        if self.pasted:
            rng = np.random.default_rng([self.seed, 2, draw])
            image, labels = paste(image, labels, self.exemplars, self.pasted, rng)
        return to_tensor(image), self.to_target(labels), shown

    def _synthetic(self, record: Record, seed: int) -> tuple[Tensor, Any, str]:
        """An item of a synthetic image, of which every nucleus is labelled."""
        image, labels = self.augment(self.normalize(record.image), record.labels, seed)
        return to_tensor(image), self.to_target(labels), record.id


class WholeSet(Dataset[tuple[Tensor, Truth, str]]):
    """Whole images: those of evaluation with all labels, or of training with some of the kept.

    Args:
        ids: The images.
        read: Gives the image of an id.
    """

    def __init__(self, ids: Sequence[str], read: Callable[[str], Whole]):
        self.ids, self.read = list(ids), read

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Truth, str]:
        image, labels, *rest = self.read(self.ids[index])
        area, known = (None if part is None else torch.from_numpy(part) for part in rest)
        truth = Truth(torch.from_numpy(labels), area, known)
        return to_tensor(image), truth, self.ids[index]


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
    """Images differ in size, so a batch is lists; a process without an image has empty ones."""
    images, targets, ids = zip(*items, strict=True) if items else ((), (), ())
    return list(images), list(targets), list(ids)
