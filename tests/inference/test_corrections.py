"""Corrections taken back: exactly what was edited is moved, and the set can be trained on."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from roifile import ROI_OPTIONS, ImagejRoi, roiread, roiwrite
from support.lines import Lines
from support.outlined import blobs, odd, predicted
from support.runs import THIN

import nucleist
from nucleist.cli.main import main
from nucleist.data import Folder
from nucleist.data.formats.label_maps import write_label_map
from nucleist.inference import earlier
from nucleist.types import UserError, Window

SAVED = ("csv", "coco", "geojson", "imagej", "splines", "labels")
LABELS = blobs(36)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two images: one of 36 nuclei, one of every kind."""
    folder = tmp_path_factory.mktemp("written")
    for name, labels in (("a", LABELS), ("b", odd())):
        predicted(folder, name, labels, SAVED, picture(labels))
    return folder


@pytest.fixture
def out(written: Path, tmp_path: Path) -> Path:
    """A copy of these results, which a test may change."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    record = tmp_path / "out" / earlier.NAME
    record.write_text(record.read_text().replace(str(written), str(tmp_path)))
    return tmp_path / "out"


def picture(labels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).integers(0, 60, (*labels.shape, 1), np.uint8)
    return np.repeat(noise + (labels > 0)[..., None].astype(np.uint8) * 120, 3, 2)


def counts(found: object) -> tuple[int, ...]:
    return tuple(getattr(found, state) for state in ("kept", "moved", "added", "rejected"))


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "corrections.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def save(path: Path, rois: list[ImagejRoi]) -> None:
    path.unlink()
    roiwrite(path, rois)


@pytest.mark.parametrize("form", ["imagej", "geojson", "splines", "coco", "labels"])
def test_what_nobody_touched_is_kept_pixel_by_pixel(out: Path, form: str) -> None:
    """Ten rounds of export and import, each from what the last one left."""
    found = nucleist.import_corrections(out, form, out.parent / "set")
    assert counts(found) == (36 + 9, 0, 0, 0) and found.boundary_shift == 0
    source = Folder(out.parent / "set")
    np.testing.assert_array_equal(source.read("a").labels, LABELS)
    np.testing.assert_array_equal(source.read("b").labels, odd())
    assert source.problems() == []


def test_exactly_five_edited_selections_are_moved(out: Path) -> None:
    rois = roiread(out / "a_rois.zip")
    edited = [3, 8, 15, 20, 31]
    for number in edited:
        rois[number].subpixel_coordinates[2] += (1.5, -1)
    save(out / "a_rois.zip", rois)
    told = Lines()
    found = nucleist.import_corrections(out, "imagej", out.parent / "set", progress=told)
    assert counts(found) == (31 + 9, 5, 0, 0)
    assert 0 < found.boundary_shift < 1
    assert "a.png: 31 kept, 5 moved, 0 added, 0 rejected" in told.notes
    moved = [row for row in lines(found.folder) if row["state"] == "moved"]
    assert [int(row["label"]) for row in moved] == [number + 1 for number in edited]
    assert all(0.8 < float(row["iou"]) < 1 and row["origin"] == "person" for row in moved)
    labels = Folder(found.folder).read("a").labels
    for label in range(1, 37):
        same = np.array_equal(labels == label, LABELS == label)
        assert same == (label - 1 not in edited)


def test_added_removed_and_renamed(out: Path) -> None:
    rois = roiread(out / "a_rois.zip")
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    new = ImagejRoi.frompoints(5 + 3 * np.stack([np.cos(angle), np.sin(angle)], 1), name="new")
    new.options |= ROI_OPTIONS.SPLINE_FIT
    rois[7].name = "checked"  # its properties say who it is
    region = ImagejRoi.frompoints([[0, 0], [100, 0], [100, 40], [0, 40]], name="complete")
    save(out / "a_rois.zip", [*rois[:2], *rois[4:], new, region])
    found = nucleist.import_corrections(out, "imagej", out.parent / "set")
    assert counts(found) == (34 + 9, 0, 1, 2)
    assert found.images["a.png"] == {"kept": 34, "added": 1, "rejected": 2}
    rows = [row for row in lines(found.folder) if row["state"] != "kept"]
    assert [(row["label"], row["state"], row["score"]) for row in rows] == [
        ("37", "added", ""), ("3", "rejected", "0.927143"), ("4", "rejected", "0.915714"),
    ]  # fmt: skip
    record = Folder(found.folder).read("a")
    assert record.complete == (Window(0, 0, 40, 100),)
    assert set(np.unique(record.labels)) == {*range(38)} - {3, 4}


def test_outlines_of_qupath(out: Path) -> None:
    """QuPath renames what it does not know, and drops no UUID."""
    path = out / "a_labels.geojson"
    content = json.loads(path.read_text())
    ring = content["features"][9]["geometry"]["coordinates"][0]
    content["features"][9]["geometry"]["coordinates"] = [[[x + 2, y] for x, y in ring]]
    del content["features"][4]
    path.write_text(json.dumps(content["features"]))  # a list, as QuPath may write
    found = nucleist.import_corrections(out, "geojson", out.parent / "set", complete=True)
    assert counts(found) == (34 + 9, 1, 0, 1)
    assert found.boundary_shift == pytest.approx(1.3, abs=0.4)
    assert Folder(found.folder).read("a").complete is True


def test_without_identity_overlap_counts(out: Path, tmp_path: Path) -> None:
    """As label images and Cellpose give them back: numbered anew."""
    labels = np.where(LABELS > 0, 40 - LABELS, 0)
    labels[labels == 9] = 0
    top, left = (int(v.min()) for v in np.nonzero(labels == 12))
    labels[top : top + 6, left : left + 30] = np.where(
        labels[top : top + 6, left : left + 30] == 12, 0, labels[top : top + 6, left : left + 30]
    )
    labels[:4, :4] = 99
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    write_label_map(corrected / "a_cp_masks.png", labels)
    np.save(corrected / "a_seg.npy", np.array({"masks": labels, "flows": []}, object))
    for form in ("labels", "cellpose"):
        found = nucleist.import_corrections(corrected, form, tmp_path / form, results=out)
        assert counts(found) == (34, 1, 1, 1)
        assert not (tmp_path / form / "images" / "b.png").exists()
        again = Folder(tmp_path / form).read("a").labels
        np.testing.assert_array_equal(again == 30, LABELS == 30)  # has its old number


def test_labels_corrected_in_place_have_nothing_to_be_compared_with(out: Path) -> None:
    write_label_map(out / "a_labels.tif", np.where(LABELS == 3, 0, LABELS))
    told = Lines()
    found = nucleist.import_corrections(out, "labels", out.parent / "set", progress=told)
    assert counts(found) == (9, 0, 35, 0)
    assert "is not any more what was predicted" in told.warnings[0]


def test_where_all_is_from(out: Path) -> None:
    found = nucleist.import_corrections(out, "coco", out.parent / "set")
    content = yaml.safe_load((found.folder / "corrections.yaml").read_text())
    assert content["from"] == "coco" and content["kept"] == 45
    assert content["nucleist"] == nucleist.__version__ and content["date"].endswith("+00:00")
    source = content["images"]["a.png"]
    assert source["corrected"] == str(out / "a_coco.json")
    assert source["image"] == earlier.image_hash(found.folder / "images" / "a.png")
    assert source["settings"] == "0123456789ab"
    (row, *_) = lines(found.folder)
    assert row == {
        "image": "a.png", "label": "1", "uuid": row["uuid"], "state": "kept", "origin": "model",
        "score": "0.95", "iou": "1.0000", "boundary_shift_px": "0.0000",
    }  # fmt: skip
    feature = json.loads((out / "a_labels.geojson").read_text())["features"][0]
    assert row["uuid"] == feature["id"]


def test_nothing_is_left_of_an_import_that_failed(out: Path) -> None:
    (out / "b_rois.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"b_rois\.zip: not a complete \.zip of ROIs"):
        nucleist.import_corrections(out, "imagej", out.parent / "set")
    assert {path.name for path in out.parent.iterdir()} == {"images", "out"}


def test_what_is_refused(out: Path, tmp_path: Path) -> None:
    def said(folder: Path, form: str, **settings: object) -> str:
        with pytest.raises(UserError) as told:
            nucleist.import_corrections(folder, form, tmp_path / "set", **settings)  # type: ignore[arg-type]
        return str(told.value)

    assert "from=qupath is unknown; use one of imagej" in said(out, "qupath")
    assert "no such folder" in said(tmp_path / "none", "imagej", results=out)
    assert "no results of nucleist predict" in said(tmp_path, "imagej")
    assert "no corrected files (_seg.npy)" in said(out, "cellpose")
    (out / "a_masks.png").write_bytes((out / "a_labels.tif").read_bytes())
    assert "both are of a.png; put the corrected files into a folder" in said(out, "labels")
    image = tmp_path / "images" / "a.png"
    image.rename(tmp_path / "a.png")
    assert "a.png: is not there, or not the image" in said(out, "imagej")
    Image.open(tmp_path / "images" / "b.png").save(tmp_path / "b.png")
    found = nucleist.import_corrections(out, "imagej", tmp_path / "set", images=tmp_path)
    assert found.kept == 45
    assert "is there already" in said(out, "imagej", images=tmp_path)


def test_the_words_of_the_command_line(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(out.parent / "set")
    assert main(["import", str(out), "from=imagej", "-o", target, "complete=true"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == target
    assert "kept 45, moved 0, added 0, rejected 0; moved outlines shifted by 0.00 px" in told.err
    assert main(["import", str(out), "-o", target]) == 2
    assert "import needs from=FORM" in capsys.readouterr().err
    assert main(["import", "--help"]) == 0
    assert "nucleist import out from=imagej -o corrected" in capsys.readouterr().out


@pytest.mark.slow
def test_the_set_is_trained_on(out: Path, tmp_path: Path) -> None:
    found = nucleist.import_corrections(out, "imagej", tmp_path / "set")
    settings = [word for word in THIN if "source" not in word]
    lines = Lines()
    run = nucleist.train(found.folder, overrides=settings, progress=lines, runs=tmp_path / "runs")
    assert (run / "summary.json").exists()
    assert not [line for line in lines.warnings if "labels" in line]
