"""`groups.csv`: which images belong to one field, patient, slide or well, which no split cuts.

    image,group
    a.tif,patient 1
    b.tif,patient 1

Images that are not listed are groups of their own.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nucleist.files import write_text
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
    try:
        text = data.decode("utf-8-sig")
        sign = max(",;\t", key=text.lstrip().split("\n")[0].count)
        reader = csv.reader(io.StringIO(text), delimiter=sign, skipinitialspace=True, strict=True)
        lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: no table in UTF-8 ({error}); {_REMEDY}") from error
    names = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    if not set(HEADER) <= set(names):
        raise UserError(f"{where}: the first line is {sign.join(names)!r}; {_REMEDY}")
    rows = []
    for line, cells in lines[1:]:
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
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *groups.items()])
    write_text(path, text.getvalue())
