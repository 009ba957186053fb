"""ImageJ ROIs: geometry worked out by hand, splines against an independent solution, damage."""

import io
import struct
import zipfile

import numpy as np
import pytest
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from nucleist.data.complete import mask_of
from nucleist.data.formats.imagej import read_outlines, read_rois
from nucleist.types import UserError, Window


def roi(points, kind=ROI_TYPE.POLYGON, name="", options=None):
    made = ImagejRoi.frompoints(np.asarray(points), name=name or None)
    made.roitype = kind
    if options is not None:
        made.options |= options
    return made.tobytes()


def box_roi(kind, top, left, bottom, right):
    made = ImagejRoi()
    made.roitype, made.version = kind, 228
    made.top, made.left, made.bottom, made.right = top, left, bottom, right
    return made.tobytes()


def zipped(*contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, content in enumerate(contents):
            file.writestr(f"{number:04d}.roi", content)
    return buffer.getvalue()


def ids(labels):
    return np.unique(labels[labels > 0]).tolist()


@pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
def test_whole_pixel_polygon(kind):
    # Corners (2, 3), (7, 3), (7, 9), (2, 9): columns 2 to 6, rows 3 to 8.
    data = zipped(roi(np.array([[2, 3], [7, 3], [7, 9], [2, 9]], np.int32), kind))
    labels, notes, _ = read_rois(data, "a.zip", (12, 10))
    expected = np.zeros((12, 10), np.int32)
    expected[3:9, 2:7] = 1
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int32 and notes == ()


def test_subpixel_polygon():
    # Right border at 6.4: the centre of column 6 is at 6.5, outside. Top at 3.6: row 3 is out.
    points = np.array([[2.0, 3.6], [6.4, 3.6], [6.4, 9.0], [2.0, 9.0]], np.float32)
    labels, *_ = read_rois(roi(points), "a.roi", (12, 10))
    expected = np.zeros((12, 10), np.int32)
    expected[4:9, 2:6] = 1
    np.testing.assert_array_equal(labels, expected)


def test_rectangle_and_oval():
    data = zipped(box_roi(ROI_TYPE.RECT, 1, 2, 5, 4), box_roi(ROI_TYPE.OVAL, 10, 10, 30, 40))
    labels, *_ = read_rois(data, "a.zip", (48, 48))
    assert (labels == 1).sum() == (labels[1:5, 2:4] == 1).sum() == 8
    y, x = np.mgrid[:48, :48] + 0.5  # centre (25, 20), half axes 15 and 10
    np.testing.assert_array_equal(labels == 2, ((x - 25) / 15) ** 2 + ((y - 20) / 10) ** 2 < 1)


def test_subpixel_oval():
    made = ImagejRoi()
    made.roitype, made.version = ROI_TYPE.OVAL, 228
    made.options = ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    made.xd, made.yd, made.widthd, made.heightd = 4.5, 5.25, 12.5, 9.0
    made.top, made.left, made.bottom, made.right = 5, 4, 15, 17
    labels, *_ = read_rois(made.tobytes(), "a.roi", (24, 24))
    y, x = np.mgrid[:24, :24] + 0.5
    inside = ((x - 10.75) / 6.25) ** 2 + ((y - 9.75) / 4.5) ** 2 < 1
    np.testing.assert_array_equal(labels == 1, inside)


def test_spline_roi_is_the_curve_and_not_its_polygon():
    # 8 anchors on a circle of radius 12: the octagon has 2 sqrt(2) r^2 = 407 px, the disc 452.
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    anchors = 20 + 12 * np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    plain, *_ = read_rois(roi(anchors), "a.roi", (40, 40))
    curve, *_ = read_rois(roi(anchors, options=ROI_OPTIONS.SPLINE_FIT), "a.roi", (40, 40))
    y, x = np.mgrid[:40, :40] + 0.5 - 20
    disc = np.hypot(x, y) < 12
    assert plain.sum() == pytest.approx(407, abs=12)
    assert np.count_nonzero((curve == 1) != disc) <= 8  # IoU above 0.98


def test_composite_with_a_hole():
    # A 10 x 10 square with a 4 x 4 hole, as one path list: moveto 0, lineto 1, close 4.
    path = []
    for low, high in ((2, 12), (5, 9)):
        corners = [(low, low), (high, low), (high, high), (low, high)]
        path += [0, *corners[0], *(v for c in corners[1:] for v in (1, *c)), 4]
    made = ImagejRoi()
    made.roitype, made.version = ROI_TYPE.RECT, 228
    made.top, made.left, made.bottom, made.right = 2, 2, 12, 12
    made.multi_coordinates = np.array(path, np.float32)
    made.shape_roi_size = len(path)
    labels, *_ = read_rois(made.tobytes(), "a.roi", (16, 16))
    expected = np.zeros((16, 16), np.int32)
    expected[2:12, 2:12] = 1
    expected[5:9, 5:9] = 0
    np.testing.assert_array_equal(labels, expected)


def test_order_overlap_border_and_what_is_no_area():
    square = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], np.float32)
    data = zipped(
        roi(square + 2, name="one"),
        roi(square[:1] + 3, ROI_TYPE.POINT, name="a point"),
        roi(square - 3, name="cut"),
        roi(square + 90, name="far"),
        roi(square[:2] + 1, ROI_TYPE.POLYLINE, name="a line"),
        roi(square + np.array([5, 2], np.float32), name="two"),
    )
    labels, notes, _ = read_rois(data, "a.zip", (16, 16))
    assert ids(labels) == [1, 3, 6]
    # "cut" has a 3 x 3 corner in the image, takes (2, 2) from "one" as the smaller of the two;
    # "two" is as large as "one" and later, and takes the 3 x 6 pixels they share.
    assert [(labels == i).sum() for i in (1, 3, 6)] == [36 - 1 - 18, 9, 36]
    assert [note.split("'")[1] for note in notes[:3]] == ["a point", "far", "a line"]
    assert "more than one nucleus" in notes[3]


