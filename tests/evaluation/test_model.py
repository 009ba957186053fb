"""Scores of a model: as in its run, at other settings, on other data, with COCO's AP."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.lines import Lines
from support.runs import said
from support.sources import InMemory, grid

import nucleist
from nucleist.cli.main import main
from nucleist.inference.load import Model
from nucleist.metrics.cards import card_of
from nucleist.types import Progress, UserError

pytestmark = pytest.mark.slow

CPU = ["trainer=cpu"]
FEW = {"roi.detections_per_img": 20}  # as in the training


@pytest.fixture(scope="module")
def model(plain: Path) -> Model:
    return nucleist.load(plain, device="cpu")


def evaluate(model, **settings) -> nucleist.Evaluation:
    return nucleist.evaluate(model, **{"overrides": CPU, "progress": Lines(), **settings})


def test_the_test_of_the_run_is_repeated(plain: Path, model: Model, tmp_path: Path) -> None:
    summary = json.loads((plain / "summary.json").read_text())
    found = evaluate(model, output=tmp_path / "out")
    assert found.checkpoint == plain / "checkpoints" / "last.ckpt"
    assert found.summary == {key: summary[key] for key in found.summary}
    for name in ("per_image.csv", "thresholds.csv"):
        assert (tmp_path / "out" / name).read_text() == (plain / name).read_text()
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored == dict(found.summary)


def test_the_words_of_the_command_line(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(plain), "trainer=cpu", "-o", str(out)]) == 0
    told = capsys.readouterr()
    summary = json.loads((plain / "summary.json").read_text())
    printed = json.loads(told.out)
    assert printed == {key: summary[key] for key in printed}
    assert told.err.strip().splitlines()[-1] == str(out)
    assert f"{plain / 'checkpoints' / 'last.ckpt'}: scored on 2 images" in told.err


def test_every_metric_that_a_run_logs_has_a_card(pa: Path) -> None:
    columns = (pa / "metrics.csv").read_text().splitlines()[0].split(",")
    names = [name for name in columns if name.startswith("val/")]
    names += (pa / "per_image.csv").read_text().splitlines()[0].split(",")[2:]
    names += (pa / "thresholds.csv").read_text().splitlines()[0].split(",")[1:]
    names += json.loads((pa / "summary.json").read_text())["test"]
    assert len(names) > 40
    assert [n for n in names if card_of(n) is None and n != "score_threshold"] == []


def test_an_option_acts_and_is_named_in_the_summary(plain: Path, tmp_path: Path) -> None:
    found_at = {}
    for limit in (20, 3):
        options, out = {"roi.detections_per_img": limit, "roi.score_thresh": 0.0}, tmp_path / "out"
        found = evaluate(plain, options=options, score_threshold=0.001, output=out)
        assert found.summary["model_options"] == options
        assert json.loads((out / "summary.json").read_text())["model_options"] == options
        with (out / "per_image.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["score_threshold"] == "0.001"]
        found_at[limit] = [float(row["detections"]) for row in rows]
    # An untrained net finds about as much as it may.
    assert len(found_at[3]) == 2 and max(found_at[3]) <= 3 < max(found_at[20]) <= 20


def test_an_option_of_the_training_changes_nothing(plain: Path) -> None:
    found = dict(evaluate(plain, options=FEW).summary)
    assert found.pop("model_options") == FEW
    trained = json.loads((plain / "summary.json").read_text())
    assert found == {key: trained[key] for key in found}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.roi.score_tresh=0.3"], "did you mean 'roi.score_thresh'?"),
        (["model.roi.score_thresh=0.1,0.2"], "is a list of values"),
        (["model.backbone={_target_: os.getcwd}"], "calls 'os.getcwd'"),
        (["model.box_head=8"], "last.ckpt"),  # other weights
        (["score_threshold=2"], "score_threshold=2"),
        (["coco=maybe"], "coco=maybe: write true or false"),
        (["data=kumr"], "did you mean 'kumar'?"),
        (["data_rot=x"], "data_root"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_one_line_and_status_2(
    words: list[str], told: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert told in said(capsys, "evaluate", str(plain), *CPU, *words, "-o", str(out))
    assert not out.exists()


def test_a_score_threshold_is_from_0_to_1(model: Model) -> None:
    for wrong in (-0.1, 1.5):
        with pytest.raises(UserError, match=rf"score_threshold={wrong} is not in \[0, 1\]"):
            evaluate(model, score_threshold=wrong)


def test_a_score_threshold_among_the_overrides_counts(model: Model) -> None:
    found = evaluate(model, overrides=[*CPU, "score_threshold=0.3"])
    assert found.summary["test"]["score_threshold"] == 0.3


def test_options_of_a_loaded_model_are_refused(model: Model) -> None:
    """They would be in the record without an effect."""
    with pytest.raises(UserError, match="options"):
        evaluate(model, options=FEW)


def test_masks_are_for_label_images(model: Model) -> None:
    with pytest.raises(UserError, match="masks=components is for label images"):
        evaluate(model, masks="components")


@pytest.mark.parametrize("name", ["per_image.csv", "thresholds.csv", "summary.json"])
def test_a_folder_in_the_place_of_a_result_is_one_line(
    name: str, model: Model, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"cannot write \(Is a directory\)") as error:
        evaluate(model, output=tmp_path)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert not list(tmp_path.glob(".*"))  # nothing half-written


def test_other_data_are_normalised_as_in_the_training(model: Model, tmp_path: Path) -> None:
    """By an object, and by a folder with the same images and labels."""
    images = InMemory([grid(1, shape=(64, 64))], [grid(1, 2, 3, 4, 5, shape=(64, 64))])
    found = evaluate(model, data=images)
    assert {row["image"] for row in found.images} == {"test-0"}
    assert found.images[0]["nuclei"] == 5
    from nucleist.data.prepare import prepare

    prepare(images, tmp_path / "set")
    same = evaluate(model, data=tmp_path / "set")
    assert {k: v for k, v in same.summary.items() if k != "limits_reached"} == {
        k: v for k, v in found.summary.items() if k != "limits_reached"
    }


def test_an_object_is_scored_whatever_labels_the_training_kept(model: Model) -> None:
    images = InMemory([grid(1, shape=(64, 64))], [grid(1, 2, 3, shape=(64, 64))])
    stored = {"manifest": "gone.json", "validation": "images", "splits": {"val": "val"}}
    config = {**model.config, "data": {**model.config["data"], **stored}}
    found = evaluate(replace(model, config=config), data=images)
    assert {row["image"]: row["nuclei"] for row in found.images} == {"test-0": 3}


def test_what_is_complete_nowhere_has_scores_of_labelled_nuclei_alone(
    model: Model, tmp_path: Path
) -> None:
    """The same folder, of which its owner says nothing, that it is complete, or a part of it."""
    from nucleist.data.prepare import prepare

    images = InMemory([grid(1, shape=(64, 64))], [grid(1, 2, 3, 4, 5, shape=(64, 64))])
    prepare(images, tmp_path / "set")
    (tmp_path / "set" / "complete.csv").unlink(missing_ok=True)
    found = {
        said: evaluate(model, data=tmp_path / "set", overrides=[*CPU, *words]).summary["test"]
        for said, words in (("nothing", []), ("all", ["data.source.complete=true"]))
    }
    assert "map" in found["all"] and "labelled_recall" not in found["all"]
    assert "map" not in found["nothing"] and found["nothing"]["complete_area"] == 0
    assert found["nothing"]["labelled_recall_50"] == found["all"]["recall"]
    name = "image,x,y,width,height\ntest-0,0,0,64,32\n"
    (tmp_path / "set" / "complete.csv").write_text(name)
    part = evaluate(model, data=tmp_path / "set").summary["test"]
    assert part["complete_area"] == 0.5 and {"map", "labelled_recall"} <= set(part)
    assert part["labelled_recall"] == found["nothing"]["labelled_recall"]


def test_it_is_said_what_the_scores_stand_on(model: Model, tmp_path: Path) -> None:
    """Two images with three and with one nucleus; of COCO's AP only what is complete is ranked."""
    pytest.importorskip("faster_coco_eval", reason="needs nucleist[coco]")
    from nucleist.data.prepare import prepare

    tests = [grid(1, 2, 3, shape=(64, 64)), grid(4, shape=(64, 64))]
    prepare(InMemory([grid(1, shape=(64, 64))], tests), tmp_path / "set")
    for rows, told, ranked in (
        ("", "scored on 2 images: 4 labelled nuclei, complete in 0 % of the area", None),
        (
            "test-0\n",
            "scored on 2 images: 4 labelled nuclei, complete in 50 % of the area, with 3 of them",
            1,
        ),
        ("test-0\ntest-1\n", "4 labelled nuclei, complete in 100 % of the area", 2),
    ):
        (tmp_path / "set" / "complete.csv").write_text(f"image\n{rows}")
        lines = Lines()
        found = evaluate(model, data=tmp_path / "set", coco=True, progress=lines).summary
        assert any(told in line for line in lines.notes), lines.notes
        assert found.get("coco", {}).get("coco_images") == ranked
        assert any("no image is complete" in line for line in lines.notes) == (ranked is None)


