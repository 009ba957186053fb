"""`groups.csv`: which images belong to one field, patient, slide or well, which no split cuts.

    image,group
    a.tif,patient 1
    b.tif,patient 1

Images that are not listed are groups of their own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nucleist.data.formats.tables import read_table, write_table
from nucleist.types import UserError

FILE = "groups.csv"
"""Name of the file, at the top of a folder."""

HEADER = ("image", "group")

_REMEDY = f"write rows of {','.join(HEADER)}"


class Row(NamedTuple):
    """What one row says.

    Attributes:
        image: Name of the image, as it is written.
        group: Of the image; not empty.
        line: Number of the line, from 1.
    """

    image: str
    group: str
    line: int


def read_groups(data: bytes, where: str) -> list[Row]:
    """Read the rows of `groups.csv`.

    Columns may be separated by `;` or tabs, and stand in any order; further ones are passed over.

    Args:
        data: Content of the file, UTF-8.
        where: The file, for messages.

    Raises:
        UserError: If it is no such table; the line is named.
    """
    names, lines, sign = read_table(data, where, _REMEDY)
    if not set(HEADER) <= set(names):
        raise UserError(f"{where}: the first line is {sign.join(names)!r}; {_REMEDY}")
    rows = []
    for line, cells in lines:
        filled = [cell.strip() for cell in cells] + [""] * (len(names) - len(cells))
        image, group = (filled[names.index(name)] for name in HEADER)
        row = Row(image, group, line)
        if not row.image or not row.group:
            raise UserError(f"{where}: line {line} has no image or no group; {_REMEDY}")
        rows.append(row)
    return rows


def write_groups(path: str | Path, groups: Mapping[str, str]) -> None:
    """Write the groups of images.

    Args:
        path: The file; it appears complete or not at all.
        groups: By the image's name.

    Raises:
        UserError: If the file cannot be written.
    """
    write_table(path, HEADER, groups.items())
