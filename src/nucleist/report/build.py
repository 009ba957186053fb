"""A report from run folders: `report.html`, and beside it Markdown, CSV files and pictures."""

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.files import make_folder, read_json_if_there, write_text
from nucleist.progress import shown
from nucleist.report.charts import Chart, charts
from nucleist.report.find import find_runs
from nucleist.report.fold_table import fold_table
from nucleist.report.grouping import Benchmark, group_runs
from nucleist.report.opening import opening
from nucleist.report.organ_tables import table3, table4
from nucleist.report.page import Section, page
from nucleist.report.pictures import example_table, pictures
from nucleist.report.score_tables import table1, table1b
from nucleist.report.settings import fold_of, replicate_in_words
from nucleist.report.speed_table import MEASURED, Amount, not_measured, table2
from nucleist.report.table import Table, to_csv, to_markdown
from nucleist.training.finished import (
    AVERAGES,
    EVIDENCE,
    LABELLED,
    MORE_METRICS,
    Run,
    limits_in_words,
)
from nucleist.types import Progress, UserError

HEAD = ("experiment", "seed", "annotation_fraction", "exemplars", "crop_fraction")
SEEDS = ("annotation_seed", "data_seed", "fold")
COUNTS = ("labelled_nuclei", "steps", "parameters", "train_seconds")
SCORES = ("map", "aji", "ncs", "precision", "recall", "pq", *MORE_METRICS, *LABELLED)

Place = str | Path


def write_report(
    runs: Place | Sequence[Place],
    output: Place,
    *,
    title: str = "nucleist report",
    names: Mapping[str, str] | None = None,
    overwrite: bool = False,
    measure: Amount | None = None,
    progress: bool | Progress = False,
) -> Path:
    """Write tables, curves and pictures of finished runs in the layout of the papers.

    The folder then holds `report.html`, which needs nothing else, `report.md`, `runs.csv`,
    `tables/*.csv` and `figures/*`. Runs that are not finished are left out with a note.

    Args:
        runs: Run folders, or folders that hold some at any depth.
        output: Folder for the report.
        title: Head line.
        names: Words to show in place of the names of experiments.
        overwrite: Replace an earlier report in the folder.
        measure: How much to measure of each model's speed and memory, for Table 2; `None` uses
            `speed.json` of an earlier measurement in the folder, else what each run recorded.
        progress: Notes on what is left out or may be wrong, which are on the page too.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: If there is a report already, a folder holds no run, no run is finished, or a
            file cannot be written.
    """
    folder, shows = Path(output), shown(progress)
    target = folder / "report.html"
    if target.exists() and not overwrite:
        raise UserError(f"{target}: is there already; choose another folder, or overwrite=true")
    places = [runs] if isinstance(runs, str | Path) else list(runs)
    found, notes = find_runs([Path(place) for place in places])
    benchmarks, repeated = group_runs(found, names)
    make_folder(folder / "figures")
    if measure is not None:
        _measure(benchmarks, folder, measure, places, shows)
    measured = read_json_if_there(folder / MEASURED)
    notes += repeated + not_measured(benchmarks, measured)
    sections = [_section(one, folder / "figures", notes, measured) for one in benchmarks]
    write_text(folder / "report.md", _markdown(title, sections, notes, folder))
    write_text(folder / "runs.csv", _runs_csv(benchmarks))
    for table in (t for section in sections for t in (*section.tables, section.examples)):
        write_text(folder / "tables" / f"{table.key}.csv", to_csv(table))
    write_text(target, page(title, sections, notes))
    for note in notes:
        shows.note(note)
    return target


def _measure(
    benchmarks: Sequence[Benchmark],
    folder: Path,
    amount: Amount,
    runs: Sequence[Place],
    shows: Progress,
) -> None:
    """Write `speed.json` into the report's folder."""
    from nucleist.report.side_by_side import measure_side_by_side  # imports launchers and nets

    settings = [f"{name}={value}" for name, value in amount.settings().items()]
    words = [*map(str, runs), "-o", str(folder), "measure=true", *settings]
    command = shlex.join(["nucleist", "report", *words])
    groups = [group for benchmark in benchmarks for group in benchmark.groups]
    measure_side_by_side(groups, folder / MEASURED, amount, command, shows)


