"""The annotation of a folder: its images by number, and what is done to each.

The page, `nucleist bootstrap` and scripts all work through this object. One process at a time has
a folder. What belongs to no single image lies in `FOLDER/.nucleist`: logs, old versions, trainings.
"""

from __future__ import annotations

import getpass
import hashlib
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nucleist.annotation.commands import Change
from nucleist.annotation.picture import Answer, Picture
from nucleist.annotation.store import ENDING, header
from nucleist.annotation.taken import Taken, imported
from nucleist.annotation.things import Thing, outline
from nucleist.data.formats.channels import Choice
from nucleist.data.formats.images import read_image
from nucleist.data.readers.folder import Folder
from nucleist.files import holding, make_folder
from nucleist.types import UserError

PROJECT = ".nucleist"
"""Folder of what belongs to no single image."""

_IMAGES = 3
"""So many decoded images are kept."""


@dataclass(frozen=True)
class Entry:
    """One line of the list of images.

    Attributes:
        name: Of the image.
        state: `untouched`, `partial` or `complete`.
        labelled: Number of nuclei that are outlined.
        proposed: Number of proposals that wait.
    """

    name: str
    state: str
    labelled: int
    proposed: int


class Session:
    """The annotation of a folder; use it as a context manager.

    Args:
        folder: The images, perhaps with labels of other formats, which are taken over.
        channel: Which channel shows the nuclei, see `nucleist.data.Folder`.
        z: Which plane, likewise.
        who: Name put on every command; None for the user's.

    Raises:
        UserError: If there is no such folder, it holds no image, it is not writable, or another
            process is at work in it.
    """

    def __init__(
        self,
        folder: str | Path,
        channel: int | Any | None = None,
        z: int | Any | None = None,
        who: str | None = None,
    ):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folder of your images")
        self.who = _user() if who is None else who
        self.choice = Choice(channel, z)
        self.source = Folder(self.folder, test_fraction=0, channel=channel, z=z)
        self.pairs = self.source.pairing()
        self.project = make_folder(self.folder / PROJECT, "make the folder writable")
        self.lock = threading.RLock()
        self._decoding = threading.Lock()  # apart, as a large image takes long
        self._pictures: dict[int, Picture] = {}
        self._images: OrderedDict[int, np.ndarray] = OrderedDict()
        self._open = ExitStack()

    def __enter__(self) -> Session:
        """Take the folder, and write down what a crash left in the logs alone."""
        self._open.enter_context(holding(self.project))
        for index in range(len(self)):
            if self.log(index).exists():
                self.picture(index)
        self.compact()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Write all files, and give the folder back."""
        try:
            self.compact()
        finally:
            self._open.close()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    def index(self, name: str) -> int:
        """Number of an image, from 0, by its name.

        Raises:
            UserError: If there is none.
        """
        for number, pair in enumerate(self.pairs):
            if name in (pair.id, pair.image):
                return number
        raise UserError(f"{self.folder}: no image {name!r}; one is {self.pairs[0].id!r}")

    def image(self, index: int) -> np.ndarray:
        """Pixels of an image, `(H, W, 3)` `uint8`, `uint16` or `float32`, as stored.

        Raises:
            UserError: If there is no such image, or it cannot be read.
        """
        self._check(index)
        with self._decoding:
            if index not in self._images:
                path = self.folder / self.pairs[index].image
                self._images[index] = read_image(_bytes(path), str(path), self.choice)
                while len(self._images) > _IMAGES:
                    self._images.popitem(last=False)
            self._images.move_to_end(index)
            return self._images[index]

    def picture(self, index: int) -> Picture:
        """The annotation of an image.

        Raises:
            UserError: If there is no such image, or a file of it is damaged.
        """
        self._check(index)
        with self.lock:
            if index not in self._pictures:
                self._pictures[index] = self._opened(index)
            return self._pictures[index]

    def file(self, index: int) -> Path:
        """The GeoJSON beside an image."""
        image = self.folder / self.pairs[index].image
        return image.with_name(image.stem + ENDING)

    def apply(self, index: int, command: Mapping[str, Any], **given: Any) -> Answer:
        """Do a command; see `nucleist.annotation.picture.Picture.apply`."""
        return self.picture(index).apply(command, **{"who": self.who, **given})

    def entries(self) -> list[Entry]:
        """The list of images; those with labels of another format are decoded for it."""
        return [self._entry(index) for index in range(len(self))]

    def problems(self) -> list[str]:
        """What is not on the disk, one line a picture; tries again to write it."""
        with self.lock:
            opened = list(self._pictures.values())
        return [one.problem for one in opened if not one.retry()]

    def absorb(self) -> int:
        """Take over what other programs wrote into the files beside the images.

        Returns:
            Number of things that it changes.

        Raises:
            UserError: If a file is damaged.
        """
        found = (index for index in range(len(self)) if self.file(index).exists())
        return sum(self.picture(index).absorb(self.who) for index in found)

    def compact(self) -> list[str]:
        """Write the files beside the images that are older than their logs.

        Returns:
            What could not be written, one line a picture.
        """
        with self.lock:
            opened = list(self._pictures.values())
        failed = []
        for one in opened:
            try:
                one.compact()
            except UserError as error:
                failed.append(str(error))
        return failed

    def propose(
        self, index: int, found: Sequence[Mapping[str, Any]], round_number: int, model: str
    ) -> int:
        """Put the proposals of a model in the place of earlier ones.

        Proposals on labelled nuclei, on what was rejected, and in finished regions are left out.

        Args:
            index: Number of the image.
            found: `anchors` and `score` of each.
            round_number: Of the training.
            model: Hash of the model.

        Returns:
            How many there are now.
        """
        picture = self.picture(index)
        with picture.lock:
            old = [one for one in picture.things.values() if one.state == "proposed"]
            kept = [one for one in picture.things.values() if one.state != "proposed"]
            taken = Taken(kept, picture.size)
            new = []
            for one in sorted(found, key=lambda one: -float(one["score"])):
                anchors = outline(one["anchors"])
                if taken.claims(anchors):
                    continue
                own = str(uuid.uuid4())
                about: Any = {"round": round_number, "score": float(one["score"]), "model": model}
                when = picture.stamp("").when
                new.append(
                    Thing(
                        own, "nucleus", anchors, "proposed", "proposed", who="", when=when, **about
                    )
                )
            change: Change = [(one.id, one, None) for one in old] + [
                (one.id, None, one) for one in new
            ]
            picture.put("propose", change, who=f"model {model}".strip())
            return len(new)

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise UserError(f"there is no image {index}; they count from 0 to {len(self) - 1}")

    def log(self, index: int) -> Path:
        """The log of an image."""
        return self.project / "logs" / f"{self._stem(index)}.jsonl"

    def _stem(self, index: int) -> str:
        """A name of files for an image: two of one name in two folders are told apart."""
        path = self.pairs[index].image
        return f"{self.pairs[index].id}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"

    def _opened(self, index: int) -> Picture:
        file, pair = self.file(index), self.pairs[index]
        image = hashlib.sha256(_bytes(self.folder / pair.image)).hexdigest()[:16]
        size, stored = header(file)
        if size is None or stored != image:
            height, width = self.image(index).shape[:2]
            size = (height, width)
        versions = self.project / "versions" / self._stem(index)
        return Picture(file, self.log(index), versions, size, image, lambda: self._base(index))

    def _base(self, index: int) -> dict[str, Thing]:
        """Labels of other formats, with ids that follow from the image's name."""
        pair = self.pairs[index]
        if pair.labels is None or pair.labels.endswith(ENDING):
            return {}
        record = self.source.read(pair.id)
        return {one.id: one for one in imported(record)}

    def _entry(self, index: int) -> Entry:
        pair, file = self.pairs[index], self.file(index)
        if index not in self._pictures and not file.exists() and pair.labels is None:
            return Entry(pair.id, "untouched", 0, 0)
        picture = self.picture(index)
        things = list(picture.things.values())
        labelled = sum(one.is_label for one in things)
        proposed = sum(one.state == "proposed" for one in things)
        return Entry(pair.id, picture.state, labelled, proposed)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # of a container without such a user
        return ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the file") from error
