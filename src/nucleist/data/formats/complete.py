"""`complete.csv`: in which rectangles of which images every nucleus is labelled.

    image,x,y,width,height
    a.tif,0,0,512,256
    a.tif,100,256,200,100
    b.tif,,,,

A row with a name alone is the whole image; several rows of an image are joined. Numbers are whole
pixels, `x` and `y` those of the upper left corner, as ImageJ shows them. Also here: which names of
outlines say that they are such a region and no nucleus.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucleist.data.complete import complete_of, mask_of
from nucleist.data.formats.tables import read_table, write_table
from nucleist.types import Complete, UserError, Window

FILE = "complete.csv"
"""Name of the file, at the top of a folder."""

HEADER = ("image", "x", "y", "width", "height")

_REMEDY = f"write rows of {','.join(HEADER)}, or of the name alone for a whole image"
_REGION = re.compile(r"(?i)complete([-_ ]?\d+)?")


class Row(NamedTuple):
    """What one row says.

    Attributes:
        image: Name of the image, as it is written.
        window: The rectangle, which may reach beyond the image; None for the whole image.
        line: Number of the line, from 1.
    """

    image: str
    window: Window | None
    line: int


def is_region(name: object) -> bool:
    """Whether an outline of this name is a region in which all is labelled, not a nucleus.

    Case does not matter. ImageJ adds a number to a name that is taken: `complete-1`.

    Examples:
        >>> [is_region(name) for name in ("Complete", "complete-1", "incomplete", None)]
        [True, True, False, False]
    """
    return isinstance(name, str) and _REGION.fullmatch(name.strip()) is not None


def read_complete(data: bytes, where: str) -> list[Row]:
    """Read the rows of `complete.csv`.

    Columns may be separated by `;` or tabs, and stand in any order; further ones are passed over.

    Args:
        data: Content of the file, UTF-8.
        where: The file, for messages.

    Raises:
        UserError: If it is no such table; the line is named.
    """
    names, lines, sign = read_table(data, where, _REMEDY)
    if not names:
        return []
    if "image" not in names or (set(HEADER) & set(names)) not in (set(HEADER), {"image"}):
        raise UserError(f"{where}: the first line is {sign.join(names)!r}; {_REMEDY}")
    places = {name: names.index(name) for name in HEADER if name in names}
    return [_row(cells, places, len(names), f"{where}: line {at}", at) for at, cells in lines]


def write_complete(path: str | Path, areas: Mapping[str, Complete]) -> None:
    """Write where images are complete; an image that is complete nowhere has no row.

    Args:
        path: The file; it appears complete or not at all.
        areas: By the image's name.

    Raises:
        UserError: If the file cannot be written.
    """
    rows: list[list[object]] = []
    for image, area in areas.items():
        if area is True:
            rows.append([image, "", "", "", ""])
        windows = () if isinstance(area, bool) else area
        rows += [[image, x0, y0, x1 - x0, y1 - y0] for y0, x0, y1, x1 in windows]
    write_table(path, HEADER, rows)


def area_of(rows: Sequence[Row], shape: tuple[int, int], where: str) -> Complete:
    """The area of an image that its rows name together.

    Args:
        rows: Those of the image.
        shape: Height and width of the image, pixels; what reaches beyond is cut.
        where: The file, for messages.

    Raises:
        UserError: If a rectangle lies outside the image.
    """
    mask = np.zeros(shape, bool)
    for row in rows:
        y0, x0, y1, x1 = row.window or (0, 0, *shape)
        cut = Window(max(y0, 0), max(x0, 0), min(y1, shape[0]), min(x1, shape[1]))
        if cut.y0 >= cut.y1 or cut.x0 >= cut.x1:
            raise UserError(
                f"{where}: line {row.line}: x={x0}, y={y0}, width={x1 - x0}, height={y1 - y0} "
                f"lies outside the {shape[0]} x {shape[1]} pixels (height x width) of "
                f"{row.image!r}; correct the row"
            )
        mask |= mask_of((cut,), shape)
    return complete_of(mask)


def _row(cells: list[str], places: Mapping[str, int], width: int, where: str, line: int) -> Row:
    filled = cells + [""] * (width - len(cells))
    if any(map(str.strip, filled[width:])):
        raise UserError(f"{where} has more cells than the first line; put names in quotes")
    image, *texts = [filled[place] for place in places.values()]
    if not image.strip():
        raise UserError(f"{where} names no image; {_REMEDY}")
    if not any(map(str.strip, texts)):
        return Row(image, None, line)
    try:
        x, y, wide, high = map(_whole, texts)
    except ValueError as error:
        raise UserError(f"{where}: {error} is not a whole number of pixels; {_REMEDY}") from error
    if wide < 1 or high < 1:
        raise UserError(f"{where}: width={wide}, height={high} is no area; give 1 or more")
    return Row(image, Window(y, x, y + high, x + wide), line)


def _whole(text: str) -> int:
    """A whole number; other programs write `12.0` where a column has empty cells."""
    found = re.fullmatch(r"\s*(-?\d{1,9})(\.0*)?\s*", text)
    if not found:
        raise ValueError(repr(text.strip()))
    return int(found[1])
