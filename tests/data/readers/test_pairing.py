"""Which file is an image, which holds its labels: names of every kind, none dropped silently."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image
from roifile import ImagejRoi
from support.layouts import png, rgb, squares

from nucleist.data.readers.folder import Folder
from nucleist.data.readers.names import is_annotation, plain
from nucleist.data.readers.pairing import pair
from nucleist.types import UserError


def pairs_of(*names, **folders):
    """Labels by image, and all that has no place."""
    found = pair(names, "root", **folders)
    return {one.image: one.labels for one in found.pairs}, found.orphans, found.pictures


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.ome.tif", "a_labels.tif"),
        ("a.ome.tif", "a.ome_labels.tif"),
        ("a.ome.tif", "a_labels.ome.tif"),
        ("a.ome.tiff", "a_cp_masks.png"),
        ("a.OME.TIF", "a.zip"),
        ("a.tif", "a.tif_labels.png"),
        ("a.nd2.tif", "a_labels.tif"),
        ("a.tif", "a.tif.geojson"),
        ("a.ome.tif", "a_seg.npy"),
        ("images/a.ome.tif", "labels/a.tif"),
        ("images/a.ome.tif", "labels/a.ome.tif"),
        ("images/a.tif", "labels/a.ome.tif"),
        ("images/p1/a.ome.tif", "labels/p1/a_masks.png"),
        ("images/a.b.c.ome.tif", "labels/a.b.c.png"),
        ("x/a_roi.tif", "x/a_roi_labels.tif"),
        ("a_ROI.tif", "a_ROI.zip"),
        ("a_seg.tif", "labels/a_seg.png"),
        ("a mask.png", "a mask_masks.png"),
        ("a_overlay.png", "a_overlay_labels.png"),
        ("images/a_flows.png", "labels/a_flows.png"),
        ("images/cell_outlines.png", "masks/cell_outlines_masks.png"),
    ],
)
def test_names_that_belong_together(image, labels):
    assert pairs_of(image, labels) == ({image: labels}, [], [])
    # The same beside another image whose name is the shortest form of it.
    found = pairs_of(image, labels, "images/other.png", "labels/other.png")
    assert found == ({image: labels, "images/other.png": "labels/other.png"}, [], [])


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_the_form_of_unicode_does_not_matter(forms, tmp_path):
    image, labels = (unicodedata.normalize(form, "Zähler é") for form in forms)
    assert pairs_of(f"{image}.tif", f"{labels}_labels.tif")[0] == {
        f"{image}.tif": f"{labels}_labels.tif"
    }
    png(tmp_path / "images" / f"{image}.png", rgb())
    png(tmp_path / "labels" / f"{labels}.png", squares().astype(np.uint16))
    source = Folder(tmp_path)
    (name,) = source.splits()["train"]
    assert name == "Zähler é" and source.read(name).labels.max() == 3
    assert is_annotation(f"{labels}_labels", {image, f"{labels}_labels"})


def test_the_same_stem_with_and_without_inner_suffix_in_folders():
    names = ["images/p1/a.ome.tif", "images/p2/a.ome.tif", "labels/p1/a.tif", "labels/p2/a.tif"]
    found, orphans, _ = pairs_of(*names)
    assert found == dict(zip(names[:2], names[2:], strict=True)) and orphans == []
    found, orphans, _ = pairs_of("a.ome.tif", "a.tif", "a_labels.tif")  # the exact name first
    assert found == {"a.ome.tif": None, "a.tif": "a_labels.tif"}


def test_an_overview_beside_its_regions():
    found, orphans, _ = pairs_of("s.tif", "s_roi.tif", "s_roi_labels.tif", "s_labels.tif")
    assert found == {"s.tif": "s_labels.tif", "s_roi.tif": "s_roi_labels.tif"} and not orphans


def test_pictures_of_results_are_named_and_lone_labels_are_orphans():
    found, orphans, pictures = pairs_of(
        *("a.png", "a_cp_masks.png", "a_flows.tif", "a_outlines.png", "b_masks.png")
    )
    assert found == {"a.png": "a_cp_masks.png"} and orphans == ["b_masks.png"]
    assert pictures == ["a_flows.tif", "a_outlines.png"]
    found, orphans, pictures = pairs_of("k/a_labels.tif", "k/a_overlay.png", "images/a.tif")
    assert found == {"images/a.tif": "k/a_labels.tif"} and pictures == ["k/a_overlay.png"]


def test_outlines_are_used_only_where_there_are_no_other_labels():
    names = ["a.png", "a_cp_masks.png", "a_seg.npy", "b.png", "b_seg.npy", "c.png", "c.geojson"]
    found = pair(names, "root")
    assert [one.labels for one in found.pairs] == ["a_cp_masks.png", "b_seg.npy", "c.geojson"]
    assert found.spare == ["a_seg.npy"] and not found.orphans


@pytest.mark.parametrize(
    ("stem", "others", "annotation"),
    [
        ("a_labels", {"a"}, True),
        ("a_labels", {"a.ome"}, True),
        ("a.ome_labels", {"a.ome"}, True),
        ("a_overlay", {"a"}, True),
        ("a_roi", {"b"}, False),
        ("a_roi", {"a", "a_roi_labels"}, False),
        ("a_roi_labels", {"a", "a_roi"}, True),
        ("a.b.c.ome", {"a"}, False),
    ],
)
def test_what_prediction_leaves_out(stem, others, annotation):
    assert is_annotation(stem, {stem, *others}) == annotation


def test_plain_stems():
    assert [plain(stem) for stem in ("a.ome", "a.tif", "a.b.OME.tif", "a.b", ".ome")] == [
        *("a", "a", "a.b", "a.b", ".ome")
    ]


def roi(path, x, y):
    path.parent.mkdir(parents=True, exist_ok=True)
    corners = np.array([[x, y], [x + 5, y], [x + 5, y + 6], [x, y + 6]], np.float32)
    path.write_bytes(ImagejRoi.frompoints(corners).tobytes())


@pytest.mark.parametrize("folder", ["rois/a", "a_rois"])
def test_a_folder_of_rois(tmp_path, folder):
    png(tmp_path / ("images/a.png" if "/" in folder else "a.png"), rgb())
    roi(tmp_path / folder / "0001.roi", 2, 3)
    roi(tmp_path / folder / "0002.roi", 12, 10)
    labels = Folder(tmp_path).read("a").labels
    wanted = np.zeros((24, 24), np.int32)
    wanted[3:9, 2:7], wanted[10:16, 12:17] = 1, 2
    np.testing.assert_array_equal(labels, wanted)
    png(tmp_path / folder / "0003.png", rgb())
    with pytest.raises(UserError, match=r"0003\.png: "):
        Folder(tmp_path).read("a")


def geojson():
    ring = [[4, 5], [9, 5], [9, 11], [4, 11], [4, 5]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation"},
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature]})


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.tif.geojson", "annotations/a.geojson"])
def test_geojson_beside_an_image(tmp_path, name):
    png(tmp_path / "a.png", rgb())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(geojson())
    source = Folder(tmp_path)
    np.testing.assert_array_equal(source.read("a").labels, np.where(squares() == 1, 1, 0))
    assert source.problems() == []


def test_seg_beside_an_image(tmp_path):
    png(tmp_path / "a.png", rgb())
    content = np.empty((), object)
    content[()] = {"masks": squares().astype(np.uint16), "img": rgb()}
    np.save(tmp_path / "a_seg.npy", content)
    source = Folder(tmp_path)
    np.testing.assert_array_equal(source.read("a").labels, squares())
    assert source.problems() == []
    png(tmp_path / "a_cp_masks.png", np.where(squares() == 1, 1, 0).astype(np.uint16))
    source = Folder(tmp_path)
    assert source.read("a").labels.max() == 1
    assert "1 files are not used, because their images have other" in source.problems()[0]


def test_files_that_are_not_understood_are_named(tmp_path):
    png(tmp_path / "a.png", rgb())
    png(tmp_path / "a_labels.png", squares().astype(np.uint16))
    for name in ("a.xml", "b.czi", "c.npy", "d.gif", "e.svs", "f.lif", "x.json"):
        (tmp_path / name).write_text("?")
    for name in ("README.md", "notes.txt", "Thumbs.db", "desktop.ini", ".DS_Store", "a.csv"):
        (tmp_path / name).write_text("?")
    (line,) = Folder(tmp_path).problems()
    assert "7 files are not understood and not used; save images as TIFF" in line
    assert line.endswith(": a.xml, b.czi, c.npy, d.gif, e.svs, ...")


def test_a_region_that_covers_the_image_is_told(tmp_path):
    png(tmp_path / "a.png", rgb())
    (tmp_path / "a_masks").mkdir()
    Image.fromarray((squares() == 0).astype(np.uint8) * 255).save(tmp_path / "a_masks" / "1.png")
    assert "covers 92% of the image" in Folder(tmp_path).read("a").notes[-1]
