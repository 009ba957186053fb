"""Which images of a folder belong together, as its owner says: a pattern, a file, or the pixels."""

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from nucleist.data.borders import look_at
from nucleist.data.fields import fields_of, find_pairs
from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.groups import FILE, read_groups
from nucleist.data.readers.areas import Names
from nucleist.data.readers.pairing import Pair
from nucleist.types import UserError

FOUND = "found"
"""Option that asks for the fields that `nucleist.data.fields` finds."""


def paths_of(pairs: Sequence[Pair], tree: FileTree) -> dict[str, str]:
    """Path of each image in the folder, without extension and folders that name kind or split."""
    top = unicodedata.normalize("NFC", tree.top())
    return {one.id: one.key.removeprefix(top) for one in pairs}


class Grouping:
    """Which images of a folder belong together.

    Args:
        option: None to read `groups.csv`, `"found"` to compare the images, or a regular expression
            whose first group is found in an image's path.
        tree: The files.

    Raises:
        UserError: If the option is no regular expression with a group.
    """

    def __init__(self, option: str | None, tree: FileTree):
        self._option, self._tree = option, tree
        self._known: dict[str, str] | None = None
        if option not in (None, FOUND):
            _check_pattern(str(option))

    @property
    def is_said(self) -> bool:
        """Whether anything is said."""
        return self._option is not None or self._table() is not None

    def of(self, pairs: Sequence[Pair], read: Callable[[Pair], np.ndarray]) -> dict[str, str]:
        """Group of each image of which one is said, looked for once.

        Args:
            pairs: All images.
            read: Reads the pixels of an image.

        Raises:
            UserError: If the pattern fits no image; if `groups.csv` is damaged, or names no image.
        """
        if self._known is None:
            if self._option == FOUND:
                looks = {one.id: look_at(read(one)) for one in pairs}
                some = fields_of(find_pairs(looks))
                self._known = {name: ids[0] for ids in some for name in ids}
            elif self._option is not None:
                self._known = _by_pattern(self._option, paths_of(pairs, self._tree))
            else:
                self._known = self._read(pairs)
        return self._known

    def _read(self, pairs: Sequence[Pair]) -> dict[str, str]:
        table = self._table()
        if table is None:
            return {}
        names, where = Names(pairs), self._tree.describe(table)
        rows = read_groups(self._tree.read(table), where)
        return {names.find(row.image, f"{where}: line {row.line}"): row.group for row in rows}

    def _table(self) -> str | None:
        """The file `groups.csv` at the top of the folder; None if there is none."""
        top = self._tree.top()
        names = self._tree.names({".csv"})
        return next((name for name in names if name.removeprefix(top).lower() == FILE), None)


_REMEDY = "write one such as '(.*)_tile\\d+', whose part in parentheses is the group, or found"


def _check_pattern(option: str) -> None:
    try:
        groups = re.compile(option).groups
    except re.error as error:
        raise UserError(f"groups={option}: no regular expression ({error}); {_REMEDY}") from error
    if groups < 1:
        raise UserError(f"groups={option}: has no part in parentheses; {_REMEDY}")


def _by_pattern(option: str, paths: dict[str, str]) -> dict[str, str]:
    matches = {image_id: re.search(option, path) for image_id, path in paths.items()}
    found = {image_id: match[1] for image_id, match in matches.items() if match and match[1]}
    if not found:
        one = min(paths.values(), default="")
        raise UserError(f"groups={option}: fits no image, such as {one!r}; {_REMEDY}")
    return found
