"""Where the images of a folder are complete, as its owner says: an option, a file, drawn regions.

Nothing is complete of itself: whether a pixel without label is background only the person can know
who labelled the image.
"""

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from nucleist.data.complete import complete_of, either
from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.complete import FILE, Row, area_of, read_complete
from nucleist.data.formats.geojson import read_geojson
from nucleist.data.formats.imagej import read_rois
from nucleist.data.readers.names import is_roi, plain
from nucleist.data.readers.pairing import Pair
from nucleist.types import Complete, UserError

Said = bool | tuple[str, ...] | None
"""All labelled images are complete, none is, those of these names are, or nothing is said."""


def said(complete: object) -> Said:
    """The option `complete` in one form: a name alone is a list of one."""
    if complete is None or isinstance(complete, bool):
        return complete
    if isinstance(complete, Sequence) and not isinstance(complete, str):
        return tuple(str(name) for name in complete)
    return (str(complete),)


class Names:
    """Images by what people call them: id or file, with or without folders, split and extension.

    Args:
        pairs: The images.
    """

    def __init__(self, pairs: Sequence[Pair]):
        self._ids = {one.id for one in pairs}
        self._others: dict[str, set[str]] = defaultdict(set)
        for one in pairs:
            path = PurePosixPath(unicodedata.normalize("NFC", one.image))
            bases = [*("/".join(path.parts[i:]) for i in range(len(path.parts))), one.key]
            bases += [f"{one.split}/{base}" for base in (path.name, one.key) if one.split]
            for base in bases:
                for name in (base, base.removesuffix(path.suffix), plain(base)):
                    self._others[name.strip()].add(one.id)

    def find(self, name: str, where: str) -> str:
        """The id of an image.

        Args:
            name: What it is called.
            where: Who says so, for messages.

        Raises:
            UserError: If there is no such image, or several.
        """
        tidy = unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./"))
        for one in (name, tidy):
            if one in self._ids:
                return one
        ids = sorted(self._others.get(tidy, ()))
        if len(ids) > 1:
            raise UserError(
                f"{where}: {name!r} may be {' or '.join(map(repr, ids[:3]))}; give one of these"
            )
        if not ids:
            near = difflib.get_close_matches(tidy, [*self._ids, *self._others], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one is {min(self._ids)!r}"
            raise UserError(f"{where}: no image {name!r}; {hint}")
        return ids[0]


def read_regions(tree: FileTree, names: Sequence[str], shape: tuple[int, int]) -> Complete:
    """All that the outlines of some files hold, whatever they are called.

    Args:
        tree: Holds the files.
        names: Files of ImageJ or QuPath.
        shape: Height and width of the image, pixels.

    Raises:
        UserError: If a file is damaged.
    """
    found: Complete = False
    for name in names:
        read = read_rois if is_roi(name) else read_geojson
        drawn = read(tree.read(name), tree.describe(name), shape)
        found = either(found, either(complete_of(drawn.labels > 0), drawn.complete, shape), shape)
    return found


class Areas:
    """Where the images of a folder are complete.

    Args:
        complete: What the option says; True and False are the last word.
        tree: The files, among them perhaps `complete.csv`.
        pairs: The images.

    Raises:
        UserError: If `complete.csv` is damaged, or a name is none of an image.
    """

    def __init__(self, complete: Said, tree: FileTree, pairs: Sequence[Pair]):
        self._all = complete if isinstance(complete, bool) else None
        self._labelled = {one.id for one in pairs if one.labels is not None}
        self._listed: set[str] = set()
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._where = ""
        self.spare: list[str] = []
        """Files called `complete.csv` that are not read, because they lie in a subfolder."""
        if self._all is not None:
            return
        names = Names(pairs)
        if isinstance(complete, tuple):
            self._listed = {names.find(name, "data.source.complete") for name in complete}
        for name in tree.names({".csv"}):
            inside = name.removeprefix(tree.top()).lower()
            if inside == FILE:
                self._where = tree.describe(name)
                for row in read_complete(tree.read(name), self._where):
                    image_id = names.find(row.image, f"{self._where}: line {row.line}")
                    self._rows[image_id].append(row)
            elif inside.endswith("/" + FILE):
                self.spare.append(name)

    def of(self, image_id: str, shape: tuple[int, int], drawn: Complete) -> Complete:
        """Where an image is complete; nowhere if it has no labels.

        Args:
            image_id: Of the image.
            shape: Its height and width, pixels.
            drawn: The regions that its labels' file has.

        Raises:
            UserError: If a rectangle of `complete.csv` lies outside it.
        """
        if image_id not in self._labelled:
            return False
        if self._all is not None:
            return self._all
        written = area_of(self._rows.get(image_id, ()), shape, self._where)
        return either(image_id in self._listed or drawn, written, shape)

    def without_labels(self) -> list[str]:
        """Ids of images that are said to be complete and have no labels."""
        return sorted({*self._listed, *self._rows} - self._labelled)
