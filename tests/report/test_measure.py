"""A report of a run that `nucleist train` wrote, and Table 2 measured side by side by processes."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from support.reports import make_run
from support.runs import SMALL

from nucleist.cli.main import main
from nucleist.report.find import find_runs
from nucleist.report.grouping import Benchmark, group_runs
from nucleist.report.measure import measure_run
from nucleist.report.speed_table import not_measured, table2
from nucleist.report.table import to_csv, to_markdown
from nucleist.training.isolation import isolated
from nucleist.types import UserError

pytestmark = pytest.mark.slow

THIN = ["model.box_head=32", "model.mask_head=[16,16]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", *SMALL, *THIN, f"runs={folder}", "name=tiny"]) == 0
    (summary,) = folder.rglob("summary.json")
    return summary.parent


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "runs" / "tiny" / run.name))


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_report_of_a_run_as_it_was_written(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["report", str(run), "-o", str(out)]) == 0
    summary = json.loads((run / "summary.json").read_text())
    (first,) = rows_of(out / "tables" / "table1_synthetic_last_test_pooled.csv")
    assert float(first["map_pooled"]) == summary["test"]["map"]["pooled"]
    (more,) = rows_of(out / "tables" / "table1b_synthetic_last_test_pooled.csv")
    for name in ("f1_50", "f1_mean", "pixel_iou", "pixel_dice"):
        assert float(more[f"{name}_pooled"]) == summary["test"][name]["pooled"]
    (size,) = rows_of(out / "tables" / "table2_synthetic.csv")
    assert float(size["seconds_per_step"]) == summary["speed"]["seconds_per_step"]
    assert float(size["peak_memory_mb"]) == summary["speed"]["peak_memory_mb"]
    assert float(size["parameters_millions"]) == pytest.approx(summary["parameters"] / 1e6)
    text = (out / "report.md").read_text()
    assert "Measured in each run, not side by side" in text and "measure=true" in text
    assert "bench" not in text and (out / "report.html").stat().st_size > 50_000


@pytest.mark.whole
def test_all_models_are_measured_in_turn(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run, and one of a net that no version of nucleist has."""
    other = shutil.copytree(copy, copy.parents[1] / "gone" / "1")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["model"]["_target_"] = "nucleist.models.gone"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "experiment": "gone"}))
    before = sorted(path for path in copy.rglob("*"))

    out = tmp_path / "out"
    command = ["report", str(copy.parents[1]), "-o", str(out), "measure=true", "device=cpu"]
    assert main([*command, "steps=1", "images=1", "rounds=1"]) == 0
    said = capsys.readouterr().err
    assert said.count("speed not measured") == 1 and "calls 'nucleist.models.gone'" in said
    assert sorted(path for path in copy.rglob("*")) == before  # nothing is written into the run
    measured = json.loads((out / "speed.json").read_text())
    assert [name.split("/")[0] for name in measured["order"]] == ["gone", "tiny"]
    (figures,) = measured["runs"].values()
    assert all(len(figures[name]) == 1 for name in ("seconds_per_step", "seconds_per_image"))
    rows = {row["model"]: row for row in rows_of(out / "tables" / "table2_synthetic.csv")}
    assert 0 < float(rows["tiny"]["seconds_per_step"]) < 100
    assert float(rows["tiny"]["seconds_per_step"]) == figures["seconds_per_step"][0]
    assert float(rows["tiny"]["peak_memory_mb"]) > 50
    assert rows["gone"]["seconds_per_step"] == rows["gone"]["parameters_millions"] == ""
    page = (out / "report.html").read_text()
    assert "Measured side by side by: nucleist report" in page and "gone → tiny" in page


def test_a_run_without_its_checkpoint_is_one_line(copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(UserError, match=f"{copy}: no checkpoint in its folder; train"), isolated():
        measure_run(copy, steps=1, images=1, device="cpu")


def fixture_set(folder: Path) -> Benchmark:
    make_run(folder, "a", 0)
    make_run(folder, "b", 0, fraction=0.25)
    return group_runs(find_runs([folder])[0])[0][0]


def test_table_2_of_what_was_measured(tmp_path: Path) -> None:
    data = fixture_set(tmp_path / "runs")
    first, second = (f"{name}/20260101-000000-abc-1" for name in "ab")
    figures = {
        "seconds_per_step": [2.0, 3.0], "seconds_per_image": [0.5, 0.5], "parameters": 5_000_000,
        "peak_memory_mb": [800.0, 900.0], "device": "cpu, 1 threads",
    }  # fmt: skip
    measured = {
        "command": "nucleist report x", "order": [second, first], "rounds": 2, "steps": 5,
        "images": 4, "device": "cpu, 1 threads", "threads": 1, "load": 0.5,
        "runs": {first: figures}, "failed": {second: "no data"},
    }  # fmt: skip
    found = table2(data, measured)
    text = to_markdown(found)
    assert "2.500 ± 0.500" in text and "850 ± 50" in text and "| 5.00 |" in text
    assert "b → a" in text and "2 times in this order" in text and "nucleist report x" in text
    assert "Device: cpu, 1 threads. Load of the machine before the start: 0.5." in text
    assert "5 training steps" in text and "of 4 test images" in text
    assert "not side by side" not in text and "validation_all" not in to_csv(found)
    notes = not_measured([data], measured)
    assert len(notes) == 1 and notes[0].endswith("speed not measured (no data)")
    assert not_measured([data], {}) == []


def test_runs_without_any_speed_are_said_to_have_none(tmp_path: Path) -> None:
    assert "recorded no speed" in to_markdown(table2(fixture_set(tmp_path)))


def test_what_was_measured_is_used_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fixture_set(tmp_path / "runs")
    out = tmp_path / "out"
    out.mkdir()
    places = [f"{m.runs[0].folder.parent.name}/{m.runs[0].folder.name}" for m in data.groups]
    entry = {"seconds_per_step": [1.25], "device": "cpu"}
    known = {"command": "c", "order": places, "runs": dict.fromkeys(places, entry)}
    (out / "speed.json").write_text(json.dumps(known))
    command = ["report", str(tmp_path / "runs"), "-o", str(out), "measure=true"]
    assert main(command) == 0  # a fixture has no checkpoint: measuring anew would fail
    assert "used again; delete it" in capsys.readouterr().err
    rows = rows_of(out / "tables" / "table2_bbbc038.csv")
    assert [row["seconds_per_step"] for row in rows] == ["1.25", "1.25"]
    assert main([*command, "overwrite=true", "rounds=0"]) == 2
    assert "rounds=0: write a whole number from 1" in capsys.readouterr().err
    (out / "speed.json").unlink()
    assert main([*command, "overwrite=true", "device=nothing"]) == 2
    assert "device=nothing: not available" in capsys.readouterr().err
