"""The page of a report: what its template shows of tables, pictures and runs.

The template is `templates/report.html.jinja`; it escapes every value.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from nucleist import __version__
from nucleist.report.charts import Chart
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.opening import Opening
from nucleist.report.table import Column, OverSeeds, Row, Table, Value, shortened, text_of, to_csv
from nucleist.training.finished import Run


@dataclass(frozen=True)
class Section:
    """The part of a report about one benchmark.

    Attributes:
        benchmark: The compared groups of runs.
        tables: In the order of the page; those without rows are left out.
        charts: Curves.
        examples: The table of best and worst images.
        pictures: Each group with pictures of its runs.
        opening: The picture and the sentences that it begins with.
    """

    benchmark: Benchmark
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    examples: Table
    pictures: tuple[tuple[RunGroup, tuple[Chart, ...]], ...]
    opening: Opening


def page(title: str, sections: Sequence[Section], notes: Sequence[str]) -> str:
    """The whole page as HTML; styles, script, pictures and tables are inside.

    Args:
        title: Head line.
        sections: One for each benchmark.
        notes: What was left out or may make a figure wrong, a line each.
    """
    groups = [group for section in sections for group in section.benchmark.groups]
    runs = sum(len(group.runs) for group in groups)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            title=title,
            version=__version__,
            counts=f"{_count(runs, 'run')} of {_count(len(groups), 'model')}",
            links=[*_links(sections), ("runs", "Runs and configurations"), ("notes", "Notes")],
            sections=sections,
            notes=notes,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nucleist.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"data_address": data_address, "table_view": table_view, "facts": facts}
    return environment


def _links(sections: Sequence[Section]) -> Iterator[tuple[str, str]]:
    """Anchors and words: each benchmark, its curves, the first table of each kind."""
    for section in sections:
        key = section.benchmark.key
        yield key, section.benchmark.title.split(":")[0]
        if section.charts:
            yield f"{key}-curves", "Curves"
        seen = set()
        for table in section.tables:
            name = re.match(r"Table \w+", table.title)
            if table.rows and name and name[0] not in seen:
                seen.add(name[0])
                yield table.key, name[0]


def data_address(path: Path) -> str:
    """The content of a PNG or JPEG file as a `data:` address."""
    media = "image/png" if path.suffix == ".png" else "image/jpeg"
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def facts(run: Run) -> list[str]:
    """Seed, folder and versions of a run, as the page lists them."""
    made = run.environment
    versions = [f"{name} {made[name]}" for name in ("nucleist", "torch") if made.get(name)]
    git = str(made.get("git") or "")
    commit = [f"commit {git[:7]}{git[40:]}"] if git else []
    return [f"seed {run.seed}", str(run.folder), *versions, *commit]


class HeadView(NamedTuple):
    """A column's head: words, class of the element, whether the figures are a paper's."""

    title: str
    kind: str | None
    published: bool


class CellView(NamedTuple):
    """A cell on the page.

    Attributes:
        text: What is shown, shortened if it is long; of several seeds the mean.
        range: Shown smaller after it: ` ± 0.010`.
        link: Anchor of the runs behind it, `None` for none.
        each_seed: The values of all seeds, shown when the pointer rests on the link.
        attributes: Of the element: its class, the value that sorts it, the whole of a long text.
    """

    text: str
    range: str
    link: str | None
    each_seed: str | None
    attributes: Mapping[str, str | None]


class RowView(NamedTuple):
    """A row on the page; a summary stays below the others when they are sorted."""

    cells: list[CellView]
    summary: bool


class TableView(NamedTuple):
    """A table on the page; the names are those of `Table`, the CSV file has all its columns."""

    key: str
    title: str
    headline: bool
    heads: list[HeadView]
    rows: list[RowView]
    notes: Sequence[str]
    commands: Sequence[str]
    csv_address: str


def table_view(whole: Table) -> TableView:
    """What the page shows of a table."""
    table = whole.in_print()
    is_text = [any(isinstance(row.cells[i], str) for row in table.rows) for i in _places(table)]
    kinds = [_kind(column, words) for column, words in zip(table.columns, is_text, strict=True)]
    heads = zip(table.columns, kinds, strict=True)
    return TableView(
        table.key,
        table.title,
        table.headline,
        [HeadView(column.title, kind, column.published) for column, kind in heads],
        [_row(table.columns, kinds, row) for row in table.rows],
        table.notes,
        table.commands,
        f"data:text/csv;charset=utf-8,{quote(to_csv(whole))}",
    )


def _places(table: Table) -> range:
    return range(len(table.columns))


def _kind(column: Column, is_text: bool) -> str | None:
    names = (("text", is_text), ("paper", column.published))
    return " ".join(name for name, wanted in names if wanted) or None


def _row(columns: Sequence[Column], kinds: Sequence[str | None], row: Row) -> RowView:
    cells = zip(columns, row.cells, kinds, strict=True)
    return RowView([_cell(*cell, row.link) for cell in cells], row.summary)


def _cell(column: Column, value: Value, kind: str | None, link: str | None) -> CellView:
    text = text_of(value, column)
    shown, plus_minus, half_range = shortened(text), "", ""
    each_seed = None
    sort: object = value
    if isinstance(value, OverSeeds):
        shown, plus_minus, half_range = text.partition(" ± ")
        sort = value.mean
        if len(value.values) > 1:
            each_seed = ", ".join(f"{v:.{value.digits}f}" for v in value.values)
    attributes = {
        "class": kind,
        "data-value": None if sort is None else str(sort),
        "title": text if shortened(text) != text else None,
    }
    linked = link if shown and value is not None and not column.published else None
    return CellView(shown, plus_minus + half_range, linked, each_seed, attributes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
