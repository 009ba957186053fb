"""A report from run folders: `report.html`, and beside it Markdown, CSV and the pictures."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.files import write_text
from nucleist.report.charts import Chart, charts
from nucleist.report.find import find_runs
from nucleist.report.grouping import DataSet, group
from nucleist.report.organs import table3, table4
from nucleist.report.page import Section, page
from nucleist.report.pictures import example_table, pictures
from nucleist.report.speeds import MEASURED, not_measured, table2
from nucleist.report.table import Table, to_csv, to_markdown
from nucleist.report.tables import table1, table1b
from nucleist.training.finished import AVERAGES, MORE_METRICS, PARTS, Run, caps_in_words, read_json
from nucleist.types import UserError

HEAD = ("experiment", "seed", "annotation_fraction", "exemplars", "crop_fraction")
SEEDS = ("annotation_seed", "data_seed")
COUNTS = ("labelled_nuclei", "steps", "parameters", "train_seconds")
SCORES = ("map", "aji", "ncs", "precision", "recall", "pq", *MORE_METRICS)


def write_report(
    arguments: Sequence[str | Path],
    output: str | Path,
    *,
    title: str = "nucleist report",
    titles: Mapping[str, str] | None = None,
) -> list[str]:
    """Write `report.html`, `report.md`, `runs.csv`, `tables/*.csv` and `figures/*` to a folder.

    Table 2 is drawn from `speed.json` if that lies in the folder.

    Args:
        arguments: Run folders, or folders that hold some at any depth.
        output: Folder for the report; files of an earlier report are replaced.
        title: Head line.
        titles: Words for the names of experiments.

    Returns:
        What was left out or has to be known, a line each.

    Raises:
        UserError: If an argument holds no run, no run is finished, or a file cannot be written.
    """
    folder = Path(output)
    runs, notes = find_runs([Path(argument) for argument in arguments])
    sets, repeated = group(runs, titles)
    measured = read_json(folder / MEASURED)
    notes += repeated + not_measured(sets, measured)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder ({error.strerror})") from error
    sections = [_section(data, folder / "figures", notes, measured) for data in sets]
    write_text(folder / "report.html", page(title, sections, notes))
    write_text(folder / "report.md", _markdown(title, sections, notes, folder))
    write_text(folder / "runs.csv", _runs_csv(sets))
    for table in (t for section in sections for t in (*section.tables, section.examples)):
        write_text(folder / "tables" / f"{table.key}.csv", to_csv(table))
    return notes


def _section(
    data: DataSet, figures: Path, notes: list[str], measured: Mapping[str, Any]
) -> Section:
    tables: list[Table] = [*table1(data), *table1b(data), table2(data, measured), *table3(data)]
    last = table4(data)
    tables += [last] if last else []
    drawn = tuple(charts(data, figures, notes))
    shown = tuple((model, tuple(some)) for model, some in pictures(data, figures, notes))
    return Section(data, tuple(tables), drawn, example_table(data), shown)


def _markdown(title: str, sections: Sequence[Section], notes: Sequence[str], folder: Path) -> str:
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.data.title}", ""]
        tables = [table for table in section.tables if table.rows]
        lines += [to_markdown(table) for table in tables if table.headline]
        lines += [_image(chart, folder) for chart in section.charts]
        lines += [to_markdown(table) for table in tables if not table.headline]
        lines += [to_markdown(section.examples)] if section.examples.rows else []
        for model, some in section.pictures:
            lines += [f"### Pictures: {model.title}", ""] if some else []
            lines += [_image(chart, folder) for chart in some]
        for model in section.data.models:
            folders = ", ".join(f"`{run.folder}` (seed {run.seed})" for run in model.runs)
            lines.append(f"- {model.title}: {folders}")
        lines.append("")
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def _image(chart: Chart, folder: Path) -> str:
    words, path = f"{chart.title}. {chart.note}".strip(), chart.path.relative_to(folder)
    print_form = path.with_suffix(".pdf")
    more = f" ([PDF]({print_form.as_posix()}))" if (folder / print_form).exists() else ""
    return f"![{words}]({path.as_posix()})\n\n*{words}*{more}\n"


def _runs_csv(sets: Sequence[DataSet]) -> str:
    """Every score of every run, a line for each kind of threshold."""
    names = [f"{score}_{average}" for score in SCORES for average in AVERAGES]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    kind = ("supervision", "limits_reached", "threshold_kind", "score_threshold")
    writer.writerow(["data", "model", *HEAD, *SEEDS, *COUNTS, *kind, *names, "folder"])
    for data in sets:
        for model in data.models:
            for run in model.runs:
                writer.writerows([data.title, model.title, *row] for row in _rows(run))
    return page.getvalue()


def _rows(run: Run) -> Iterator[list[object]]:
    own = [run.summary.get(key) for key in HEAD] + list(run.seeds[1:])
    own += [run.summary.get(key) for key in COUNTS]
    own += [run.get("data.supervision", "instances"), caps_in_words(run.capped())]
    for part in PARTS:
        if run.threshold(part) is not None:
            scores = [run.score(part, score, average) for score in SCORES for average in AVERAGES]
            yield [*own, part, run.threshold(part), *scores, run.folder]
