"""QuPath's GeoJSON: geometry worked out by hand, what is a nucleus, damage."""

import json

import numpy as np
import pytest
from support.layouts import box

from nucleist.data.complete import mask_of
from nucleist.data.formats.geojson import read_geojson
from nucleist.types import UserError, Window


def ring(top, left, bottom, right):
    corners = [[x, y] for x, y in box(top, left, bottom, right)]
    return [*corners, corners[0]]


def feature(coordinates, kind="Polygon", what="annotation", **more):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": what}, **more}


def collection(*features):
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def painted(*boxes, shape=(24, 24)):
    labels = np.zeros(shape, np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = number
    return labels


ONE, TWO = (5, 4, 11, 9), (12, 12, 18, 20)


@pytest.mark.parametrize("shape", ["collection", "list", "single"])
def test_polygons_hold_the_pixels_of_their_squares(shape):
    features = [feature([ring(*ONE)]), feature([ring(*TWO)])]
    data = {
        "collection": collection(*features),
        "list": json.dumps(features).encode(),
        "single": json.dumps(features[0]).encode(),
    }[shape]
    labels, notes, _ = read_geojson(data, "x", (24, 24))
    wanted = painted(ONE) if shape == "single" else painted(ONE, TWO)
    np.testing.assert_array_equal(labels, wanted)
    assert labels.dtype == np.int32 and notes == ()


def test_holes_and_several_polygons():
    with_hole = feature([ring(2, 2, 12, 12), ring(5, 5, 9, 9)])
    apart = feature([[ring(14, 2, 18, 6)], [ring(14, 10, 18, 14)]], "MultiPolygon")
    labels, *_ = read_geojson(collection(with_hole, apart), "x", (24, 24))
    wanted = painted((2, 2, 12, 12), (14, 2, 18, 6))
    wanted[5:9, 5:9], wanted[14:18, 10:14] = 0, 2
    np.testing.assert_array_equal(labels, wanted)


def test_cells_give_their_nuclei_and_annotations_around_detections_are_no_nuclei():
    region = feature([ring(0, 0, 24, 24)])
    cell = feature([ring(3, 3, 14, 14)], what="cell")
    cell["nucleusGeometry"] = {"type": "Polygon", "coordinates": [ring(*ONE)]}
    old = feature([ring(*TWO)], what="", id="PathDetectionObject")
    labels, notes, _ = read_geojson(collection(region, cell, old), "x", (24, 24))
    np.testing.assert_array_equal(labels, painted(ONE, TWO))
    assert len(notes) == 1 and notes[0].startswith("1 annotations beside 2 detections")


def test_regions_are_no_nuclei():
    group, ignored = feature([ring(0, 0, 24, 24)]), feature([ring(0, 0, 9, 9)])
    group["properties"]["name"] = "Region*"
    ignored["properties"]["classification"] = {"name": "Ignore*"}
    drawn = read_geojson(collection(group, ignored, feature([ring(*ONE)])), "x", (24, 24))
    np.testing.assert_array_equal(drawn.labels, painted(ONE))
    assert drawn.notes == ("2 regions (Region*, Ignore*) are no nuclei",)
    assert drawn.complete is False


def named(coordinates, name, **more):
    one = feature(coordinates, **more)
    one["properties"]["name"] = name
    return one


def test_what_is_called_complete_is_where_all_is_labelled():
    classed = feature([ring(20, 0, 24, 4)])
    classed["properties"]["classification"] = {"name": "Complete"}
    data = collection(named([ring(*ONE)], "complete"), feature([ring(*TWO)]), classed)
    drawn = read_geojson(data, "x", (24, 24))
    np.testing.assert_array_equal(drawn.labels, painted(TWO))
    assert drawn.notes == ()
    assert drawn.complete == (Window(*ONE), Window(20, 0, 24, 4))


def test_a_complete_region_beside_detections_is_taken_and_may_have_a_hole():
    region = named([ring(2, 2, 12, 12), ring(5, 5, 9, 9)], "COMPLETE")
    drawn = read_geojson(collection(region, feature([ring(*ONE)], what="cell")), "x", (24, 24))
    assert drawn.labels.max() == 1 and drawn.notes == ()
    wanted = np.zeros((24, 24), bool)
    wanted[2:12, 2:12] = True
    wanted[5:9, 5:9] = False
    np.testing.assert_array_equal(mask_of(drawn.complete, (24, 24)), wanted)


def test_a_region_around_the_image_is_the_whole_of_it_and_one_elsewhere_is_none():
    labels, notes, complete = read_geojson(
        collection(named([ring(-3, -3, 30, 40)], "complete"), feature([ring(*ONE)])), "x", (24, 24)
    )
    assert complete is True and labels.max() == 1 and notes == ()
    point = named([3, 3], "complete", kind="Point")
    far = named([ring(50, 50, 60, 60)], "complete")
    _, notes, complete = read_geojson(collection(point, far, feature([ring(*ONE)])), "x", (24, 24))
    assert complete is False and [note.split(" and ")[0] for note in notes] == [
        "region 'complete' 1 outlines no area",
        "region 'complete' 2 holds no pixel of the image",
    ]


def test_what_is_no_area_or_outside_is_left_out():
    data = collection(
        feature([ring(*ONE)]), feature([3, 3], "Point"), feature([ring(50, 50, 60, 60)])
    )
    labels, notes, _ = read_geojson(data, "x", (24, 24))
    np.testing.assert_array_equal(labels, painted(ONE))
    assert [note.split(" and ")[0] for note in notes] == [
        "feature 2 outlines no area",
        "feature 3 holds no pixel of the image",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b'{"images": [], "annotations": []}',
        collection(feature(ring(*ONE))),
        collection(feature([[[1, 2], [3, float("nan")], [5, 6]]])),
        collection(feature([[[1, 2], [3, 4]]])),
        collection(feature("x")),
        collection(feature([ring(*ONE)], "Curve")),
        collection({"type": "Feature", "geometry": None}),
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_damaged_files_are_told_in_one_line(data):
    with pytest.raises(UserError, match=r"^dir/x\.geojson: .*; |^dir/x\.geojson: ") as said:
        read_geojson(data, "dir/x.geojson", (24, 24))
    assert "\n" not in str(said.value)
