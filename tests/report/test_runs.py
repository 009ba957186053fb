"""Which runs are one model, what repeats another run, what limits and labels a table tells of."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from support.reports import BASELINE, PA, make_run

from nucleist.plots.crossed import Curve, crossed_figure
from nucleist.report import write_report
from nucleist.report.charts import _parts, calibrated_of, charts
from nucleist.report.find import find_runs
from nucleist.report.grouping import Benchmark, group_runs
from nucleist.report.score_tables import table1, table1b
from nucleist.report.table import Table, to_csv, to_markdown

pytestmark = pytest.mark.slow

REACHED = {"limits_reached": {"pre_nms_top_n=2000": 2}}


def one_set(folder: Path) -> tuple[Benchmark, list[str]]:
    (found,), notes = group_runs(find_runs([folder])[0])
    return found, notes


def rows_of(found: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(to_csv(found).splitlines()))


def by_key(tables: list[Table], key: str) -> Table:
    return {found.key: found for found in tables}[key]


def test_a_limit_that_was_reached_marks_its_row_and_is_told(tmp_path: Path) -> None:
    make_run(tmp_path, "free", 0, BASELINE)
    make_run(tmp_path, "cut", 0)
    make_run(tmp_path, "cut", 1, summary=REACHED)
    _, notes = find_runs([tmp_path])
    assert len(notes) == 1 and "pre_nms_top_n=2000 in 2 images" in notes[0]
    assert "last checkpoint" in notes[0] and "cut/20260102" in notes[0]
    found = by_key(table1(one_set(tmp_path)[0]), "table1_bbbc038_last_test_pooled")
    text = to_markdown(found)
    assert "| cut* |" in text and "| free |" in text and "free*" not in text
    assert (
        "* cut: detections beyond a limit are missing (seed 1: pre_nms_top_n=2000 in 2 images)"
        in text
    )
    assert "limits reached" not in text
    cells = {row["model"]: row["limits_reached"] for row in rows_of(found)}  # no mark in CSV
    assert cells == {"free": "", "cut": "seed 1: pre_nms_top_n=2000 in 2 images"}
    write_report([tmp_path], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert ">cut*</a>" in page and "pre_nms_top_n=2000 in 2 images; detections" in page
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").read_text().splitlines()))
    assert {row["limits_reached"] for row in rows} == {"", "pre_nms_top_n=2000 in 2 images"}


def test_a_limit_of_the_best_checkpoint_marks_its_own_tables(tmp_path: Path) -> None:
    best = {"step": 90, "test": {"score_threshold": 0.5, "map": {"pooled": 0.5}}, **REACHED}
    make_run(tmp_path, "a", 0, summary={"best_checkpoint": best}, val="val")
    tables = table1(one_set(tmp_path)[0])
    marks = {t.key: t.rows[0].mark for t in tables}
    assert marks["table1_bbbc038_best_test_pooled"] == "*"
    assert marks["table1_bbbc038_last_test_pooled"] == ""
    assert "best checkpoint" in find_runs([tmp_path])[1][0]


@pytest.mark.parametrize("key", ["annotation_seed", "data_seed"])
def test_other_labels_or_another_order_are_no_repeat(tmp_path: Path, key: str) -> None:
    for value in (5, 6):
        make_run(tmp_path, "a", 0, process=value, test=0.1 * value, **{key: value})
    found, notes = one_set(tmp_path)
    assert notes == []
    word = "labels" if key == "annotation_seed" else "order"
    assert [run.seed for run in found.groups[0].runs] == [f"0, {word} 5", f"0, {word} 6"]
    assert sorted(found.groups[0].scores("test", "map")) == [0.5, 0.6]
    write_report([tmp_path], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('id="bbbc038-model-a-run-1"') == page.count('-a-run-2"') == 1


def test_a_seed_written_out_is_the_same_as_a_reference(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0, process=1, annotation_seed=0)
    newer = make_run(tmp_path, "a", 0, process=2)
    found, notes = one_set(tmp_path)
    assert [run.folder for run in found.groups[0].runs] == [newer] and len(notes) == 1


@pytest.mark.parametrize("anchor", ["median", "chosen"])
def test_a_reproduced_run_never_takes_the_place_of_the_original(
    tmp_path: Path, anchor: str
) -> None:
    command = f"nucleist train{' model.center.anchor_size=[30,30]' if anchor == 'chosen' else ''}"
    options = {"anchor": [30.0, 30.0], "manifest": "labels.json"}
    first = make_run(tmp_path, "a", 0, process=1, command=command, **options)
    options["manifest"] = f"{first}/manifest.json"  # as `nucleist reproduce` writes it
    again = f"nucleist reproduce {first}"
    second = make_run(tmp_path, "a", 0, process=2, command=again, test=0.9, **options)
    kept = {"images": {"a": {"ids": [1, 2]}}}
    for run in (first, second):
        (run / "manifest.json").write_text(json.dumps(kept))
    found, notes = one_set(tmp_path)
    assert [run.folder for model in found.groups for run in model.runs] == [first]
    assert notes == [
        f"{second}: made by nucleist reproduce (seed 0), the original {first} is used; left out"
    ]
    kept["images"]["a"]["ids"] = [3]  # labels of another manifest are another model
    (second / "manifest.json").write_text(json.dumps(kept))
    assert len(one_set(tmp_path)[0].groups) == 2
    (first / "summary.json").unlink()  # a repeat alone is better than nothing
    assert [run.folder for run in one_set(tmp_path)[0].groups[0].runs] == [second]


def test_f1_and_foreground_have_a_table_of_their_own(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0, test=0.5)
    make_run(tmp_path, "a", 1, test=0.3)
    data = one_set(tmp_path)[0]
    found = by_key(table1b(data), "table1b_bbbc038_last_test_pooled")
    assert found.title.startswith("Table 1b: foreground and F1. Last checkpoint")
    (row,) = rows_of(found)
    # the seventh to the tenth metric: 0.06, 0.07, 0.08 and 0.09 more than 0.5 and 0.3
    names = ("f1_50", "f1_mean", "pixel_iou", "pixel_dice")
    assert [row[f"{n}_pooled"] for n in names] == ["0.46", "0.47", "0.48", "0.49"]
    assert "map_pooled" not in row and not any(c.published for c in found.columns)
    best = by_key(table1b(data), "table1b_bbbc038_best_test_pooled")
    assert rows_of(best)[0]["f1_50_pooled"] == "0.56"  # of the curve: 0.5 at step 150
    assert "f1_50_pooled" not in rows_of(table1(data)[0])[0]
    write_report([tmp_path], tmp_path / "out")
    assert "### Table 1b" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "tables" / f"{found.key}.csv").is_file()


def test_foreground_alone_is_not_all_labels(tmp_path: Path) -> None:
    canonical = "nucleist.models.canonical_shape"
    run = make_run(tmp_path, "shape", 0, canonical, supervision="binary", nuclei=900)
    Image.new("RGB", (20, 10)).save(run / "figures" / "canonical_shape.png")
    make_run(tmp_path, "half", 0, canonical, supervision="binary", fraction=0.5)
    make_run(tmp_path, "few", 0, PA, fraction=0.25)
    data, _ = one_set(tmp_path)
    assert {m.title: m.annotation for m in data.groups} == {
        "few": "25 %", "half": "foreground only, 50 %", "shape": "foreground only",
    }  # fmt: skip
    assert data.full() is None  # nothing to be a share of
    rows = {row["model"]: row for row in rows_of(table1(data)[0])}
    assert (rows["shape"]["labelled_nuclei"], rows["few"]["labelled_nuclei"]) == ("", "100")
    write_report([tmp_path], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The canonical shape that was learned" in page
    assert "no outline of one" in " ".join(page.split()) or "but no outline of one" in page


def sweep(folder: Path) -> Benchmark:
    for model, name in ((BASELINE, "plain"), (PA, "pa")):
        for i, fraction in enumerate((1.0, 0.25, 0.05)):
            for seed in (0, 1):
                make_run(folder, name, seed, model, fraction=fraction, process=i)
    return one_set(folder)[0]


def test_beside_a_column_of_labels_names_are_short(tmp_path: Path) -> None:
    data = sweep(tmp_path)
    rows = rows_of(table1(data)[0])
    assert [(row["model"], row["annotation"]) for row in rows] == [
        ("plain", "100 %"), ("pa", "100 %"), ("plain", "25 %"),
        ("pa", "25 %"), ("plain", "5 %"), ("pa", "5 %"),
    ]  # fmt: skip
    assert [model.title for model in data.groups][:2] == ["plain, 100 %", "pa, 100 %"]


def test_of_many_curves_colour_is_the_labels_and_dash_the_model(tmp_path: Path) -> None:
    data = sweep(tmp_path / "runs")
    curves = [
        Curve(m.family, m.annotation, [run.curve("val/map_pooled") for run in m.runs])
        for m in data.groups
    ]
    (axes,) = crossed_figure(curves, ("x", "y")).axes
    drawn = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
    colors, dashes = ([kind[i] for kind in drawn] for i in (0, 1))
    assert len(drawn) == len(set(drawn)) == 6
    assert colors[0] == colors[1] != colors[2] == colors[3] != colors[4] == colors[5]
    assert dashes[0] == dashes[2] == dashes[4] != dashes[1] == dashes[3] == dashes[5]
    axes.figure.draw_without_rendering()
    legends = axes.figure.legends
    names = [[text.get_text() for text in legend.get_texts()] for legend in legends]
    for legend in legends:  # beside the curves, inside the picture
        place = legend.get_window_extent()
        assert axes.get_window_extent().x1 <= place.x0 < place.x1 <= axes.figure.bbox.x1
    assert names == [["100 %", "25 %", "5 %"], ["Mask R-CNN", "PA Mask R-CNN"]]
    notes: list[str] = []
    drawn_charts = charts(data, tmp_path, notes)
    assert notes == [] and "Lines are means" in drawn_charts[0].note
    dotted = [curve._replace(dot=calibrated_of(data.groups[0])) for curve in curves]
    (axes,) = crossed_figure(dotted, ("x", "y"), fixed=0.5).axes
    assert len(axes.lines) == 6 * 2 + 1


def test_in_every_part_labels_keep_their_colour_and_models_their_dash(tmp_path: Path) -> None:
    """18 curves are two pictures, a model each; what is 25 % in one is 25 % in the other."""
    shares = [round(0.1 * i, 1) for i in range(1, 10)]
    for model, name in ((BASELINE, "plain"), (PA, "pa")):
        for i, fraction in enumerate(shares):
            make_run(tmp_path / "runs", name, 0, model, fraction=fraction, process=i)
    data = one_set(tmp_path / "runs")[0]
    lines = {m.title: [run.curve("val/map_pooled") for run in m.runs] for m in data.groups}
    parts = list(_parts(data, lines))
    assert [end for end, *_ in parts] == ["_part_1", "_part_2"]
    styles = []
    for _, some, curves, kinds in parts:
        assert len(some) == len(curves) == len(shares)
        (axes,) = crossed_figure(curves, ("x", "y"), kinds).axes
        drawn = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
        styles.append(dict(zip([curve.labels for curve in curves], drawn, strict=True)))
    first, second = styles
    assert {k: color for k, (color, _) in first.items()} == {
        k: color for k, (color, _) in second.items()
    }
    assert {dash for _, dash in first.values()} != {dash for _, dash in second.values()}


def test_curves_are_there_as_pdf_for_papers(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "a", 0)
    write_report([tmp_path / "runs"], tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"bbbc038_fig4_map.png", "bbbc038_fig4_map.pdf"} <= names
    assert "([PDF](figures/bbbc038_fig4_map.pdf))" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="#bbbc038-curves"' in page and 'id="bbbc038-curves"' in page


def test_a_name_that_is_a_checksum_is_short_on_the_page(tmp_path: Path) -> None:
    name = "0123456789abcdef" * 4
    run = make_run(tmp_path, "a", 0, images={name: 0.5})
    (run / "figures" / "test").mkdir()
    Image.new("RGB", (20, 10)).save(run / "figures" / "test" / f"{name}_overlay.png")
    make_run(tmp_path, "b", 0, BASELINE)
    write_report([tmp_path], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Best: 0123456789…, mAP 0.500" in page
    assert f'<figure title="{name}">' in page and f'title="{name}"><a' in page
    assert f">{name}<" not in page
    assert page.count("<details open>") == 1  # the first pictures
    assert name in (tmp_path / "out" / "tables" / "examples_bbbc038.csv").read_text()
