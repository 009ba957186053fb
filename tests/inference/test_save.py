"""What is saved of an image: which files, their names, and back through the readers of folders."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.outlined import KINDS, blobs, odd, predicted, result

import nucleist
from nucleist.data import Folder
from nucleist.data.formats.label_maps import load_label_map
from nucleist.data.formats.label_zarr import read_label_zarr
from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference.measurements import MICROMETRES, SHAPE
from nucleist.inference.result import COLUMNS
from nucleist.inference.save import DEFAULT, ENDS, chosen, paths_of, write_result
from nucleist.types import UserError

ALL = tuple(ENDS)


def pixels(labels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 60, (*labels.shape, 3), np.uint8)
    return noise + (labels > 0)[..., None].astype(np.uint8) * 120


def test_what_can_be_chosen() -> None:
    assert set(chosen("labels,overlay,csv")) == set(DEFAULT)
    assert chosen(["labels", "coco", "labels"]) == ("coco", "labels")  # labels are written last
    for wrong, found in (("labels,png", "save=png: unknown"), ("", "names nothing")):
        with pytest.raises(UserError, match=found):
            chosen(wrong)


def test_every_file_is_written_and_no_other(tmp_path: Path) -> None:
    paths = paths_of(tmp_path / "a", ALL)
    write_result(result(odd()), ArrayPicture(pixels(odd())), paths)
    assert {path.name for path in tmp_path.iterdir()} == {f"a{end}" for end in ENDS.values()}
    np.testing.assert_array_equal(load_label_map(paths["labels"]), odd())
    np.testing.assert_array_equal(read_label_zarr(paths["zarr"]), odd())
    with Image.open(paths["overlay"]) as overlay:
        assert overlay.size == (64, 72)


def test_columns_of_the_table(tmp_path: Path) -> None:
    paths = paths_of(tmp_path / "a", ("csv",))
    picture = ArrayPicture(pixels(odd()), names=("red", "green", "blue"), pixel_size=0.25)
    write_result(result(odd()), picture, paths)
    with paths["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    channels = [f"{c}_{m}" for c in ("red", "green", "blue") for m in ("mean", "min", "max", "std")]
    assert tuple(rows[0]) == (*COLUMNS, *SHAPE, *channels, *MICROMETRES)
    assert [int(row["label"]) for row in rows] == list(KINDS.values())
    assert rows[KINDS["one pixel"] - 1]["circularity"] == ""  # it has no perimeter
    area = float(rows[0]["area_px"])
    assert area == np.count_nonzero(odd() == 1) and float(rows[0]["area_um2"]) == area / 16


@pytest.mark.parametrize("form", ["labels", "geojson", "coco", "imagej", "splines"])
def test_the_reader_of_folders_reads_it_back(tmp_path: Path, form: str) -> None:
    """An image beside one file of its results is a data set."""
    image = pixels(blobs(24))
    Image.fromarray(image).save(tmp_path / "a.png")
    write_result(result(blobs(24)), ArrayPicture(image, "a.png"), paths_of(tmp_path / "a", (form,)))
    record = Folder(tmp_path).read("a")
    if form in ("labels", "geojson", "coco"):
        np.testing.assert_array_equal(record.labels, blobs(24))
    else:
        both = np.count_nonzero((record.labels > 0) & (blobs(24) > 0))
        assert both / np.count_nonzero((record.labels > 0) | (blobs(24) > 0)) > 0.97
        assert record.labels.max() == 24
    assert record.notes == ()


@pytest.mark.parametrize("form", ["labels", "geojson", "coco"])
def test_ten_rounds_keep_every_pixel(tmp_path: Path, form: str) -> None:
    image, labels = pixels(odd()), odd()
    Image.fromarray(image).save(tmp_path / "a.png")
    for _ in range(10):
        paths = paths_of(tmp_path / "a", (form,))
        write_result(result(labels), ArrayPicture(image, "a.png"), paths)
        labels = Folder(tmp_path).read("a").labels
    np.testing.assert_array_equal(labels, odd())


def test_one_result_is_saved_from_python(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"a_rois\.zip: 3 nuclei have holes or several parts"):
        paths = nucleist.save_result(
            result(odd()), pixels(odd()), tmp_path / "a", "imagej,csv", pixel_size=0.5
        )
    assert set(paths) == {"imagej", "csv"} and all(path.exists() for path in paths.values())
    assert "area_um2" in paths["csv"].read_text()
    with pytest.raises(UserError, match=r"a_nuclei\.csv: is there already"):
        nucleist.save_result(result(odd()), pixels(odd()), tmp_path / "a", "csv")
    nucleist.save_result(result(odd()), pixels(odd()), tmp_path / "a", "csv", overwrite=True)
    assert "area_um2" not in paths["csv"].read_text()


def test_an_image_without_nuclei(tmp_path: Path) -> None:
    image = predicted(tmp_path, "a", np.zeros((8, 8), np.int32), ALL, np.zeros((8, 8, 3), np.uint8))
    names = {path.name for path in (tmp_path / "out").glob("a*")}
    assert names == {f"a{end}" for end in ENDS.values()} and image.exists()
    assert len((tmp_path / "out" / "a_nuclei.csv").read_text().splitlines()) == 1


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = paths_of(tmp_path / "a", ("coco", "geojson", "imagej"))
    for path in paths.values():
        path.write_text("before")
    found = result(odd())
    monkeypatch.setattr(type(found), "nuclei", lambda self: iter([*[None] * 2]))
    with pytest.raises(AttributeError):
        write_result(found, ArrayPicture(pixels(odd())), paths)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"before"}