def test_a_model_is_not_scored_against_a_folder(model: Model, tmp_path: Path) -> None:
    for given in (model, model.path, model.path.parents[1]):
        with pytest.raises(UserError, match=f"scored on a data set; write data={tmp_path}"):
            nucleist.evaluate(given, tmp_path)


def test_coco_s_ap_of_a_model(plain: Path, model: Model) -> None:
    pytest.importorskip("faster_coco_eval", reason="needs nucleist[coco]")
    found = evaluate(model, coco=True).summary
    trained = json.loads((plain / "summary.json").read_text())
    for part in ("test", "test_best_threshold"):
        assert found[part] == trained[part]
    assert trained["test_best_threshold"]["aji"]["pooled"] > 0
    assert set(found["coco"]) == {
        "coco_max_detections",
        "coco_images",
        *(f"coco_{kind}_{name}" for kind in ("segm", "bbox") for name in ("ap", "ap50", "ap75")),
    }
    assert found["coco"]["coco_images"] == 2
    assert 0 < found["coco"]["coco_max_detections"] <= 20  # detections_per_img of the run
    assert all(card_of(name) and 0 <= value for name, value in found["coco"].items())
    assert not model.net._forward_hooks  # the net is as before


def test_coco_without_its_extra_names_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)  # as if not installed
    with pytest.raises(UserError, match=r"nucleist\[coco\]"):
        evaluate(model, coco=True)


