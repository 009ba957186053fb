"""A table of figures, and the same table as Markdown and as CSV.

On the page and in Markdown a figure of several seeds is `mean ± half the range`; in CSV its mean,
lowest, highest and number of seeds have columns of their own, unrounded.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

SPREAD = "Mean over seeds ± half the range from the lowest to the highest; no ± is one seed."


@dataclass(frozen=True)
class Spread:
    """A figure of several seeds.

    >>> str(Spread((0.5, 0.6))), str(Spread((0.5,)))
    ('0.550 ± 0.050', '0.500')
    """

    values: tuple[float, ...]
    digits: int = 3

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def half_range(self) -> float:
        """Half the distance of the lowest and the highest."""
        return (max(self.values) - min(self.values)) / 2

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        return mean if len(self.values) == 1 else f"{mean} ± {self.half_range:.{self.digits}f}"


Value = str | int | float | Spread | None
"""What a cell holds; None is empty."""


def spread(values: Iterable[float], digits: int = 3) -> Spread | None:
    """The figure of some seeds, None of none."""
    found = tuple(values)
    return Spread(found, digits) if found else None


def setting(values: Iterable[float], digits: int = 0) -> Value:
    """Likewise of what was chosen, not measured: the plain number if all seeds have the same."""
    found = tuple(values)
    if len(set(found)) != 1:
        return spread(found, digits)
    return found[0] if digits else int(found[0])


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: In CSV.
        title: In print.
        published: Whether its figures are a paper's, not ours.
        digits: Decimals of plain numbers in print.
        folds: Whether it is said once below, in print, if all rows have the same.
        unprinted: Whether it is in the CSV file alone.
    """

    name: str
    title: str
    published: bool = False
    digits: int = 3
    folds: bool = False
    unprinted: bool = False


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        cells: One for each column.
        link: The place on the page that tells of the runs behind it.
        summary: Whether it sums up the others.
        mark: Stands behind the first cell in print; a note below tells what it means.
    """

    cells: tuple[Value, ...]
    link: str | None = None
    summary: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its words.

    Attributes:
        key: Names its CSV file.
        title: Above it.
        columns: One for each cell of a row.
        rows: May be empty; then the table is left out.
        notes: Below it, one paragraph each.
        headline: Whether it is open on the page; others are folded.
        commands: What to type to fill it, if something is missing.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    headline: bool = True
    commands: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError(f"Expected {len(self.columns)} cells in each row of {self.key}")

    def without_empty_columns(self) -> "Table":
        """The table without the columns that have no value in any row."""
        places = range(len(self.columns))
        return self._only([i for i in places if any(r.cells[i] is not None for r in self.rows)])

    def in_print(self) -> "Table":
        """The table as it is printed.

        What is for the CSV file alone is left out, marks are behind the first cells, and columns
        that say the same in every row are told below.
        """
        marked = tuple(
            replace(row, cells=(f"{row.cells[0]}{row.mark}", *row.cells[1:])) if row.mark else row
            for row in self.rows
        )
        printed = [i for i, column in enumerate(self.columns) if not column.unprinted]
        return replace(self, rows=marked)._only(printed)._folded()

    def _folded(self) -> "Table":
        same = {
            i: text_of(self.rows[0].cells[i], column)
            for i, column in enumerate(self.columns)
            if column.folds and self.rows and len({row.cells[i] for row in self.rows}) == 1
        }
        if not same:
            return self
        words = ", ".join(f"{self.columns[i].title} {text}" for i, text in same.items())
        short = self._only([i for i in range(len(self.columns)) if i not in same])
        return replace(short, notes=(f"In every row: {words}.", *self.notes))

    def _only(self, full: Sequence[int]) -> "Table":
        rows = tuple(replace(r, cells=tuple(r.cells[i] for i in full)) for r in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in full), rows=rows)


def text_of(value: Value, column: Column) -> str:
    """A cell in print.

    >>> text_of(0.12345, Column("a", "a")), text_of(None, Column("a", "a"))
    ('0.123', '')
    """
    if value is None:
        return ""
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)


def shortened(text: str) -> str:
    """A long word, such as a name that is a checksum, by its beginning.

    >>> shortened("f113626a04125d97b27f21b45a0ce9a6"), shortened("TCGA-A7-A13F-01Z-00-DX1")
    ('f113626a04…', 'TCGA-A7-A13F-01Z-00-DX1')
    """
    return f"{text[:10]}…" if len(text) > 30 and " " not in text else text


def to_markdown(table: Table) -> str:
    """The table with its title and notes."""
    table = table.in_print()
    heads = [f"*{c.title} (paper)*" if c.published else c.title for c in table.columns]
    lines = [f"### {table.title}", "", _line(heads), "|" + "---|" * len(heads)]
    for row in table.rows:
        lines.append(_line([text_of(v, c) for v, c in zip(row.cells, table.columns, strict=True)]))
    lines += ["", *(f"{note}\n" for note in table.notes)]
    if table.commands:
        lines += ["```sh", *table.commands, "```", ""]
    return "\n".join(lines)


def to_csv(table: Table) -> str:
    """The table as CSV, figures unrounded."""
    several = [
        any(isinstance(row.cells[i], Spread) for row in table.rows)
        for i in range(len(table.columns))
    ]
    heads: list[str] = []
    for column, wide in zip(table.columns, several, strict=True):
        name = f"published_{column.name}" if column.published else column.name
        heads += [f"{name}{end}" for end in ("", "_low", "_high", "_seeds")] if wide else [name]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(heads)
    for row in table.rows:
        parts = zip(row.cells, several, strict=True)
        writer.writerow([cell for value, wide in parts for cell in _cells(value, wide)])
    return page.getvalue()


def _cells(value: Value, wide: bool) -> Sequence[str | int | float]:
    if isinstance(value, Spread):
        low, high = min(value.values), max(value.values)
        return [round(v, 9) for v in (value.mean, low, high)] + [len(value.values)]
    own = "" if value is None else value
    return [own, "", "", ""] if wide else [own]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
