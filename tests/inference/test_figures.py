"""Pictures of a net at work on one image: what is drawn where, and what a net cannot give."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nucleist
from nucleist.inference.figures import (
    Subject,
    attention_panels,
    center_panels,
    draw_subject,
    target_picture,
    write_test_overlays,
)
from nucleist.inference.load import Model
from nucleist.inference.pictures import center_pictures, overlay_rows, shape_pictures
from nucleist.inference.subjects import run_data
from nucleist.plots.panels import Panel, save_panels
from nucleist.report.grouping import RunGroup
from nucleist.report.pictures import examples
from nucleist.training.finished import read_run

pytestmark = pytest.mark.slow

BLACK = np.zeros((64, 64, 3), np.float32)


@pytest.fixture(scope="module")
def model(pa: Path) -> Model:
    return nucleist.load(pa, device="cpu")


def test_the_centre_target_as_a_picture(model: Model) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    picture = target_picture(model.net, BLACK, labels)
    # cells of 4 px; the middle 0.3 * 32 = 9.6 px, 27.2 to 36.8, are the cells 6 to 9 of 4 to 11
    wanted = np.zeros((16, 16), np.uint8)
    wanted[4:12, 4:12] = 128
    wanted[6:10, 6:10] = 255
    np.testing.assert_array_equal(picture[::4, ::4, 0], wanted)
    assert picture.shape == (64, 64, 3)


def test_panels_need_labels_or_a_part_of_the_net(model: Model, plain: Path) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[16:32, 16:32], labels[40:50, 40:50] = 3, 9
    bare, labelled = Subject("a", "a", BLACK), Subject("a", "a", BLACK, query=labels)
    words = [panel.caption for panel in center_panels(model.net, labelled)]  # type: ignore[union-attr]
    assert words[0].startswith("centre target of 2 labelled nuclei") and len(words) == 3
    assert len(center_panels(model.net, bare)) == 2
    words = [panel.caption for panel in attention_panels(model.net, labelled)]  # type: ignore[union-attr]
    assert words == ["labelled nuclei: 2", "where they attend to"]
    assert "a has no labelled nucleus" in attention_panels(model.net, bare)
    other = nucleist.load(plain, device="cpu").net
    assert "no centre head" in center_panels(other, labelled)
    assert "no attention" in attention_panels(other, labelled)


def test_a_subject_gets_the_kinds_that_are_asked_for(model: Model, tmp_path: Path) -> None:
    assert draw_subject(model.net, Subject("a", "a", BLACK), 0.5, tmp_path, ["centers"]) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a_centers.png"]
    (line,) = draw_subject(model.net, Subject("b", "b", BLACK), 0.5, tmp_path, ["attention"])
    assert line.startswith("no picture of the attention: b has no labelled nucleus")
    assert not list(tmp_path.glob("b*"))


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


def test_overlays_of_the_extremes_are_where_a_report_looks(pa: Path, model: Model) -> None:
    run = read_run(pa)
    data = run_data(model, "x")
    rows = run.images("test_calibrated")
    other = {**rows[0], "score_threshold": 2.0, "image": "not in the data"}
    folder = run.folder / "figures" / "test"
    write_test_overlays(folder, model.net, data, [*rows, other], rows[0]["score_threshold"])
    found = examples(RunGroup("k", "t", "f", (run,)))
    assert [example.rank for example in found] == ["best", "worst"]
    assert all(example.picture.is_file() for example in found)


def test_pictures_of_the_training_leave_the_net_in_its_mode(
    model: Model, plain: Path, canonical: Path
) -> None:
    data = run_data(model, "x")
    model.net.train()
    rows = overlay_rows(model.net, data, 0.5, count=1)
    assert [row.title.split()[0] for row in rows] == ["training", "test"]
    assert rows[0].kept is not None and rows[1].kept is None
    pictures = center_pictures(model.net, data)
    assert set(pictures) == {"center_map", "attention_map"}
    assert {picture.shape for picture in pictures.values()} == {(64, 64, 3)}
    assert model.net.training
    model.net.eval()
    other = nucleist.load(plain, device="cpu")
    assert center_pictures(other.net, data) == shape_pictures(other.net) == {}
    assert set(shape_pictures(nucleist.load(canonical, device="cpu").net)) == {"canonical_shape"}
