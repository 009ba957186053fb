"""Fewer images to score than processes: some score none, and all end with the same numbers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.processes import Lines
from support.runs import THIN

from nucleist.evaluation.evaluate import evaluate
from nucleist.training.train import train

pytestmark = pytest.mark.whole

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
TINY = [word for word in THIN if "source" not in word and word != "trainer=debug"]
TINY += ["steps=2", "val_every=1", "data.held_out=0.4", "trainer.log_every_n_steps=1"]
TINY += ["score_threshold=0.0", "model.roi.score_thresh=0.001"]  # what is found early, counts


def write(place: Path, complete: bool) -> None:
    """Nine squares, six of them labelled, or all."""
    pixels, labels = np.zeros((2, 64, 64), np.uint8)
    for number in range(9):
        row, column = (20 * part + 4 for part in divmod(number, 3))
        pixels[row : row + 12, column : column + 12] = 200
        labels[row : row + 12, column : column + 12] = number + 1 if number < 6 or complete else 0
    place.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(f"{place}.png")
    Image.fromarray(labels).save(f"{place}_labels.png")


def test_one_image_validates_and_one_tests_in_two_processes(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "train" / "a", complete=False)
    write(tmp_path / "mine" / "test" / "b", complete=True)
    words = ["data=folder", f"data.source.root={tmp_path / 'mine'}", "data.source.complete=[b]"]
    lines = Lines()
    run = train(overrides=[*words, *TINY, *DDP, f"runs={tmp_path / 'runs'}"], progress=lines)
    text = "\n".join(lines.lines)
    assert "2 more are held out for validation, 1 test images" in text and "step 2/2" in text
    summary = json.loads((run / "summary.json").read_text())
    assert summary["validation"]["labelled_nuclei"] == summary["held_out_nuclei"] == 2
    assert summary["test"]["recall"]["pooled"] > 0 and "labelled_nuclei" not in summary["test"]
    with (run / "metrics.csv").open(newline="") as file:
        logged = [row["val/labelled_nuclei"] for row in csv.DictReader(file)]
    assert [float(value) for value in logged if value] == [2, 2]
    with (run / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["image"], row["nuclei"]) for row in rows} == {("b", "9.0")}
    assert len(rows) == 2  # at two thresholds, once each

    # Of one process, and of two, one of which has no image.
    last = run / "checkpoints" / "last.ckpt"
    alike = {"score_threshold": 0.0, "coco": True, "progress": Lines()}
    one, two = (evaluate(last, overrides=some, **alike) for some in (["trainer=cpu"], DDP))
    assert one.summary == two.summary and list(one.images) == list(two.images)
    assert one.summary["test"] == summary["test"]
    assert one.summary["coco"]["coco_max_detections"] > 0
    # Not rounded: the order in which the processes' sums are added shows in the last digit.
    curves = [
        np.loadtxt(found.write(tmp_path / name) / "thresholds.csv", delimiter=",", skiprows=1)
        for name, found in (("one", one), ("two", two))
    ]
    np.testing.assert_allclose(*curves, rtol=1e-12, atol=0)
