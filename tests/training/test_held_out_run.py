"""A run on one image in which some nuclei are labelled: validated on held-out ones, no test."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.lines import Lines
from support.runs import THIN, said
from support.sources import InMemory, grid

import nucleist
from nucleist.cli.main import main
from nucleist.config.build import build
from nucleist.data import read_manifest
from nucleist.training.closing import closing_words
from nucleist.training.task import SegmentationTask
from nucleist.types import UserError

pytestmark = pytest.mark.slow

# Validations after 2 and 4 steps, a checkpoint after 2.
TINY = [word for word in THIN if "source" not in word and word != "trainer=debug"]
TINY += ["trainer=cpu", "steps=4", "val_every=2", "checkpoint_every=2", "resume=auto"]
TINY += ["data.held_out=0.4", "score_threshold=0.05", "trainer.log_every_n_steps=1"]


def write(place: Path, shift: int = 0) -> None:
    """Nine squares, six of them labelled, on noise."""
    pixels = np.random.default_rng(shift).integers(0, 40, (64, 64), np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    for number in range(9):
        row, column = (20 * part + 4 + shift for part in divmod(number, 3))
        pixels[row : row + 12, column : column + 12] = 200
        labels[row : row + 12, column : column + 12] = number + 1 if number < 6 else 0
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(f"{place}.png")
    Image.fromarray(labels).save(f"{place}_labels.png")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one image."""
    folder = tmp_path_factory.mktemp("mine")
    write(folder / "a")
    return folder


@pytest.fixture(scope="module")
def lines() -> Lines:
    """What the training says."""
    return Lines()


