"""The pictures that are outlined: files, and what of a file is outlined by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.data.pictures import microscope
from nucleist.data.pictures.open import open_pictures
from nucleist.data.pictures.picture import ArrayPicture, Picture
from nucleist.inference.result import as_image
from nucleist.types import Progress, UserError


@dataclass(frozen=True)
class Item:
    """What is outlined by itself: a file, or a plane, time or image of one.

    Attributes:
        path: The file.
        suffix: End of the names of its results; empty for a file that is one picture.
    """

    path: Path
    suffix: str = ""

    @property
    def stem(self) -> str:
        """Name of its results, without their ends."""
        return self.path.stem + self.suffix

    @property
    def title(self) -> str:
        """Its name in tables, as if it were a file of its own."""
        return self.stem + self.path.suffix

    def __fspath__(self) -> str:
        """The file."""
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path}{self.suffix.replace('_', ' ')}"

    def open(self, choice: Choice = CLEAR, progress: Progress | None = None) -> Picture:
        """The picture; close it after use.

        Args:
            choice: That with which the items were found.
            progress: See `open_pictures`.

        Raises:
            UserError: See `open_pictures`.
        """
        found = {one.suffix: one for one in open_pictures(self.path, choice, progress)}
        if self.suffix not in found:
            raise UserError(f"{self}: is not in the file any more; give the same command again")
        return found[self.suffix]


def items_of(images: Iterable[Path], choice: Choice = CLEAR) -> list[Item]:
    """What is outlined of some files, in their order.

    Files are looked into only where they may hold several pictures. One that cannot be read is an
    item too, so that its reason is told when its turn comes.

    Args:
        images: The files.
        choice: Which channel, plane and time.
    """
    each = "each" in (choice.z, choice.t)
    items: list[Item] = []
    for path in images:
        if not each and path.suffix.lower() not in microscope.SUFFIXES:
            items.append(Item(path))
            continue
        try:
            pictures = open_pictures(path, choice)
        except UserError:
            items.append(Item(path))
            continue
        items += [Item(path, picture.suffix) for picture in pictures]
        for picture in pictures:
            picture.close()
    return items


def one_picture(
    image: str | Path | np.ndarray, choice: Choice = CLEAR, progress: Progress | None = None
) -> Picture:
    """The one picture of a file, or an array.

    Args:
        image: A file, or an array `(H, W)` or `(H, W, 3)`.
        choice: Which channel, plane and time of a file.
        progress: See `open_pictures`.

    Raises:
        UserError: If it holds several, and as `open_pictures`.
    """
    if not isinstance(image, str | Path):
        return ArrayPicture(as_image(image))
    found = open_pictures(image, choice, progress)
    if len(found) != 1:
        ends = ", ".join(one.suffix for one in found[:3])
        raise UserError(
            f"{image}: {len(found)} pictures ({ends}, ...); nucleist.predict outlines them all, or "
            "choose one of them with z=N and t=N"
        )
    return found[0]
