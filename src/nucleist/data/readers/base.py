"""What the readers of files share: one scan, images by id, and what is missing in one line."""

import difflib
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.data.formats.images import read_image
from nucleist.types import Source, UserError

Entry = TypeVar("Entry")
Key = tuple[Any, ...]


class FileSource(Source, Generic[Entry]):
    """A data set in a folder or a `.zip`, whose files are looked through once.

    A reader implements `_scan`, `splits` and `read`.

    Args:
        root: Folder or archive.
        dataset: Name under which `nucleist data download` fetches it, if it does.
    """

    def __init__(self, root: str | Path, dataset: str = ""):
        self._tree = FileTree(root, dataset)
        self._scanned: dict[str, Entry] = {}

    @abstractmethod
    def _scan(self) -> dict[str, Entry]:
        """The files of each image, by image id.

        Raises:
            UserError: If the root or a file is missing.
        """

    @property
    def _entries(self) -> dict[str, Entry]:
        """What `_scan` found, which runs once."""
        if not self._scanned:
            self._scanned = self._scan()
        return self._scanned

    def _entry(self, image_id: str) -> Entry:
        """The files of one image.

        Raises:
            UserError: If there is no such image; the nearest id is suggested.
        """
        if image_id not in self._entries:
            near = difflib.get_close_matches(image_id, self._entries, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one is {next(iter(self._entries))!r}"
            raise UserError(f"{self._tree.describe()}: no image {image_id!r}; {hint}")
        return self._entries[image_id]

    def _image(self, name: str, choice: Choice = CLEAR) -> np.ndarray:
        """Pixels `(H, W, 3)` of an image file."""
        return read_image(self._tree.read(name), self._tree.describe(name), choice)


@dataclass(frozen=True)
class Layout:
    """Which file holds an image of a published data set, and which its labels.

    Attributes:
        image: Path of an image, with `{}` for the parts of its key: `Tissue Images/{}.tif`.
        labels: Path of its labels, likewise.
        word: What the labels are called in messages: `outlines`.
    """

    image: str
    labels: str
    word: str

    def check(self, tree: FileTree, images: Mapping[Key, str], labels: Mapping[Key, str]) -> None:
        """Refuse a data set of which parts are missing.

        Args:
            tree: The files.
            images: File of each image, by key.
            labels: File of its labels, by the same key.

        Raises:
            UserError: If there is no image at all, an image has no labels or labels no image.
        """
        if not images and not labels:
            wanted = re.sub(r"\{[^}]*\}", "*", self.image)
            raise UserError(
                f"{tree.describe()}: no '{wanted}'; set data.source.root=... to the data or run "
                f"`nucleist data download {tree.dataset}`"
            )
        word = self.word
        for key in sorted(images.keys() - labels.keys()):
            raise UserError(
                f"{tree.describe(images[key])}: image without {self.labels.format(*key)}; "
                f"add the {word} or remove the image"
            )
        for key in sorted(labels.keys() - images.keys()):
            raise UserError(
                f"{tree.describe(labels[key])}: {word} without {self.image.format(*key)}; "
                f"add the image or remove the {word}"
            )
