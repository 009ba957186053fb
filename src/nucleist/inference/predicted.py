"""How many nuclei were found in each of many images, and which could not be outlined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nucleist.inference.opened import Item


@dataclass(frozen=True, eq=False)
class Predicted(Mapping[Path, int]):
    """Number of nuclei of each image, with the images that failed.

    Attributes:
        counts: Number of nuclei by image; the object itself is this mapping.
        failed: Why an image could not be outlined, by image.
    """

    counts: Mapping[Path, int]
    failed: Mapping[Path, str]

    def __getitem__(self, image: Path) -> int:
        """Number of nuclei of an image."""
        return self.counts[image]

    def __iter__(self) -> Iterator[Path]:
        """The images that were outlined, in order."""
        return iter(self.counts)

    def __len__(self) -> int:
        """Number of images that were outlined."""
        return len(self.counts)


def summed(
    items: Sequence[Item], counts: Mapping[Item, int], failed: Mapping[Item, str]
) -> Predicted:
    """The nuclei of each file, those of all its pictures together.

    Args:
        items: Pictures of this process.
        counts: Nuclei of each that was outlined.
        failed: Reasons of the others.
    """
    found: dict[Path, int] = {}
    for item in items:
        if item in counts:
            found[item.path] = found.get(item.path, 0) + counts[item]
    return Predicted(found, {item.path: reason for item, reason in failed.items()})
