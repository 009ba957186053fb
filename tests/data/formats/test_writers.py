"""What is written for QuPath, Fiji, COCO tools: their readers' rules, and back through ours."""

import json
import re
import uuid
import zipfile

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi, roiread, roiwrite
from support.outlined import KINDS, blobs, odd, result

from nucleist.data.formats import geojson_writer
from nucleist.data.formats.coco import label_map, load_coco
from nucleist.data.formats.coco_writer import encode_part, writing_coco
from nucleist.data.formats.geojson import read_corrected_geojson, read_geojson
from nucleist.data.formats.geojson_writer import writing_geojson
from nucleist.data.formats.imagej import read_corrected_rois, read_outlines, read_rois
from nucleist.data.formats.imagej_writer import writing_rois
from nucleist.data.formats.traced import Traced, nucleus_id
from nucleist.ops.splines import curve
from nucleist.types import Nucleus, Window


def traced(labels, origin="image settings"):
    return [Traced(nucleus, origin) for nucleus in result(labels).nuclei()]


def written(writing, labels):
    """Write all nuclei of a label map; returns the notes."""
    with writing as writer:
        for nucleus in traced(labels):
            writer.add(nucleus)
    return list(writer.notes())


def features(path):
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    return content["features"]


@pytest.mark.parametrize("splines", [False, True])
def test_geojson_obeys_the_rules_of_qupath(tmp_path, splines):
    path, labels = tmp_path / "a.geojson", odd()
    notes = written(writing_geojson(path, splines), labels)
    found = features(path)
    assert len(found) == len(KINDS)  # none is lost
    for label, feature in enumerate(found, 1):
        geometry, properties = feature["geometry"], feature["properties"]
        shape = shapely.geometry.shape(geometry)
        assert shape.is_valid and shape.area > 0
        rounded = shapely.set_precision(shape, 0.01)
        assert rounded.is_valid and rounded.equals(shape)
        several = geometry["type"] == "MultiPolygon"
        assert not several or len(geometry["coordinates"]) > 1
        polygons = geometry["coordinates"] if several else [geometry["coordinates"]]
        for ring in (ring for polygon in polygons for ring in polygon):
            assert ring[0] == ring[-1] and len(ring) >= 4
        assert uuid.UUID(feature["id"]).version == 5
        assert feature["id"] == nucleus_id("image settings", label)
        assert properties["objectType"] == "annotation"
        kind = properties["classification"]
        assert kind["name"] == "Nucleus" and len(kind["color"]) == 3
        assert all(0 <= value <= 255 for value in kind["color"])
        assert properties["measurements"]["Score"] == pytest.approx(0.95 - (label - 1) * 0.05)
        assert all(isinstance(value, str) for value in properties["metadata"].values())
        assert "isLocked" not in properties
    kinds = [feature["geometry"]["type"] for feature in found]
    several = {KINDS["two parts"], KINDS["diagonal"]}
    assert [kind == "MultiPolygon" for kind in kinds] == [
        label in several and not splines for label in KINDS.values()
    ]
    said = "3 nuclei have holes or several parts: the spline is of the largest"
    assert notes[:1] == ([said] if splines else [])


def test_geojson_keeps_every_pixel(tmp_path):
    written(writing_geojson(tmp_path / "a.geojson"), odd())
    labels, notes, _ = read_geojson((tmp_path / "a.geojson").read_bytes(), "a", odd().shape)
    np.testing.assert_array_equal(labels, odd())
    assert notes == ()


def test_many_nuclei_are_detections(tmp_path, monkeypatch):
    monkeypatch.setattr(geojson_writer, "MANY", 8)
    for count, kind in ((9, "detection"), (8, "annotation")):
        labels = odd()
        labels[labels > count] = 0
        written(writing_geojson(tmp_path / "a.geojson"), labels)
        found = features(tmp_path / "a.geojson")
        assert [feature["properties"]["objectType"] for feature in found] == [kind] * count
        again = read_geojson((tmp_path / "a.geojson").read_bytes(), "a", labels.shape)[0]
        np.testing.assert_array_equal(again, labels)


