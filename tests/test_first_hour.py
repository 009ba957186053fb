"""The first hour of a biologist: ten labelled nuclei an image, and numbers that can be believed.

The truth is known here, so what the training says of labelled nuclei is compared with all nuclei.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.real import ROOT, place
from support.runs import NET

import nucleist
from nucleist.data.catalog import open_source
from scripts.page import alike, run_page

PAGE = Path(__file__).parents[1] / "docs" / "first_hour.md"
LABELLED = 10
QUICK = ["steps=40", "val_every=20", "trainer=cpu", "augment.crop=96", *NET]
WRONG = re.compile(r"precision|\bmap\b|map_|\baji\b|aji_|\bpq\b|pq_", re.IGNORECASE)
"""What must not be said of images in which not every nucleus is labelled."""

PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*")


def real_records():
    place("bbbc038")
    source = open_source("bbbc360", {"data_root": str(ROOT)})
    ids, field = source.splits(), source.groups()
    train = ids["train"][:8]
    apart = [i for i in ids["test"] if field[i] not in {field[one] for one in train}]
    crowded = [r for r in map(source.read, apart) if len(np.unique(r.labels)) > LABELLED + 1]
    return {"train": [source.read(i) for i in train], "test": crowded[:5]}


def write(folder, records):
    """`partial/` with some labels and `full/` with all, each with `train` and `test`."""
    rng = np.random.default_rng(0)
    for split, some in records.items():
        for record in some:
            nuclei = np.unique(record.labels)[1:]
            kept = rng.choice(nuclei, min(LABELLED, len(nuclei)), replace=False)
            labels = {"full": record.labels}
            labels["partial"] = np.where(np.isin(record.labels, kept), record.labels, 0)
            for name, label_map in labels.items():
                part = folder / name / split
                part.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(part / f"{record.id}.tif", record.image[..., 0])
                tifffile.imwrite(part / f"{record.id}_labels.tif", label_map.astype(np.uint16))
    return folder


def said(run):
    """All text that a run left behind, by file; settings are no results.

    Without the pictures that a page holds as base64, in which any letters may stand together.
    """
    texts = [p for p in run.rglob("*") if p.suffix in (".json", ".csv", ".md", ".html", ".txt")]
    return {path.name: PICTURE.sub("", path.read_text()) for path in texts}


def check(run, folder, evaluate):
    """Compare what a run says with the truth in `folder/full`."""
    left = said(run)  # before the truth, in which every nucleus is labelled, is evaluated into it
    summary = json.loads((run / "summary.json").read_text())
    recommended = nucleist.load(run).path.stem
    assert recommended == summary["recommended"]["checkpoint"]
    own = summary if recommended == "last" else summary["best_checkpoint"]
    reported = own["test_calibrated"]["labelled_recall"]["pooled"]
    nuclei = evaluate(run, folder / "full", False)["test_calibrated"]  # all labelled nuclei: all
    assert nuclei["labelled_nuclei"] > 1.4 * summary["test_calibrated"]["labelled_nuclei"]
    assert reported == pytest.approx(nuclei["labelled_recall"]["pooled"], abs=0.05)
    if summary["best_checkpoint"]["step"] < summary["steps"]:  # else they are the same weights
        each = {
            name: evaluate(run / "checkpoints" / f"{name}.ckpt", folder / "full", True)
            for name in ("best", "last")
        }
        maps = {name: scores["test_calibrated"]["map"]["pooled"] for name, scores in each.items()}
        assert maps[recommended] >= max(maps.values()) - 0.02
    assert summary["validation"]["labelled_nuclei"] == pytest.approx(0.2 * 10 * 6, abs=5)
    for name, text in left.items():
        assert not WRONG.search(text), f"{name}: {WRONG.search(text)}"


@pytest.mark.whole
def test_from_python_on_real_images(tmp_path):
    folder = write(tmp_path, real_records())
    run = nucleist.train(folder / "partial", overrides=[f"runs={tmp_path / 'runs'}", *QUICK])

    def evaluate(model, data, complete):
        words = [f"data.source.complete={str(complete).lower()}", "trainer=cpu"]
        found = nucleist.evaluate(model, data=data, overrides=words)
        return json.loads(json.dumps(found.summary))

    check(run, folder, evaluate)


@pytest.mark.whole
def test_the_page_is_what_happens(tmp_path):
    smaller = {
        "SIZE = 10, 256": "SIZE = 10, 128",
        "count=(40, 60)": "count=(14, 20)",
        "steps=300": f"steps=45 val_every=15 augment.crop=80 {' '.join(NET)}",
    }

    def change(command):
        for old, new in smaller.items():
            command = command.replace(old, new)
        return command

    for command, expected, printed in run_page(PAGE.read_text(), tmp_path / "hour", change):
        assert alike(expected, printed), f"{command}\n{printed}"
        if not command.startswith("nucleist evaluate"):  # that has the truth
            assert not WRONG.search(printed), f"{command}\n{printed}"
    texts = said(tmp_path / "hour" / "report")
    assert len(texts) > 2
    for name, text in texts.items():
        assert not WRONG.search(text), f"{name}: {WRONG.search(text)}"
