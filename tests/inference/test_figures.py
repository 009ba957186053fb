"""`nucleist figures` through the command line: what it draws, and what it says it cannot."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.runs import SMALL

from nucleist.cli.figures import from_run, labels_beside, run_data
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import write_label_map
from nucleist.inference.figures import Panel, save_panels, target_picture, write_test_overlays
from nucleist.inference.load import Trained, load
from nucleist.report.grouping import RunGroup
from nucleist.report.pictures import examples
from nucleist.training.finished import read_run


def checkpoint(folder: Path, *overrides: str) -> Path:
    runs = folder / "runs"
    small = [*SMALL, "data.annotation_fraction=0.5", "trainer.limit_test_batches=2", *overrides]
    assert main(["train", f"runs={runs}", *small]) == 0
    return next(runs.rglob("last.ckpt"))


@pytest.fixture(scope="module")
def pa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("pa"), "attention=[p2]")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("plain"), "model=mask_rcnn")


@pytest.fixture(scope="module")
def trained(pa: Path) -> Trained:
    return load(pa)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with two nuclei beside which there are no labels."""
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[8:24, 8:24] = pixels[40:56, 30:46] = 200
    path = tmp_path / "mine.png"
    Image.fromarray(pixels).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_figures_of_images_of_the_run(pa: Path, trained: Trained, tmp_path: Path) -> None:
    data = run_data(trained, "x")
    train, test = data.train_set.ids[0], data.ids("test")[0]
    assert main(["figures", str(pa), train, test, "-o", str(tmp_path)]) == 0
    kinds = ("attention", "centers", "overlay")
    assert names(tmp_path) == sorted(f"{i}_{k}.png" for i in (train, test) for k in kinds)
    # image, kept, truth, prediction of a training image; a test image has no kept labels
    widths = []
    for image_id in (train, test):
        with Image.open(tmp_path / f"{image_id}_overlay.png") as picture:
            widths.append(picture.width - 10)  # less the margin, panels of one width
    assert widths[0] / 4 == widths[1] / 3


def test_labels_of_the_run(trained: Trained) -> None:
    data = run_data(trained, "x")
    training = from_run(data.train_set.ids[0], data)
    assert training.kept is not None and training.truth is not None
    kept, truth = (set(np.unique(labels)) for labels in (training.kept, training.truth))
    assert {0} < kept < truth  # half of 3 to 5 nuclei
    test = from_run(data.ids("test")[0], data)
    assert test.kept is None and test.query is not None and test.truth is not None
    assert {0} < set(np.unique(test.query)) < set(np.unique(test.truth))


def test_a_file_without_labels_gets_what_needs_none(
    pa: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["figures", str(pa), str(image), "-o", str(out)]) == 0
    assert names(out) == ["mine_centers.png", "mine_overlay.png"]
    told = capsys.readouterr()
    assert told.out.strip() == str(out)
    assert "no picture of the attention: mine has no labelled nucleus" in told.err


def test_a_file_with_labels_gets_all(pa: Path, image: Path, tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24] = 7
    write_label_map(tmp_path / "mine_labels.tif", labels)
    out = tmp_path / "out"
    assert main(["figures", str(pa), str(image), "-o", str(out), "--score-threshold", "0.2"]) == 0
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
    assert labels_beside(top / place) is None
    write_label_map(top / own, labels)
    np.testing.assert_array_equal(labels_beside(top / place), labels)


def test_a_plain_net_says_what_it_lacks(
    plain: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(image, image.with_name("other.png"))
    files = [str(image), str(image.with_name("other.png"))]
    assert main(["figures", str(plain), *files, "-o", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == ["mine_overlay.png", "other_overlay.png"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "no picture" in line]
    assert len(lines) == 2  # each once, not once an image
    assert "no centre head" in lines[0] and "no attention" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tset-0"], "neither a file nor an image of the run"),
        (["--score-threshold", "2"], "not in [0, 1]"),
        (["{image}"], "two images have this name"),
    ],
)
def test_what_a_user_gets_wrong(
    pa: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    given = [text.format(image=image) for text in arguments]
    assert main(["figures", str(pa), str(image), *given, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_earlier_pictures_are_kept(pa: Path, image: Path, tmp_path: Path) -> None:
    command = ["figures", str(pa), str(image), "-o", str(tmp_path / "out"), "--only", "overlay"]
    assert main(command) == 0
    assert names(tmp_path / "out") == ["mine_overlay.png"]
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0


def test_the_centre_target_as_a_picture(trained: Trained) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    picture = target_picture(trained.net, np.zeros((64, 64, 3), np.float32), labels)
    # cells of 4 px; the middle 0.3 * 32 = 9.6 px, 27.2 to 36.8, are the cells 6 to 9 of 4 to 11
    wanted = np.zeros((16, 16), np.uint8)
    wanted[4:12, 4:12] = 128
    wanted[6:10, 6:10] = 255
    np.testing.assert_array_equal(picture[::4, ::4, 0], wanted)
    assert picture.shape == (64, 64, 3)


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    black = np.zeros((40, 80, 3), np.uint8)
    save_panels(tmp_path / "a.png", [Panel(black, "", np.array([[40.0, 0.0, 80.0, 40.0]]))], "")
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB"), int)
    rows, columns = np.nonzero(pixels.max(2) < 60)  # the black of the panel
    yellow = np.nonzero((pixels[..., 0] > 180) & (pixels[..., 2] < 90))
    width = columns.max() - columns.min()
    assert abs(yellow[1].min() - (columns.min() + width / 2)) < 0.02 * width  # from the middle on
    assert yellow[0].min() <= rows.min() + 3 and yellow[0].max() >= rows.max() - 3


def test_overlays_of_the_extremes_are_where_a_report_looks(pa: Path, trained: Trained) -> None:
    run = read_run(pa.parents[1])
    data = run_data(trained, "x")
    rows = run.images("test_calibrated")
    other = {**rows[0], "score_threshold": 2.0, "image": "not in the data"}
    folder = run.folder / "figures" / "test"
    write_test_overlays(folder, trained.net, data, [*rows, other], rows[0]["score_threshold"])
    found = examples(RunGroup("k", "t", "f", (run,)))
    assert [example.rank for example in found] == ["best", "worst"]
    assert all(example.picture.is_file() for example in found)


def test_a_limit_that_cuts_is_told_and_options_of_the_net_are_taken(
    pa: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["figures", str(pa), str(image), "--only", "overlay", "model.roi.score_thresh=0.0"]
    wide = "model.roi.detections_per_img=1000"
    assert main([*given, "-o", str(tmp_path / "all"), wide]) == 0
    assert "detections_per_img" not in capsys.readouterr().err
    cut = "model.roi.detections_per_img=1"
    assert main([*given, "-o", str(tmp_path / "one"), cut]) == 0
    assert "a limit cut what was found: detections_per_img=1 in 1 of 1" in capsys.readouterr().err