def test_no_nuclei_are_an_empty_collection(tmp_path):
    assert written(writing_geojson(tmp_path / "a.geojson"), np.zeros((4, 4), np.int32)) == []
    assert features(tmp_path / "a.geojson") == []
    labels, *_ = read_geojson((tmp_path / "a.geojson").read_bytes(), "a", (4, 4))
    assert not labels.any()


def test_splines_of_geojson_have_their_anchors_and_iou(tmp_path):
    labels = blobs(24)
    assert written(writing_geojson(tmp_path / "a.geojson", True), labels) == []
    data = (tmp_path / "a.geojson").read_bytes()
    again, *_ = read_geojson(data, "a", labels.shape)
    for label, feature in enumerate(features(tmp_path / "a.geojson"), 1):
        about = feature["properties"]["metadata"]
        anchors = np.array(json.loads(about["anchors"]))
        assert 6 <= len(anchors) <= 24 and float(about["iou"]) >= 0.97
        ring = shapely.Polygon(feature["geometry"]["coordinates"][0])
        assert ring.symmetric_difference(shapely.Polygon(curve(anchors))).area < 1
        both = np.count_nonzero((again == label) & (labels == label))
        iou = both / np.count_nonzero((again == label) | (labels == label))
        assert iou == pytest.approx(float(about["iou"]), abs=0.01)  # vertices half a pixel apart


def test_roi_zips_hold_splines_that_imagej_draws(tmp_path):
    path, labels = tmp_path / "a.zip", blobs(24)
    assert written(writing_rois(path), labels) == []
    rois = roiread(path)
    assert len(rois) == len({roi.name for roi in rois}) == 24
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{roi.name}.roi" for roi in rois]
    for roi in rois:
        assert roi.roitype == ROI_TYPE.POLYGON
        assert roi.options & ROI_OPTIONS.SPLINE_FIT
        assert roi.options & ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        assert roi.coordinates().dtype.kind == "f" and 6 <= len(roi.coordinates()) <= 24
    again, notes, _ = read_rois(path.read_bytes(), "a", labels.shape)
    assert notes == ()
    for label in range(1, 25):
        both = np.count_nonzero((again == label) & (labels == label))
        assert both / np.count_nonzero((again == label) | (labels == label)) >= 0.97


def test_roi_zips_lose_no_nucleus(tmp_path):
    path, labels = tmp_path / "a.zip", odd()
    notes = written(writing_rois(path), labels)
    assert notes == ["3 nuclei have holes or several parts: composites"]
    again, *_ = read_rois(path.read_bytes(), "a", labels.shape)
    composite = [KINDS[kind] for kind in ("hole", "two parts", "diagonal")]
    for label in KINDS.values():
        both = np.count_nonzero((again == label) & (labels == label))
        iou = both / np.count_nonzero((again == label) | (labels == label))
        assert iou == 1 if label in composite else iou >= 0.9, label


def test_what_no_spline_holds_is_a_polygon(tmp_path):
    comb = np.zeros((24, 40), np.int32)
    comb[2:22, 2:38] = 1
    comb[2:16, 4:38:4] = comb[2:16, 5:38:4] = 0
    notes = written(writing_rois(tmp_path / "a.zip"), comb)
    assert notes == ["1 nucleus is a polygon: no spline reaches an IoU of 0.97"]
    again, *_ = read_rois((tmp_path / "a.zip").read_bytes(), "a", comb.shape)
    np.testing.assert_array_equal(again, comb)


def test_a_zip_is_made_anew(tmp_path):
    """roifile adds to a zip that is there, so that deleted selections would return."""
    path = tmp_path / "a.zip"
    roiwrite(path, [ImagejRoi.frompoints([[1, 1], [5, 1], [5, 5]], name="deleted")])
    written(writing_rois(path), blobs(12))
    assert [roi.name for roi in roiread(path)] == [f"nucleus_{i:05d}" for i in range(1, 13)]


