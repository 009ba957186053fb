"""A table of figures, and the same table as Markdown and as CSV.

On the page and in Markdown the values of several seeds are `mean ± half the range`; in CSV their
mean, lowest value, highest value and number have columns of their own, unrounded.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

SPREAD = "Mean over seeds ± half the range from the lowest to the highest; no ± is one seed."

OVER_FOLDS = (
    "Mean over folds and seeds ± half the range from the lowest to the highest run; folds test "
    "other images, so their range is wider than that of seeds."
)


@dataclass(frozen=True)
class OverSeeds:
    """The values of one score over seeds, shown as mean and half the range.

    Args:
        values: One for each seed, at least one.
        digits: Decimals in print.

    Examples:
        >>> str(OverSeeds((0.5, 0.6))), str(OverSeeds((0.5,)))
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
        """Half the difference between the highest and the lowest value."""
        return (max(self.values) - min(self.values)) / 2

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        return mean if len(self.values) == 1 else f"{mean} ± {self.half_range:.{self.digits}f}"


@dataclass(frozen=True)
class WithInterval:
    """A value with its interval; in CSV the ends have columns of their own.

    Examples:
        >>> str(WithInterval(0.5, 0.45, 0.5512))
        '0.500 [0.450, 0.551]'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Value = str | int | float | OverSeeds | WithInterval | None
"""The value of a cell; None is an empty one."""


def over_seeds(values: Iterable[float], digits: int = 3) -> OverSeeds | None:
    """The values of one score over seeds; None if there are none."""
    found = tuple(values)
    return OverSeeds(found, digits) if found else None


def setting_over_seeds(values: Iterable[float], digits: int = 0) -> Value:
    """A setting over seeds: the plain number if all have the same, else as `over_seeds`.

    Args:
        values: One for each seed.
        digits: Decimals in print; 0 makes a plain number an `int`.
    """
    found = tuple(values)
    if len(set(found)) != 1:
        return over_seeds(found, digits)
    return found[0] if digits else int(found[0])


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Head in CSV.
        title: Head in print.
        published: Whether its values are those of a paper.
        digits: Decimals of plain numbers in print.
        folds: Whether a note replaces it in print if all rows have the same value.
        unprinted: Whether it is in the CSV file only.
        dash: Whether a cell without a value has a dash in print: that score does not exist.
    """

    name: str
    title: str
    published: bool = False
    digits: int = 3
    folds: bool = False
    unprinted: bool = False
    dash: bool = False


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        cells: One for each column.
        link: Anchor of the runs behind it, on the page.
        summary: Whether it is a mean or a total of other rows.
        mark: Added to the first cell in print; a note explains it.
    """

    cells: tuple[Value, ...]
    link: str | None = None
    summary: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its words.

    Attributes:
        key: Name of its CSV file, and its anchor on the page.
        title: Above it.
        columns: One for each cell of a row.
        rows: May be empty; then the table is left out.
        notes: Below it, one paragraph each.
        headline: Whether it is open on the page; others are folded.
        commands: Commands that supply what is missing.
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

        Columns for the CSV file only are left out, marks are added to the first cells, and a note
        replaces each column that folds and has the same value in every row.
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

    Examples:
        >>> text_of(0.12345, Column("a", "a")), text_of(None, Column("a", "a"))
        ('0.123', '')
    """
    if value is None:
        return "\N{EN DASH}" if column.dash else ""
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)


def shortened(text: str) -> str:
    """The beginning of a long word, such as a file name that is a checksum; else the text.

    Examples:
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
    """The table as CSV, numbers unrounded."""
    several = [_ends([row.cells[i] for row in table.rows]) for i in range(len(table.columns))]
    heads: list[str] = []
    for column, ends in zip(table.columns, several, strict=True):
        name = f"published_{column.name}" if column.published else column.name
        heads += [f"{name}{end}" for end in ends]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(heads)
    for row in table.rows:
        parts = zip(row.cells, several, strict=True)
        writer.writerow([cell for value, ends in parts for cell in _cells(value, len(ends))])
    return page.getvalue()


def _ends(cells: Sequence[Value]) -> tuple[str, ...]:
    """Ends of the names of the columns that a column has in CSV."""
    if any(isinstance(cell, OverSeeds) for cell in cells):
        return "", "_low", "_high", "_seeds"
    return ("", "_low", "_high") if any(isinstance(c, WithInterval) for c in cells) else ("",)


def _cells(value: Value, count: int) -> Sequence[str | int | float]:
    if isinstance(value, OverSeeds):
        low, high = min(value.values), max(value.values)
        return [round(v, 9) for v in (value.mean, low, high)] + [len(value.values)]
    if isinstance(value, WithInterval):
        return [round(v, 9) for v in (value.value, value.low, value.high)]
    return [*([""] if value is None else [value]), *([""] * (count - 1))]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
