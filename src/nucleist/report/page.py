"""One HTML page that needs nothing but itself: styles, script, pictures and tables are inside."""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from urllib.parse import quote

from nucleist import __version__
from nucleist.report.charts import Chart
from nucleist.report.grouping import DataSet, Model
from nucleist.report.table import Column, Row, Spread, Table, Value, shortened, text_of, to_csv
from nucleist.training.finished import Run

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Nothing is fetched, whatever the page should ask for."""


@dataclass(frozen=True)
class Section:
    """What there is to show of one data set."""

    data: DataSet
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    examples: Table
    pictures: tuple[tuple[Model, tuple[Chart, ...]], ...]


def page(title: str, sections: Sequence[Section], notes: Sequence[str]) -> str:
    """The whole page.

    Args:
        title: Head line.
        sections: Data sets.
        notes: What was left out or has to be known, a line each.
    """
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"{policy}\n<title>{escape(title)}</title>",
            f"<style>\n{_own('page.css')}</style>\n</head>\n<body>",
            *_header(title, sections),
            "<main>",
            *(line for section in sections for line in _section(section)),
            *_runs(sections),
            *_notes(notes),
            f"</main>\n<script>\n{_own('page.js')}</script>\n</body>\n</html>\n",
        ]
    )


def _own(name: str) -> str:
    return (resources.files("nucleist.report") / name).read_text(encoding="utf-8")


def _header(title: str, sections: Sequence[Section]) -> Iterator[str]:
    models = [model for section in sections for model in section.data.models]
    runs = sum(len(model.runs) for model in models)
    yield f"<header>\n<h1>{escape(title)}</h1>"
    yield (
        f'<p class="lede">{_count(runs, "run")} of {_count(len(models), "model")}, drawn from the '
        f"run folders alone by nucleist {__version__}. A figure links to the configurations of the "
        "runs behind it; a click on the head of a column sorts. Tinted columns are printed figures "
        "of the papers, not ours.</p>"
    )
    links = [
        link
        for section in sections
        for link in [(section.data.key, section.data.title.split(":")[0]), *_parts(section)]
    ]
    links += [("runs", "Runs and configurations"), ("notes", "Notes")]
    anchors = "\n".join(f'<a href="#{key}">{escape(words)}</a>' for key, words in links)
    yield f"<nav>\n{anchors}\n</nav>\n</header>"


def _parts(section: Section) -> Iterator[tuple[str, str]]:
    """Anchors of the curves and of the first table of each kind."""
    if section.charts:
        yield f"{section.data.key}-curves", "Curves"
    seen = set()
    for table in section.tables:
        name = re.match(r"Table \w+", table.title)
        if table.rows and name and name[0] not in seen:
            seen.add(name[0])
            yield table.key, name[0]


def _section(section: Section) -> Iterator[str]:
    data = section.data
    yield f'<section id="{data.key}">\n<h2>{escape(data.title)}</h2>'
    if data.tested_on_validation:
        yield (
            '<p class="note">Validation was on the test images, as in the paper: curves are '
            "test curves, and the best checkpoint is chosen on them.</p>"
        )
    for table in section.tables:
        yield from _table(table)
    if section.charts:
        yield f'<h3 id="{data.key}-curves">Curves: Fig. 4, thresholds, labels</h3>'
        yield '<div class="grid">'
        for chart in section.charts:
            yield _figure(chart, "wide" if chart.path.stem.split("_")[1] == "labels" else "")
        yield "</div>"
    yield from _table(section.examples)
    shown = [(model, charts) for model, charts in section.pictures if charts]
    for i, (model, charts) in enumerate(shown):
        yield f"<details{' open' if i == 0 else ''}>"
        yield f"<summary>Pictures: {escape(model.title)}</summary>"
        yield from map(_figure, charts)
        yield "</details>"
    yield "</section>"


def _figure(chart: Chart, kind: str = "") -> str:
    media = "image/png" if chart.path.suffix == ".png" else "image/jpeg"
    data = base64.b64encode(chart.path.read_bytes()).decode()
    words = escape(chart.title)
    hint = f' title="{escape(chart.full)}"' if chart.full else ""
    return (
        f'<figure class="{kind}"{hint}>\n<img alt="{words}" src="data:{media};base64,{data}">\n'
        f"<figcaption><b>{words}.</b> {escape(chart.note)}</figcaption>\n</figure>"
    )


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        return
    whole, table = table, table.in_print()
    if table.headline:
        yield f'<section id="{table.key}">\n<h3>{escape(table.title)}</h3>'
    else:
        yield f'<details id="{table.key}">\n<summary>{escape(table.title)}</summary>'
    text = [_is_text(table, i) for i in range(len(table.columns))]
    yield '<div class="scroll">\n<table>\n<thead>\n<tr>'
    yield from (_head(column, words) for column, words in zip(table.columns, text, strict=True))
    yield "</tr>\n</thead>\n<tbody>"
    yield from (_row(table.columns, row, text) for row in table.rows)
    yield "</tbody>\n</table>\n</div>"
    yield from (f'<p class="note">{escape(note)}</p>' for note in table.notes)
    if table.commands:
        yield f"<pre>{escape(chr(10).join(table.commands))}</pre>"
    address = f"data:text/csv;charset=utf-8,{quote(to_csv(whole))}"
    yield f'<p class="note"><a download="{table.key}.csv" href="{address}">CSV</a></p>'
    yield "</section>" if table.headline else "</details>"


def _is_text(table: Table, i: int) -> bool:
    return any(isinstance(row.cells[i], str) for row in table.rows)


def _head(column: Column, words: bool) -> str:
    small = "<small>paper</small>" if column.published else ""
    return f'<th scope="col" tabindex="0"{_class(column, words)}>{escape(column.title)}{small}</th>'


def _row(columns: Sequence[Column], row: Row, text: Sequence[bool]) -> str:
    cells = zip(columns, row.cells, text, strict=True)
    kind = ' class="summary"' if row.summary else ""
    return (
        f"<tr{kind}>{''.join(_cell(c, value, words, row.link) for c, value, words in cells)}</tr>"
    )


def _cell(column: Column, value: Value, words: bool, link: str | None) -> str:
    text = text_of(value, column)
    shown = escape(shortened(text))
    if isinstance(value, Spread):
        shown = re.sub("( ± .*)", r"<small>\1</small>", shown)
    plain = value.mean if isinstance(value, Spread) else value
    if shown and link and not column.published:
        hint = ""
        if isinstance(value, Spread) and len(value.values) > 1:
            hint = f' title="{", ".join(f"{v:.{value.digits}f}" for v in value.values)}"'
        shown = f'<a href="#{link}"{hint}>{shown}</a>'
    sort = "" if plain is None else f' data-value="{escape(str(plain))}"'
    sort += f' title="{escape(text)}"' if shortened(text) != text else ""
    return f"<td{_class(column, words)}{sort}>{shown}</td>"


def _class(column: Column, words: bool) -> str:
    names = [name for name, wanted in (("text", words), ("paper", column.published)) if wanted]
    return f' class="{" ".join(names)}"' if names else ""


def _runs(sections: Iterable[Section]) -> Iterator[str]:
    yield '<section id="runs">\n<h2>Runs and configurations</h2>'
    for section in sections:
        for model in section.data.models:
            yield f'<section id="{model.key}">\n<h3>{escape(model.title)}</h3>'
            for i, run in enumerate(model.runs, 1):
                yield _run(f"{model.key}-run-{i}", run)
            yield "</section>"
    yield "</section>"


def _run(key: str, run: Run) -> str:
    made = run.environment
    facts = [f"seed {run.seed}", str(run.folder)]
    facts += [f"{name} {made[name]}" for name in ("nucleist", "torch") if made.get(name)]
    facts += [f"commit {str(made['git'])[:7]}{str(made['git'])[40:]}"] if made.get("git") else []
    command = f"$ {made['command']}\n\n" if made.get("command") else ""
    summary = f"<summary>{escape(' · '.join(facts))}</summary>"
    text = f"<pre>{escape(command + run.config_text)}</pre>"
    return f'<details class="run" id="{escape(key)}">\n{summary}\n{text}\n</details>'


def _notes(notes: Sequence[str]) -> Iterator[str]:
    yield '<section id="notes">\n<h2>Notes</h2>'
    if notes:
        yield "<ul>\n" + "\n".join(f"<li>{escape(note)}</li>" for note in notes) + "\n</ul>"
    else:
        yield "<p>None: every run is finished and complete, and no limit cut what a net found.</p>"
    yield "</section>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