def test_places_of_large_images(tmp_path):
    mask, notes = odd() == KINDS["large"], []
    for x0, lost in ((59_000, 0), (59_990, 1)):
        nucleus = Nucleus(1, Window(40_000, x0, 40_072, x0 + 64), mask)
        with writing_rois(tmp_path / "a.zip") as writer:
            writer.add(Traced(nucleus))
        notes = writer.notes()
        assert len(notes) == lost
        if not lost:
            (outline,) = read_outlines((tmp_path / "a.zip").read_bytes(), "a")
            (path,) = outline.paths
            np.testing.assert_allclose(path.mean(0), [x0 + 16, 40_018], atol=0.2)
    assert notes == ["1 nucleus lies beyond 60000 px and is left out"]


def test_identity_and_what_was_touched(tmp_path):
    labels = blobs(12)
    written(writing_rois(tmp_path / "a.zip"), labels)
    rois = roiread(tmp_path / "a.zip")
    rois[3].subpixel_coordinates[0] += 1.5
    roiwrite(tmp_path / "b.zip", rois)
    found = read_corrected_rois((tmp_path / "b.zip").read_bytes(), "b", labels.shape).nuclei
    assert [one.id for one in found] == [nucleus_id("image settings", i) for i in range(1, 13)]
    assert [one.intact for one in found] == [i != 3 for i in range(12)]
    written(writing_geojson(tmp_path / "a.geojson", True), labels)
    content = json.loads((tmp_path / "a.geojson").read_text())
    ring = content["features"][5]["geometry"]["coordinates"][0]
    ring[0][0] = ring[-1][0] = ring[0][0] + 0.4
    # Another program begins the ring elsewhere, and turns it round.
    other = content["features"][7]["geometry"]["coordinates"]
    other[0] = other[0][4::-1] + other[0][-2:3:-1]
    data = json.dumps(content).encode()
    found = read_corrected_geojson(data, "a", labels.shape).nuclei
    assert [one.id for one in found] == [nucleus_id("image settings", i) for i in range(1, 13)]
    assert [one.intact for one in found] == [i != 5 for i in range(12)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_coco_is_what_pycocotools_reads(tmp_path, capsys):
    path, labels = tmp_path / "a.json", odd()
    assert written(writing_coco(path, "a.tif", labels.shape), labels) == []
    coco = COCO(path)
    capsys.readouterr()
    (image,) = coco.dataset["images"]
    assert (image["file_name"], image["height"], image["width"]) == ("a.tif", *labels.shape)
    assert len(coco.anns) == len(KINDS)
    for label, annotation in coco.anns.items():
        mask = labels == label
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == np.count_nonzero(mask)
        y, x = mask.nonzero()
        box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert annotation["bbox"] == box and annotation["iscrowd"] == 0
    again, notes = label_map(load_coco(path.read_bytes(), "a")[0], "a", labels.shape)
    np.testing.assert_array_equal(again, labels)
    assert notes == ()


@pytest.mark.parametrize("window", [(0, 0, 9, 7), (2, 1, 9, 4), (0, 3, 5, 7), (3, 2, 6, 5)])
def test_rle_of_a_part_is_that_of_the_whole(window):
    rng = np.random.default_rng(sum(window))
    whole = np.zeros((9, 7), bool)
    part = Window(*window)
    for share in (0.3, 0.7, 1.0):  # the last has runs over the foot of a column
        mask = rng.random(whole[part.slices].shape) < share
        whole[part.slices] = mask
        theirs = coco_mask.encode(np.asfortranarray(whole, np.uint8))
        ours = encode_part(mask, part, whole.shape)
        assert ours == {"size": [9, 7], "counts": theirs["counts"].decode()}


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    for name, writing in (
        ("a.geojson", writing_geojson),
        ("a.zip", writing_rois),
        ("a.json", lambda path: writing_coco(path, "a", (9, 9))),
    ):
        (tmp_path / name).write_text("before")
        with pytest.raises(RuntimeError), writing(tmp_path / name) as writer:
            writer.add(traced(odd())[0])
            raise RuntimeError
        assert (tmp_path / name).read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_feature_is_a_line(tmp_path):
    written(writing_geojson(tmp_path / "a.geojson"), odd())
    lines = (tmp_path / "a.geojson").read_text().splitlines()
    assert len([line for line in lines if re.match(r'\{"type": "Feature"', line)]) == len(KINDS)