def test_a_limit_that_was_reached_is_warned_of(plain: Path) -> None:
    lines = Lines()
    options = {"roi.detections_per_img": 1}
    found = evaluate(plain, options=options, progress=lines)
    assert found.summary["limits_reached"]["roi.detections_per_img=1"] == 2
    (warning,) = lines.warnings
    assert "detections_per_img=1 in 2 of 2 images" in warning


def test_progress_is_shown_where_it_is_asked_for(
    plain: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even the bar of Lightning; a terminal has one, here there are lines."""
    model = nucleist.load(plain, options={"roi.score_thresh": 0.9}, device="cpu")  # no limit
    for silent in (False, Progress(), Lines()):
        evaluate(model, progress=silent)
        assert capfd.readouterr() == ("", "")
    evaluate(model, progress=True)
    told = capfd.readouterr()
    assert told.out == "" and "scored on 2 images" in told.err and "Testing" not in told.err


def test_the_caller_s_process_is_left_as_it_was(model: Model) -> None:
    import os
    import random
    import warnings

    import torch

    def state():
        filters, seeds = list(warnings.filters), (random.getstate(), torch.get_rng_state().tolist())
        return dict(os.environ), filters, seeds, sys.excepthook

    before = state()
    evaluate(model)
    assert state() == before
