"""Small tables that people write or export: CSV with commas, semicolons or tabs."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nucleist.files import write_text
from nucleist.types import UserError


class Table(NamedTuple):
    """The cells of a table.

    Attributes:
        names: Of the columns, in small letters, as the first line has them; none of an empty file.
        rows: Number of the line, from 1, and the cells of each further line that is not blank.
        sign: What separates the cells.
    """

    names: list[str]
    rows: list[tuple[int, list[str]]]
    sign: str


def read_table(data: bytes, where: str, remedy: str) -> Table:
    """Read a table in UTF-8, with or without a byte order mark.

    Args:
        data: Content of the file.
        where: The file, for messages.
        remedy: What to write instead, for messages.

    Raises:
        UserError: If it is not UTF-8, or its quotes do not close.
    """
    try:
        text = data.decode("utf-8-sig")
        # The first line, which holds names of columns alone, shows the separator.
        sign = max(",;\t", key=text.lstrip().split("\n")[0].count)
        # Quotes count at the beginning of a cell alone: blanks before them would hide them.
        reader = csv.reader(io.StringIO(text), delimiter=sign, skipinitialspace=True, strict=True)
        lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: no table in UTF-8 ({error}); {remedy}") from error
    names = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    return Table(names, lines[1:], sign)


def write_table(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with commas; it appears complete or not at all.

    Raises:
        UserError: If the file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
