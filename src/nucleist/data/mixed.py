"""Synthetic images among the training images: every nucleus of them is labelled, at no cost.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020, which shows one for each real image.
The same generator is the data set `data=synthetic`.
"""

from dataclasses import dataclass
from numbers import Real

from nucleist.data.caches import InMemory, Prepared
from nucleist.types import Record, Source, UserError

MEMORY = 2**29
"""Synthetic images are kept up to this size and drawn anew beyond it, bytes."""


@dataclass(frozen=True)
class Mixed:
    """The synthetic images of a training.

    Attributes:
        source: Draws them; those of its split `train` are used.
        share: Synthetic images shown for each real one, above 0.
    """

    source: Source
    share: float

    def count(self, real: int) -> int:
        """How many are shown in each shuffle of so many real images, at least one."""
        return max(1, round(self.share * real))

    def read(self, number: int) -> Record:
        """The synthetic image of a number; after the last comes the first again."""
        ids = self.source.splits()["train"]
        return self.source.read(ids[number % len(ids)])


def mixed(source: Source | None, share: float, cache: str | None) -> Mixed | None:
    """The synthetic images of a training; None if there are none.

    Args:
        source: Draws them; None for the generator's defaults.
        share: Synthetic images for each real one; 0 for none.
        cache: Folder in which they are stored once drawn, see `nucleist.data.caches.Prepared`;
            None keeps them in memory alone.

    Raises:
        UserError: If the share is not 0 or more, or the source draws no image.
    """
    is_number = isinstance(share, Real) and not isinstance(share, bool)
    if not is_number or not 0 <= share < float("inf"):
        raise UserError(
            f"data.synthetic={share} is not a number of synthetic images for each real one; give "
            "0 for none, 1 for as many as real ones"
        )
    if share == 0:
        return None
    if source is None or not source.splits().get("train"):
        raise UserError("data.synthetic_images draws no image; raise its n_train")
    stored = source if cache is None else Prepared(source, cache)
    return Mixed(InMemory(stored, MEMORY), float(share))