@pytest.fixture(scope="module")
def run(mine: Path, lines: Lines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run; do not change it."""
    runs = tmp_path_factory.mktemp("runs")
    return nucleist.train(mine, overrides=TINY, progress=lines, runs=runs)


def summary_of(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_its_summary_has_a_validation_and_no_test(run: Path, lines: Lines) -> None:
    summary = summary_of(run)
    assert not [key for key in summary if key.startswith("test")]
    assert (summary["labelled_nuclei"], summary["held_out_nuclei"]) == (4, 2)
    validation = summary["validation"]
    assert validation["labelled_nuclei"] == 2 and validation["complete_area"] == 0
    assert {"labelled_recall", "labelled_score", "unjudged"} <= set(validation)
    assert "map" not in validation and "precision" not in validation
    assert summary["recommended"]["checkpoint"] in ("best", "last")
    entry = read_manifest(run / "manifest.json")["a"]
    assert entry.choice == [1, 2, 3, 4, 5, 6] and len(entry.held_out) == 2 and not entry.complete
    assert "4 labelled nuclei, 2 more are held out for validation, no test image" in lines.notes[0]
    assert any(" of the 2 held-out nuclei" in line for line in lines.notes if "step 4/4" in line)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "val/labelled_recall_50_pooled" in rows[0] and "val/map_pooled" not in rows[0]
    assert all(any(row[column] for row in rows) for column in rows[0])  # none is empty
    assert (run / "figures" / "overlays.png").is_file() and not (run / "figures" / "test").exists()


def test_it_is_calibrated_on_the_held_out_nuclei(run: Path) -> None:
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["nucleist"]
    model = nucleist.load(run / "checkpoints" / "last.ckpt", device="cpu")
    source = build(stored["config"]["data"]["source"])
    record, (entry,) = source.read("a"), read_manifest(run / "manifest.json").values()
    found, scores = model.predict(record.image, 0.0), []
    for number in entry.held_out:
        true = record.labels == number
        ious = [
            (true & (found.labels == i)).sum() / (true | (found.labels == i)).sum()
            for i in range(1, len(found.scores) + 1)
        ]
        hit = int(np.argmax(ious))
        scores.append(found.scores[hit] if ious[hit] > 0.5 else 0.0)
    expected = np.mean(scores) / 2 or 0.5
    assert stored["calibrated_threshold"] == pytest.approx(expected, rel=1e-4)
    assert summary_of(run)["validation"]["score_threshold"] == stored["calibrated_threshold"]


def test_its_last_words_are_of_the_held_out_nuclei(run: Path) -> None:
    first, *_, found, test, then = closing_words(run)
    assert first.startswith("trained on 4 labelled nuclei: 4 steps in ")
    assert found.startswith("it found ") and " of the 2 held-out nuclei (with an ov" in found
    assert test.startswith("no test images")
    assert then.startswith("next: nucleist predict ")


def test_a_report_is_built_of_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run.parent), "-o", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "report.html").is_file(), capsys.readouterr().err


def test_it_is_not_scored_without_test_images(
    run: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), "trainer=cpu", "-o", str(tmp_path / "out")]
    line = said(capsys, *words)
    assert "the data of the training: no test images; name others with data=FOLDER" in line
    line = said(capsys, *words, f"data={mine}")
    assert f"{mine}: no test images; put some into a folder called test" in line
    with pytest.raises(UserError, match=r"^InMemory: no test images; [^\n]*$"):
        nucleist.evaluate(run, data=InMemory([grid(1, shape=(64, 64))]), progress=Lines())
    assert not (tmp_path / "out").exists()
    assert "data.splits.test=train" in line  # which is then done
    assert main([*words, f"data={mine}", "data.splits.test=train"]) == 0
    assert json.loads(capsys.readouterr().out)["test"]["labelled_nuclei"] == 6


@pytest.mark.usefixtures("no_pictures")
def test_it_is_reproduced_with_its_held_out_nuclei(run: Path, tmp_path: Path) -> None:
    found = nucleist.reproduce(run, runs=tmp_path, progress=Lines())
    assert found.is_equal and found.weights == "equal" and found.remarks == []
    manifests = [(r / "manifest.json").read_text() for r in (run, found.run)]
    assert manifests[0] == manifests[1]
    assert summary_of(found.run)["validation"] == summary_of(run)["validation"]


@pytest.mark.usefixtures("no_pictures")
def test_or_with_those_of_its_manifest_whatever_is_drawn_now(run: Path, tmp_path: Path) -> None:
    """As if a version had held two others out."""
    copy = Path(shutil.copytree(run, tmp_path / run.parent.name / "copy"))
    path = copy / "manifest.json"
    content = json.loads(path.read_text())
    others = [n for n in range(1, 7) if n not in content["images"]["a"]["held_out"]][:2]
    content["images"]["a"]["held_out"] = others
    path.write_text(json.dumps(content))
    found = nucleist.reproduce(copy, runs=tmp_path / "new", progress=Lines())
    (remark,) = found.remarks
    assert remark.startswith("kept labels: in 1 images, 'a' for one, others would be drawn now")
    assert read_manifest(found.run / "manifest.json")["a"].held_out == tuple(others)
    assert not any(line.startswith("kept labels") for line in found.differences)


class Cut(BaseException):
    """Stands for the power cut: nothing catches it."""


@pytest.mark.usefixtures("no_pictures")
def test_it_ends_the_same_if_it_was_cut(
    run: Path, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = SegmentationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == 3:
            raise Cut
        return go_on(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "training_step", training_step)
        with pytest.raises(Cut):
            nucleist.train(mine, overrides=TINY, progress=Lines(), runs=tmp_path)
    lines = Lines()
    again = nucleist.train(mine, overrides=TINY, progress=lines, runs=tmp_path)
    assert any("goes on from" in line for line in lines.notes)
    for name in ("metrics.csv", "thresholds.csv", "per_image.csv", "manifest.json"):
        assert (again / name).read_text() == (run / name).read_text(), name
    results = [summary_of(r) for r in (run, again)]
    for summary in results:
        del summary["train_seconds"], summary["speed"]
    assert results[0] == results[1]
    for name in ("last", "best"):
        stored = [
            torch.load(r / "checkpoints" / f"{name}.ckpt", weights_only=True) for r in (run, again)
        ]
        first, second = (content["state_dict"] for content in stored)
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert stored[0]["global_step"] == stored[1]["global_step"]
        assert stored[0]["nucleist"] == stored[1]["nucleist"]


@pytest.mark.usefixtures("no_pictures")
def test_its_weights_have_seen_its_image_whatever_it_is_called_now(
    run: Path, tmp_path: Path
) -> None:
    write(tmp_path / "mine" / "train" / "b", shift=1)
    write(tmp_path / "mine" / "test" / "c")
    lines = Lines()
    again = nucleist.train(
        tmp_path / "mine",
        overrides=[*TINY, "steps=1", f"weights={run}"],
        progress=lines,
        runs=tmp_path / "runs",
    )
    (warning,) = (line for line in lines.warnings if "weights=" in line)
    checkpoint = run / "checkpoints" / f"{summary_of(run)['recommended']['checkpoint']}.ckpt"
    assert warning.startswith(f"weights={checkpoint}: were trained on 1 test image (")
    assert "too good" in warning and {"test", "validation"} <= summary_of(again).keys()
