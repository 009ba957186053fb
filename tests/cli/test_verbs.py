"""Verbs through the real command line: what is printed where, and one line for wrong words.

Train, predict, figures, report and reproduce are also called with words in the tests of their
rooms, beside the functions that they call.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from support import runs
from support.runs import said

from nucleist.cli.evaluate import _beside
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import write_label_map

pytestmark = pytest.mark.slow

FEW = "data.source={_target_: nucleist.data.Synthetic, n_train: 2, n_test: 1, size: [64, 64]}"


def test_evaluate_scores_a_model(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the settings of the training the scores are those of its own test."""
    checkpoint = plain / "checkpoints" / "last.ckpt"
    words = ["trainer=cpu", "+trainer.limit_test_batches=2", "-o", str(tmp_path / "scores")]
    assert main(["evaluate", str(checkpoint), *words]) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert printed.err.splitlines()[-1] == str(tmp_path / "scores")
    assert {path.name for path in (tmp_path / "scores").iterdir()} >= {
        *("summary.json", "per_image.csv"),
    }
    trained = json.loads((plain / "summary.json").read_text())
    assert scores["test"] == trained["test"]
    assert json.loads((tmp_path / "scores" / "summary.json").read_text()) == scores


def test_scores_are_written_beside_the_checkpoint(tmp_path: Path) -> None:
    assert _beside(tmp_path / "run" / "checkpoints" / "last.ckpt") == tmp_path / "run/evaluation"
    assert _beside(tmp_path / "downloads" / "a.ckpt") == tmp_path / "downloads/evaluation"


def test_evaluate_scores_label_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[2:12, 2:12], labels[18:28, 18:28] = 1, 2
    for folder, kept in (("found", labels * (labels == 1)), ("truth", labels)):
        (tmp_path / folder).mkdir()
        write_label_map(tmp_path / folder / "a.tif", kept)
    places = [str(tmp_path / name) for name in ("found", "truth")]
    assert main(["evaluate", *places, "-o", str(tmp_path / "scores")]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == str(tmp_path / "scores")
    assert "1 pairs, 0 without a partner" in printed.out
    scores = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert scores["recall"]["pooled"] == 0.5 and scores["precision"]["pooled"] == 1.0


def test_train_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "bbbc360_25_pa", "seed=7", "-o", "my runs", "--cfg"]) == 0
    text = capsys.readouterr().out
    assert "seed: 7\n" in text and "runs: my runs\n" in text
    assert "_target_: nucleist.data.BBBC038" in text and "annotation_fraction: 0.25" in text


def test_train_plans_many_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", "demo", "seed=0,1", "jobs=2", "-o", str(tmp_path)]
    assert main(["train", *words, "--plan"]) == 0
    text = capsys.readouterr().out
    assert "seed=0" in text and "seed=1" in text and "2 runs, 0 done" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["frobnicate"], ["no verb 'frobnicate'", "train"]),
        (["train", "seed"], ["seed: neither a folder nor an experiment nor a data set"]),
        (["train", "a", "b"], ["names 2 things (a, b); give one"]),
        (["train", "--steps", "6"], ["--steps is not a flag", "steps=6"]),
        (["train", "launcher=submitit"], ["launcher", "-m"]),
        (["train", "-m", "seed=0,1", "--cfg"], ["--cfg", "--plan"]),
        (["train", "search=pa", "--cfg"], ["--cfg"]),
        (["train", "-m", "sead=0,1"], ["sead", "seed"]),
        (["train", "search=pb"], ["pb", "pa"]),
        (["evaluate"], ["names 0 things; give MODEL, or LABELS TRUTH"]),
        (["evaluate", "a", "b", "c"], ["names 3 things"]),
        (["evaluate", "/nowhere.ckpt"], ["/nowhere.ckpt: no such checkpoint or run folder"]),
        (["evaluate", "/nowhere", "/nowhere", "coco=true"], ["no setting 'coco'", "masks"]),
        (["evaluate", "x", "score_threshold=2"], ["score_threshold=2", "from 0 to 1"]),
        (["evaluate", "x", "coco=1"], ["coco=1: write true or false"]),
        (["predict"], ["needs MODEL IMAGES; MODEL is missing"]),
        (["predict", "m.ckpt"], ["IMAGES is missing"]),
        (["predict", "m.ckpt", "a.png"], ["needs -o FOLDER"]),
        (["predict", "/nowhere.ckpt", "/no/image.png", "-o", "x"], ["/no/image.png|nowhere.ckpt"]),
        (["predict", "a.PNG", "m.ckpt", "-o", "x"], ["a.PNG as MODEL, which is an image"]),
        (["predict", "m", "a=1.tif", "-o", "x"], ["a=1.tif: no such file or folder"]),
        (["predict", "m", "runs/seed=1/a", "-o", "x"], ["runs/seed=1/a: no such file or folder"]),
        (["predict", "m", "a", "-o", "x", "score_threshold=0,5"], ["with a point, 0.5"]),
        (["train", FEW, "weights=/tmp"], ["weights=/tmp: no checkpoint in this folder; "]),
        (["predict", "m", "a", "-o", "x", "--device", "cpu"], ["--device", "device=cpu"]),
        (["predict", "m", "a", "-o", "x", "devise=cpu"], ["'devise'; did you mean 'device'?"]),
        (["predict", "m", "a", "-o", "x", "model.grid=1,2"], ["'grid=1,2' is a list of values"]),
        (["figures", "m"], ["IMAGES is missing"]),
        (["figures", "m", "a", "-o", "x", "only"], ["m: no such checkpoint|only"]),
        (["report"], ["needs RUNS; RUNS is missing", "nucleist report --help"]),
        (["report", "runs", "-o", "x", "measure=maybe"], ["measure=maybe: write true or false"]),
        (["report", "runs", "-o", "x", "steps=5"], ["steps=", "measure=true"]),
        (["report", "runs", "-o", "x", "names.a=b"], ["'names.a'", "name.EXPERIMENT"]),
        (["reproduce"], ["names 0 things; give one run folder"]),
        (["reproduce", "/nowhere"], ["/nowhere/config.yaml"]),
        (["reproduce", "r", "tolerance=x"], ["tolerance=x: write a number"]),
        (["metrics", "mapp"], ["mapp"]),
        (["metrics", "-o", "x"], ["writes no files"]),
        (["metrics", "map=1"], ["no setting 'map'; it has none"]),
        (["demo", "my_images"], ["takes no folder or data set, but 'my_images' is given"]),
        (["demo", "model=mask_rcnn"], ["model"]),
        (["demo", "steps=2"], ["val_every=30 of 2 steps", "use val_every=2"]),
        (["data", "frob"], ["no 'frob'; use one of list, show"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_words_are_one_line_and_status_2(
    words: list[str],
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = said(capsys, *words)
    for message in messages:
        assert any(part in line for part in message.split("|")), line
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_train_ends_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; stdout is the run folder alone. Technical lines are there with -v only."""
    words = ["train", *runs.THIN, "steps=1", "model=mask_rcnn", "-o", str(tmp_path / "my runs")]
    for extra in ([], ["-v"]):
        assert main([*words, *extra]) == 0
        told = capsys.readouterr()
        (run,) = told.out.splitlines()
        lines = told.err.splitlines()
        assert any(line.startswith(f"{run}: ") and "labelled nuclei" in line for line in lines)
        assert any(line.startswith("trained on ") for line in lines)
        assert lines[-1] == f"next: nucleist predict '{run}' new_images -o out"
        assert ("tensors" in told.err) is bool(extra)