def _section(
    benchmark: Benchmark, figures: Path, notes: list[str], measured: Mapping[str, Any]
) -> Section:
    over_folds = fold_table(benchmark)
    tables: list[Table] = [over_folds] if over_folds else []
    tables += [*table1(benchmark), *table1b(benchmark)]
    tables += [table2(benchmark, measured), *table3(benchmark)]
    last = table4(benchmark)
    tables += [last] if last else []
    drawn = tuple(charts(benchmark, figures, notes))
    found = pictures(benchmark, figures, notes)
    of_groups = tuple((group, tuple(some)) for group, some in found)
    begins = opening(benchmark, found)
    return Section(benchmark, tuple(tables), drawn, example_table(benchmark), of_groups, begins)


def _markdown(title: str, sections: Sequence[Section], notes: Sequence[str], folder: Path) -> str:
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.benchmark.title}", ""]
        begins = section.opening
        lines += [_image(begins.picture, folder)] if begins.picture else []
        lines += [" ".join(begins.sentences), "", "```sh", begins.command, "```", ""]
        tables = [table for table in section.tables if table.rows]
        lines += [to_markdown(table) for table in tables if table.headline]
        lines += [_image(chart, folder) for chart in section.charts]
        lines += [to_markdown(table) for table in tables if not table.headline]
        lines += [to_markdown(section.examples)] if section.examples.rows else []
        for group, some in section.pictures:
            lines += [f"### Pictures: {group.title}", ""] if some else []
            lines += [_image(chart, folder) for chart in some]
        for group in section.benchmark.groups:
            folders = ", ".join(f"`{run.folder}` ({replicate_in_words(run)})" for run in group.runs)
            lines.append(f"- {group.title}: {folders}")
        lines.append("")
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def _image(chart: Chart, folder: Path) -> str:
    words, path = f"{chart.title}. {chart.note}".strip(), chart.path.relative_to(folder)
    print_form = path.with_suffix(".pdf")
    more = f" ([PDF]({print_form.as_posix()}))" if (folder / print_form).exists() else ""
    return f"![{words}]({path.as_posix()})\n\n*{words}*{more}\n"


def _runs_csv(benchmarks: Sequence[Benchmark]) -> str:
    """Every score of every run, a line for each kind of score threshold.

    There is a column for each score that some run has.
    """
    found = [score for score in SCORES if any(one.has_score(score) for one in benchmarks)]
    names = [f"{score}_{average}" for score in found for average in AVERAGES]
    partial = any(score in LABELLED for score in found)
    stands = {f"scored_{name}": name for name in EVIDENCE} if partial else {}
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    kind = ("supervision", "limits_reached", "threshold_kind", "score_threshold")
    writer.writerow(["data", "model", *HEAD, *SEEDS, *COUNTS, *kind, *names, *stands, "folder"])
    for benchmark in benchmarks:
        for group in benchmark.groups:
            for run in group.runs:
                rows = _rows(run, found, stands.values())
                writer.writerows([benchmark.title, group.title, *row] for row in rows)
    return page.getvalue()


def _rows(run: Run, found: Iterable[str], stands: Iterable[str]) -> Iterator[list[object]]:
    own = [run.summary.get(key) for key in HEAD] + [*run.seeds[1:], fold_of(run)]
    own += [run.summary.get(key) for key in COUNTS]
    own += [run.get("data.supervision", "instances"), limits_in_words(run.limits_reached())]
    for part in run.parts:
        if run.threshold(part) is not None:
            scores = [run.score(part, score, average) for score in found for average in AVERAGES]
            scores += [run.evidence(part, name) for name in stands]
            yield [*own, part, run.threshold(part), *scores, run.folder]
