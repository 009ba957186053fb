"""Reports of runs whose images are not complete: only scores that exist, no test needed."""

import csv
import json
import re
from pathlib import Path

import pytest
from support.reports import make_partial_run, make_run, write_csv

from nucleist.report import write_report
from nucleist.report.comparison import markdown_table
from nucleist.report.settings import annotation_of
from nucleist.training.finished import read_run

pytestmark = pytest.mark.slow

WHOLE = re.compile(r"\b(precision|mAP|AJI|PQ|NCS|map|aji|pq|ncs)(?=\b|_)")
"""Names of scores that need complete images."""


def said(folder: Path) -> dict[str, str]:
    """What the files of a report say, without pictures and settings."""
    files = [folder / name for name in ("report.html", "report.md", "runs.csv")]
    files += sorted((folder / "tables").glob("*.csv"))
    texts = {path.name: path.read_text() for path in files}
    html = re.sub(r'"data:image[^"]*"', "", texts["report.html"])
    texts["report.html"] = re.sub(r"(?s)<details class=.run.*?</details>", "", html)
    return texts


def add_areas(run: Path) -> None:
    """Let a quarter of the area of the test images be complete, with 3 nuclei in each image."""
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    for part in ("test", "test_calibrated"):
        summary[part] |= {"complete_area": 0.25, "complete_nuclei": 6}
        summary[part] |= {"map": {"pooled": 0.4, "per_image": 0.4}}
    path.write_text(json.dumps(summary))
    rows = csv.DictReader((run / "per_image.csv").read_text().splitlines())
    write_csv(run / "per_image.csv", [row | {"map": 0.4, "aji": 0.5, "nuclei": 3} for row in rows])


@pytest.mark.parametrize("tested", [True, False], ids=["test", "no test"])
def test_scores_that_do_not_exist_are_nowhere(tested: bool, tmp_path: Path) -> None:
    make_partial_run(tmp_path / "runs", "mine", tested)
    write_report(tmp_path / "runs", tmp_path / "out")
    texts = said(tmp_path / "out")
    for name, text in texts.items():
        assert not WHOLE.findall(text), name
        assert "100 %" not in text, name
    assert "50 labelled nuclei in 5 images, not complete" in texts["report.md"]
    assert "10 held-out nuclei of the training images" in texts["report.md"]
    assert "In every row" in texts["report.md"] and "detections not judged 31" in texts["report.md"]
    rows = list(csv.DictReader(texts["runs.csv"].splitlines()))
    kinds = ["test", "test_calibrated"] if tested else ["validation"]
    assert [row["threshold_kind"] for row in rows] == kinds
    assert float(rows[-1]["labelled_recall_50_pooled"]) == (0.8 if tested else 0.9)
    assert float(rows[-1]["scored_labelled_nuclei"]) == (20 if tested else 10)


@pytest.mark.parametrize(
    ("tested", "found"),
    [
        (True, "In 2 test images it found 16 of 20 labelled nuclei (80 %)"),
        (False, "In 2 training images it found 9 of 10 held-out nuclei (90 %)"),
    ],
)
def test_the_beginning(tested: bool, found: str, tmp_path: Path) -> None:
    run = make_partial_run(tmp_path / "runs", "mine", tested)
    write_report(tmp_path / "runs", tmp_path / "out")
    lines = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert lines[4].startswith("![")  # title, benchmark, then the picture
    (words,) = [line for line in lines[:12] if "was trained on" in line]
    first, second, third = re.split(r"(?<=\.) (?=[A-Z])", words)
    assert first == (
        "PA Mask R-CNN was trained on 40 labelled nuclei in 5 training images in 150 steps; "
        "10 labelled nuclei more were held out."
    )
    assert second.startswith(found) and "nobody has judged 31 of its detections" in second
    assert third.startswith("The last checkpoint is recommended: it is as good;")
    assert f"nucleist predict {run} new_images -o out" in lines[:14]
    assert not any(line.startswith("|") for line in lines[:14])  # tables come after


def test_a_complete_data_set_begins_with_what_its_score_stands_on(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "all", 0, nuclei=1)
    write_report(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "was trained on 1 labelled nucleus (100 % of the labels) in 150 steps." in text
    assert "In 2 test images with 40 nuclei its mAP is 0.550 with the calibrated" in text


def test_a_score_that_a_model_lacks_is_a_dash(tmp_path: Path) -> None:
    source = {"_target_": "nucleist.data.Folder", "root": "mine", "complete": None}
    make_run(tmp_path / "runs", "whole", 0, source=source, val="val")
    make_partial_run(tmp_path / "runs", "some")
    write_report(tmp_path / "runs", tmp_path / "out")
    text = said(tmp_path / "out")["report.md"]
    table = text.partition("### Table 1. Last checkpoint, fixed")[2].split("###")[0].splitlines()
    cells = {words[0]: words for line in table if (words := line.strip("| ").split(" | "))[1:]}
    heads = cells["model"]
    dash = "\N{EN DASH}"
    assert cells["some"][heads.index("mAP")] == dash
    assert cells["whole"][heads.index("mAP")] == "0.500"
    assert cells["whole"][heads.index("labelled IoU")] == dash
    assert cells["some"][heads.index("labelled IoU")] == "0.600"


def test_words_on_how_much_is_labelled(tmp_path: Path) -> None:
    half = read_run(make_partial_run(tmp_path, "half", fraction=0.5))
    assert annotation_of(half) == "50 % of the labelled nuclei, not complete"
    assert annotation_of(read_run(make_run(tmp_path, "all", 0))) == "100 %"


def test_a_small_table_has_the_scores_that_there_are(tmp_path: Path) -> None:
    some = read_run(make_partial_run(tmp_path, "some"))
    head, _, row = markdown_table({"some": [some]}).splitlines()
    assert "labelled_recall_50" in head and not WHOLE.findall(head)
    assert "0.700" in row


def test_whole_scores_say_on_how_many_nuclei_they_stand(tmp_path: Path) -> None:
    run = make_partial_run(tmp_path / "runs", "some")
    add_areas(run)
    write_report(tmp_path / "runs", tmp_path / "out")
    text = said(tmp_path / "out")["report.md"]
    # two images of 3 nuclei each in their complete areas, whatever the threshold
    assert "complete share of the area 0.250, nuclei in the complete area 6." in text
    assert "mAP stand on the nuclei in the complete area alone" in text
    assert "In 2 test images with 6 nuclei, on the 25 % of the area that is complete," in text
    (row, _) = csv.DictReader(said(tmp_path / "out")["runs.csv"].splitlines())
    assert float(row["scored_complete_nuclei"]) == 6


def test_nothing_is_compared_with_all_labels_where_not_all_are_there(tmp_path: Path) -> None:
    add_areas(make_partial_run(tmp_path / "runs", "some"))
    write_report(tmp_path / "runs", tmp_path / "out")
    assert "all labels" not in said(tmp_path / "out")["report.md"]