def test_names_and_hidden_members():
    buffer = io.BytesIO()
    content = roi(np.array([[0, 0], [4, 0], [4, 4]], np.float32), name="αβ")
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("RoiSet/0001.roi", content)
        file.writestr("__MACOSX/RoiSet/._0001.roi", b"x")
        file.writestr("RoiSet/readme.txt", b"x")
    (outline,) = read_outlines(buffer.getvalue(), "a.zip")
    assert outline.name == "αβ" and outline.paths is not None and len(outline.paths) == 1


SQUARE = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], np.float32)


@pytest.mark.parametrize("name", ["complete", "Complete", "COMPLETE-1", " complete 2"])
def test_what_is_called_complete_is_no_nucleus(name):
    data = zipped(roi(SQUARE + 1), roi(SQUARE + 4, name=name), roi(SQUARE + 8))
    labels, notes, complete = read_rois(data, "a.zip", (16, 16))
    assert ids(labels) == [1, 3] and notes == ()
    assert [(labels == i).sum() for i in (1, 3)] == [36, 36]  # none of the region's pixels is lost
    assert complete == (Window(4, 4, 10, 10),)


@pytest.mark.parametrize("name", ["incomplete", "complete nucleus", "completed", ""])
def test_what_is_called_otherwise_is_a_nucleus(name):
    labels, _, complete = read_rois(zipped(roi(SQUARE, name=name)), "a.zip", (16, 16))
    assert ids(labels) == [1] and complete is False


@pytest.mark.parametrize("file", ["complete.roi", "sets/Complete.ROI"])
def test_the_name_of_the_file_counts_as_that_of_the_roi(file):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(file, roi(SQUARE, name="0012-0034"))
        archive.writestr("b.roi", roi(SQUARE + 7))
    labels, _, complete = read_rois(buffer.getvalue(), "a.zip", (16, 16))
    assert ids(labels) == [2] and complete == (Window(0, 0, 6, 6),)


def test_a_round_region_and_a_square_one_are_joined():
    oval = ImagejRoi.frombytes(box_roi(ROI_TYPE.OVAL, 10, 10, 30, 40))
    oval.name = "complete"
    data = zipped(oval.tobytes(), roi(SQUARE + 28, name="complete-1"))
    labels, notes, complete = read_rois(data, "a.zip", (48, 48))
    y, x = np.mgrid[:48, :48] + 0.5  # centre (25, 20), half axes 15 and 10
    wanted = ((x - 25) / 15) ** 2 + ((y - 20) / 10) ** 2 < 1
    wanted[28:34, 28:34] = True
    np.testing.assert_array_equal(mask_of(complete, (48, 48)), wanted)
    assert not labels.any() and notes == ()


def test_a_region_that_is_no_area_or_lies_outside_is_told():
    data = zipped(
        roi(SQUARE),
        roi(SQUARE[:1], ROI_TYPE.POINT, name="complete"),
        roi(SQUARE + 90, name="complete"),
    )
    _, notes, complete = read_rois(data, "a.zip", (16, 16))
    assert complete is False and [note.split("'")[1:] for note in notes] == [
        ["complete", " outlines no area and was left out"],
        ["complete", " holds no pixel of the image and was left out"],
    ]


GOOD = roi(np.array([[0, 0], [4, 0], [4, 4]], np.float32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 broken",
        b"Iout",
        GOOD[:70],
        GOOD[:-60],
        zipped(),
        zipped(b"not a roi"),
        zipped(GOOD)[:-30],
        zipped(GOOD[:100]),
        # Claims 2^31 - 1 vertices, and NaN for a coordinate.
        GOOD[:16] + b"\0\0\x7f\xff\xff\xff" + GOOD[22:],
        GOOD.replace(struct.pack(">f", 4.0), struct.pack(">f", float("nan"))),
    ],
    ids=range(11),
)
def test_damaged_files_are_told_in_one_line(data):
    with pytest.raises(UserError, match=r"^sets/a\.zip.*; ") as told:
        read_rois(data, "sets/a.zip", (16, 16))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["../a.roi", "/etc/a.roi", "x/../../a.roi", "C:\\a.roi"])
def test_members_outside_the_archive_are_refused(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("0000.roi", GOOD)
        file.writestr(name, GOOD)
    with pytest.raises(UserError, match="lies outside the archive"):
        read_rois(buffer.getvalue(), "a.zip", (16, 16))


def test_absurd_members_are_refused_before_unpacking():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("0000.roi", GOOD + bytes(17 * 1024**2))
    with pytest.raises(UserError, match="over the limit"):
        read_rois(buffer.getvalue(), "a.zip", (16, 16))


def test_every_cut_is_told():
    whole = roi(np.array([[0, 0], [4, 0], [4, 4]], np.float32), name="name")
    for length in range(len(whole)):
        with pytest.raises(UserError):
            read_rois(whole[:length], "a.roi", (8, 8))
