"""The paper's figures for files and for images of a run, with the labels that there are."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.lines import Lines
from support.runs import said
from support.sources import InMemory, grid, make_data

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import write_label_map
from nucleist.inference.load import Model
from nucleist.inference.pictures import overlay_rows
from nucleist.inference.subjects import from_run, record_beside, run_data
from nucleist.plots.overlay import save_overlays
from nucleist.types import UserError, Window

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(pa: Path) -> Model:
    return nucleist.load(pa, device="cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_figures_of_images_of_the_run(model: Model, tmp_path: Path) -> None:
    data = run_data(model, "x")
    train, test = data.train_set.ids[0], data.ids("test")[0]
    drawn = nucleist.draw_figures(model, [train, test], tmp_path, progress=Lines())
    kinds = ("attention", "centers", "overlay")
    wanted = sorted(f"{i}_{k}.png" for i in (train, test) for k in kinds)
    assert names(tmp_path) == sorted(path.name for path in drawn) == wanted
    # image, kept, truth, prediction of a training image; a test image has no kept labels
    widths = []
    for image_id in (train, test):
        with Image.open(tmp_path / f"{image_id}_overlay.png") as picture:
            widths.append(picture.width - 10)  # less the margin, panels of one width
    assert widths[0] / 4 == widths[1] / 3


def test_labels_of_the_run(model: Model) -> None:
    data = run_data(model, "x")
    training = from_run(data.train_set.ids[0], data)
    assert training.kept is not None and training.truth is not None
    kept, truth = (set(np.unique(labels)) for labels in (training.kept, training.truth))
    assert {0} < kept < truth  # half of 3 to 5 nuclei
    test = from_run(data.ids("test")[0], data)
    assert test.kept is None and test.query is not None and test.truth is not None
    assert {0} < set(np.unique(test.query)) < set(np.unique(test.truth))


@pytest.mark.parametrize("again", [False, True], ids=["crop_fraction", "manifest"])
def test_of_a_window_all_its_nuclei_are_drawn(
    again: bool, make_net: Callable[..., Any], tmp_path: Path
) -> None:
    """Whether an option has placed it or a manifest repeats it, also those that are held out."""
    source = InMemory([grid(*range(1, 13))])
    data = make_data(source, crop_fraction=0.5, held_out=0.5)
    if again:
        data.write_manifest(tmp_path / "manifest.json")
        data = make_data(source, manifest=str(tmp_path / "manifest.json"), held_out=0.5)
    subject = from_run("train-0", data)
    assert subject.image.shape[:2] == subject.truth.shape == (34, 45)
    seen, held = set(np.unique(subject.kept)), set(data.train_set.held_out["train-0"])
    assert held and not seen & held and seen | held == set(np.unique(subject.truth))
    (row,) = overlay_rows(make_net(), data, 0.5)
    np.testing.assert_array_equal(row.truth, subject.truth)
    save_overlays(tmp_path / "overlays.png", [row])
    with pytest.raises(UserError, match=r"train-1: neither .*; did you mean 'train-0'"):
        from_run("train-1", data)
    with pytest.raises(UserError, match=r"xyz: neither .*; there is 'train-0', for instance"):
        from_run("xyz", data)


def partial_source(complete: Any) -> InMemory:
    """A training, a validation and a test image, complete only where it is said."""
    source = InMemory([grid(*range(1, 13))], [grid(*range(1, 5))])
    source.ids["val"] = ["val-0"]
    source.records["val-0"] = replace(source.records["test-0"], id="val-0")
    source.records = {k: replace(r, complete=complete) for k, r in source.records.items()}
    return source


def test_subjects_of_images_that_are_not_complete(make_net: Callable[..., Any]) -> None:
    area = (Window(0, 0, 24, 64),)
    splits = {use: use for use in ("train", "val", "test")}
    data = make_data(partial_source(area), splits=splits, validation="nuclei", held_out=0.25)
    training = from_run("train-0", data)
    held = data.train_set.held_out["train-0"]
    assert set(np.unique(training.held)) == {0, *held} and len(held) == 3
    assert not set(np.unique(training.kept)) & set(held)
    for image_id, word in (("test-0", "test"), ("val-0", "validation"), ("train-0", "training")):
        subject = from_run(image_id, data)
        assert subject.title == f"{word} image {image_id}"
        assert subject.complete[:24].all() and not subject.complete[24:].any()
    rows = overlay_rows(make_net(), data, 0.5)
    assert [row.is_partial for row in rows] == [True, True]
    assert not any(row.has("truth") for row in rows) and all(row.has("kept") for row in rows)


def test_the_complete_area_of_a_window() -> None:
    data = make_data(partial_source((Window(0, 0, 24, 64),)), crop_fraction=0.5)
    subject = from_run("train-0", data)
    assert subject.complete.shape == subject.image.shape[:2] != (48, 64)
    whole = make_data(partial_source(True), crop_fraction=0.5)
    assert from_run("train-0", whole).complete is None


def test_a_file_without_labels_gets_what_needs_none(
    model: Model, image: Path, tmp_path: Path
) -> None:
    out, lines = tmp_path / "out", Lines()
    nucleist.draw_figures(model, image, out, progress=lines)
    assert names(out) == ["mine_centers.png", "mine_overlay.png"]
    assert any(
        "no picture of the attention: mine has no labelled nucleus" in n for n in lines.notes
    )


def test_a_file_with_labels_gets_all(model: Model, image: Path, tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24] = 7
    write_label_map(tmp_path / "mine_labels.tif", labels)
    out = tmp_path / "out"
    nucleist.draw_figures(model, image, out, score_threshold=0.2, progress=Lines())
    assert names(out) == [f"mine_{kind}.png" for kind in ("attention", "centers", "overlay")]


@pytest.mark.parametrize("layout", ["a_labels", "images/labels", "images/train/labels"])
def test_labels_are_found_as_the_folder_reader_does(
    image: Path, tmp_path: Path, layout: str
) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24], labels[40:56, 30:46] = 3, 4
    top = tmp_path / "set"
    place, own = {
        "a_labels": ("mine.png", "mine_labels.tif"),
        "images/labels": ("images/mine.png", "labels/mine.tif"),
        "images/train/labels": ("images/train/mine.png", "labels/train/mine.tif"),
    }[layout]
    (top / place).parent.mkdir(parents=True)
    shutil.copy(image, top / place)
    assert record_beside(top / place, Lines()) is None
    write_label_map(top / own, labels)
    found = record_beside(top / place, Lines())
    assert found is not None
    np.testing.assert_array_equal(found.labels, labels)
    assert found.complete is False  # nothing beside it says otherwise


def test_what_a_plain_net_lacks_is_noted_once(plain: Path, image: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(image, image.with_name("other.png")))
    out, lines = tmp_path / "out", Lines()
    nucleist.draw_figures(plain, [image, other], out, device="cpu", progress=lines)
    assert names(out) == ["mine_overlay.png", "other_overlay.png"]
    lacks = [line for line in lines.notes if "no picture" in line]
    assert len(lacks) == 2  # each once, not once an image
    assert "no centre head" in lacks[0] and "no attention" in lacks[1]


@pytest.mark.parametrize(
    ("more", "settings", "words"),
    [
        (["tset-0"], {}, "neither a file nor an image of the run"),
        ([], {"score_threshold": 2}, "not in [0, 1]"),
        (["{image}"], {}, "two images would have it"),
        ([], {"only": ["overlays"]}, "only=overlays is unknown; use one of overlay"),
    ],
    ids=["image", "threshold", "twice", "only"],
)
def test_what_a_user_gets_wrong(
    more: list[str], settings: dict, words: str, model: Model, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "more" / "mine.png"
    other.parent.mkdir()
    shutil.copy(image, other)
    images = [image, *(text.format(image=other) for text in more)]
    with pytest.raises(UserError) as error:
        nucleist.draw_figures(model, images, tmp_path / "out", **settings)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_words_of_the_command_line(
    pa: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["figures", str(pa), str(image), "-o", str(out), "only=overlay", "device=cpu"]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert names(out) == ["mine_overlay.png"]
    assert "overwrite=true" in said(capsys, *command)  # earlier pictures are kept
    cut = ["model.roi.score_thresh=0.0", "model.roi.detections_per_img=1"]
    assert main([*command, *cut, "overwrite=true"]) == 0
    assert (
        "nuclei were lost to a limit: roi.detections_per_img=1 in 1 of 1" in capsys.readouterr().err
    )


def test_an_option_of_the_net_acts(pa: Path, image: Path, tmp_path: Path) -> None:
    for limit, warned in ((1000, False), (1, True)):
        options, lines = {"roi.score_thresh": 0.0, "roi.detections_per_img": limit}, Lines()
        given = {"options": options, "only": ["overlay"], "device": "cpu", "progress": lines}
        nucleist.draw_figures(pa, image, tmp_path / str(limit), **given)
        told = [line for line in lines.warnings if f"detections_per_img={limit}" in line]
        assert bool(told) is warned
