"""Folds as replicates: groups, averages over folds and seeds, and intervals with known answers."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from support.reports import BASELINE, PA, make_run, scores, write_csv

from nucleist.metrics.match_counts import COLUMNS
from nucleist.report import write_report
from nucleist.report.find import find_runs
from nucleist.report.fold_table import fold_table
from nucleist.report.grouping import Benchmark, group_runs
from nucleist.report.score_tables import table1
from nucleist.report.table import Table, to_csv, to_markdown

pytestmark = pytest.mark.slow

FIELDS = {0: ("a", "b"), 1: ("c", "d")}


def make_fold(
    top: Path, name: str, fold: int, found: int, model: str = PA, seed: int = 0, **options
) -> Path:
    """A run whose fold tests two fields of two images: `found` of 100 nuclei in each image."""
    process = options.pop("process", 10 * fold + 1)
    run = make_run(top, name, seed, model, val="val", process=process,
                   test=found / 100, calibrated=found / 100, **options)  # fmt: skip
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"folds": 2, "fold": fold, "fractions": None, "fold_seed": 0}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    row = dict.fromkeys(COLUMNS, found) | {"nuclei": 100, "aji_union": 100}
    write_csv(run / "match_counts.csv", [
        {"image": f"{field}{i}", "group": field, "score_threshold": t, **row}
        for field in FIELDS[fold] for i in (0, 1) for t in (0.4, 0.5)
    ])  # fmt: skip
    return run


def one_set(folder: Path) -> tuple[Benchmark, list[str]]:
    (found,), notes = group_runs(find_runs([folder])[0])
    return found, notes


def rows_of(found: Table) -> dict[str, dict[str, str]]:
    return {row["model"]: row for row in csv.DictReader(to_csv(found).splitlines())}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """All labels find 80 and 60 of 100 in the two folds, a quarter 70 and 50."""
    for fold, (full, quarter) in enumerate(((80, 70), (60, 50))):
        make_fold(tmp_path, "all", fold, full, BASELINE, nuclei=400)
        make_fold(tmp_path, "quarter", fold, quarter, fraction=0.25)
    return tmp_path


def test_folds_are_one_group_and_its_runs_are_sorted(runs: Path) -> None:
    found, notes = one_set(runs)
    assert notes == [] and [len(group.runs) for group in found.groups] == [2, 2]
    assert [run.get("data.fold") for run in found.groups[0].runs] == [0, 1]
    assert "2 folds by group" in found.title and not found.tested_on_validation


def test_pooled_scores_and_paired_differences(runs: Path) -> None:
    found = fold_table(one_set(runs)[0])
    assert found is not None
    rows = rows_of(found)
    assert (rows["all"]["folds"], rows["all"]["seeds"], rows["all"]["test_groups"]) == (
        "2",
        "1",
        "4",
    )
    # equal fields within a fold: no draw changes anything
    ends = ("", "_low", "_high")
    for end in ends:
        assert float(rows["all"][f"map_test_calibrated{end}"]) == pytest.approx(0.7)
        assert float(rows["quarter"][f"map_test{end}"]) == pytest.approx(0.6)
        assert float(rows["quarter"][f"minus_all_labels{end}"]) == pytest.approx(-0.1)
        assert float(rows["quarter"][f"of_all_labels{end}"]) == pytest.approx(0.6 / 0.7)
    assert rows["all"]["minus_all_labels"] == ""
    text = to_markdown(found)
    assert "| -0.100 [-0.100, -0.100] |" in text and "In every row: folds 2" in text


def test_seeds_widen_the_interval(runs: Path) -> None:
    for fold, found in enumerate((90, 70)):
        make_fold(runs, "all", fold, found, BASELINE, seed=1, nuclei=400)
    table = fold_table(one_set(runs)[0])
    assert table is not None
    row = rows_of(table)["all"]
    values = [float(row[f"map_test_calibrated{end}"]) for end in ("", "_low", "_high")]
    assert values == pytest.approx([0.75, 0.7, 0.8])
    assert (
        rows_of(table)["quarter"]["minus_all_labels"]
        == rows_of(table)["quarter"]["minus_all_labels_low"]
    )


def test_other_tables_say_folds_and_seeds(runs: Path) -> None:
    tables = {t.key.removeprefix("table1_"): t for t in table1(one_set(runs)[0])}
    found = next(t for key, t in tables.items() if key.endswith("last_test_pooled"))
    row = rows_of(found)["quarter"]
    assert (row["folds"], row["seeds"], row["map_pooled_seeds"]) == ("2", "1", "2")
    assert float(row["map_pooled"]) == pytest.approx(0.6)
    assert "Mean over folds and seeds" in to_markdown(found)


def test_a_repeated_fold_is_told_and_another_fold_is_no_repeat(runs: Path) -> None:
    make_fold(runs, "quarter", 1, 10, fraction=0.25, process=99)
    found, notes = one_set(runs)
    assert len(notes) == 1 and "repeats it (seed 0, fold 1)" in notes[0]
    assert [len(group.runs) for group in found.groups] == [2, 2]


def test_runs_without_folds_have_no_such_table_and_are_not_compared_with_folds(
    tmp_path: Path,
) -> None:
    make_run(tmp_path / "plain", "all", 0, BASELINE)
    assert fold_table(one_set(tmp_path / "plain")[0]) is None
    make_fold(tmp_path / "folds", "all", 0, 50, BASELINE)
    assert len(group_runs(find_runs([tmp_path])[0])[0]) == 2


def test_folds_of_an_earlier_version_have_no_interval(tmp_path: Path) -> None:
    (make_fold(tmp_path, "all", 0, 50, BASELINE) / "match_counts.csv").unlink()
    found, _ = one_set(tmp_path)
    assert fold_table(found) is None
    assert table1(found)


def test_the_report_shows_folds_first(runs: Path) -> None:
    page = write_report([runs], runs / "out")
    assert "Cross-validation" in page.read_text()
    text = (runs / "out" / "report.md").read_text()
    assert text.index("### Cross-validation") < text.index("### Table 1.")
    assert "(seed 0, fold 1)" in text
    rows = list(csv.DictReader((runs / "out" / "runs.csv").read_text().splitlines()))
    assert {row["fold"] for row in rows} == {"0", "1"}


def test_policies_and_numbers_of_images_are_labels_in_words(tmp_path: Path) -> None:
    for name, more in (
        ("a", {"policy": "easy_first"}), ("b", {"policy": "random"}), ("c", {"train_images": 5}),
    ):  # fmt: skip
        run = make_run(tmp_path, name, 0, fraction=0.1)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"] |= more
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    make_run(tmp_path, "b", 1, fraction=0.1)  # of a version without policies
    found, _ = one_set(tmp_path)
    words = {group.title.split(",")[0]: group.annotation for group in found.groups}
    assert words == {"a": "10 %, easy first", "b": "10 %", "c": "10 % of 5 images"}
    assert {len(group.runs) for group in found.groups} == {1, 2}
    assert json.loads((run / "summary.json").read_text())["test"] == scores(0.5, 0.5)
