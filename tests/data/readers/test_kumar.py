import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.layouts import KUMAR_IDS, OUTLINES, aperio, box, kumar, pack, rgb, squares

from nucleist.data.formats.aperio import read_aperio
from nucleist.data.readers import kumar as module
from nucleist.data.readers.kumar import Kumar, organ
from nucleist.types import UserError

ENTITIES = '<!DOCTYPE a [<!ENTITY b "bb">]><Annotations>&b;</Annotations>'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return kumar(tmp_path / "MoNuSeg 2018 Training Data")


def rewrite(root: Path, text: str) -> Kumar:
    (root / "Annotations" / f"{KUMAR_IDS[0]}.xml").write_text(text)
    return Kumar(str(root))


def test_image_and_labels_are_those_drawn(root: Path, tmp_path: Path) -> None:
    for where in (root, pack(root, tmp_path / "kumar.zip")):
        record = Kumar(str(where)).read(KUMAR_IDS[1])
        np.testing.assert_array_equal(record.image, rgb(1))  # an LZW TIFF
        np.testing.assert_array_equal(record.labels, squares())  # one cut by the border, one 1 px
        assert record.labels.dtype == np.int32 and record.notes == ()


def test_the_official_split() -> None:
    assert [len(v) for v in module.TRAIN.values()] == [4] * 4
    assert [len(v) for v in module.TEST.values()] == [2] * 7
    patients = list(itertools.chain(*module.TRAIN.values(), *module.TEST.values()))
    assert len(set(patients)) == 30


def test_splits_hold_what_is_there(root: Path) -> None:
    assert Kumar(str(root)).splits() == {
        "train": ["TCGA-A7-A13E-01Z-00-DX1"],
        "test": ["TCGA-E2-A1B5-01Z-00-DX1", "TCGA-NH-A8F7-01A-01-TS1"],
    }
    assert [organ(name) for name in KUMAR_IDS] == ["breast", "breast", "colon"]


def test_images_of_no_split_are_kept_apart(tmp_path: Path) -> None:
    root = kumar(tmp_path / "a", (*KUMAR_IDS, "TCGA-XS-A8TJ-01Z-00-DX1"))
    assert Kumar(str(root)).splits()["other"] == ["TCGA-XS-A8TJ-01Z-00-DX1"]
    assert organ("TCGA-XS-A8TJ-01Z-00-DX1") == "unknown"
    root = kumar(tmp_path / "b", ("TCGA-XS-A8TJ-01Z-00-DX1",))
    with pytest.raises(UserError, match=r"none of Kumar's 30 images among .*use data=folder"):
        Kumar(str(root)).splits()


def test_overlaps_go_to_the_smaller_nucleus(root: Path) -> None:
    # 10 x 10 and, on its corner, 4 x 4: 2 x 2 pixels are shared.
    text = aperio([box(2, 2, 12, 12), box(10, 10, 14, 14)])
    record = rewrite(root, text).read(KUMAR_IDS[0])
    assert np.bincount(record.labels.ravel())[1:].tolist() == [96, 16]
    assert record.notes[0].startswith("4 pixels lie in more than one nucleus")


def test_slips_of_the_mouse_are_left_out_with_a_note(root: Path) -> None:
    slips = [[(3.0, 4.0), (3.3, 4.0)], [(9.0, 9.0)], [(5.0, 5.0), (6.0, 5.1), (7.0, 5.2)]]
    outside = box(40, 40, 50, 50)
    record = rewrite(root, aperio([*slips, outside, box(2, 2, 4, 4)])).read(KUMAR_IDS[0])
    assert np.unique(record.labels).tolist() == [0, 5]
    assert record.notes == (
        "region 1 encloses no area and was left out",
        "region 2 encloses no area and was left out",
        "region 3 encloses no area and was left out",
        "region 4 holds no pixel of the image and was left out",
    )


def test_freehand_outlines_may_miss_their_last_stroke() -> None:
    def arc(share: float) -> bytes:
        angle = np.linspace(0, 2 * np.pi * share, 50)
        points = zip(30 + 10 * np.cos(angle), 30 + 10 * np.sin(angle), strict=True)
        return aperio([list(points)]).encode()

    for share in (0.9, 0.75):  # a gap of 6.2 px, and of 14.1 px after 47 px
        assert len(read_aperio(arc(share), (64, 64), "x")[0]) == 1
    with pytest.raises(UserError, match=r"x: region 1: open outline, its ends 20\.0 px apart"):
        read_aperio(arc(0.5), (64, 64), "x")  # half a circle


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTITIES, r"xml: XML that defines entities"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><Annotations/>', "defines entities"),
        ("<Annotations><Annotation>", r"xml: broken XML"),
        ("", r"xml: broken XML"),
        ("<svg/>", r"xml: root <svg>; Aperio XML"),
        (aperio([[(0, 0), (20, 20)]]), r"xml: region 1: open outline, its ends 28\.3 px apart"),
        (aperio([[(0, 0), (10, 10), (20, 20)]]), "region 1: open outline"),
        (aperio([*OUTLINES, []]), "region 4: no vertices"),
        (aperio([[(0, 0), ("a", 1), (2, 2)]]), "region 1: vertex without numbers"),  # type: ignore
        (aperio([[(0, 0), (float("nan"), 1), (2, 2)]]), "region 1: coordinates that are no"),
        (aperio([[(0, 0), (1e300, 1), (2, 2)]]), "region 1: coordinates that are no"),
        (aperio(OUTLINES, 'NegativeROA="1"'), "region 1: Type=0, NegativeROA=1, not a filled"),
        (aperio(OUTLINES).replace('Type="0"', 'Type="2"'), "region 1: Type=2"),
        (aperio(OUTLINES).replace('X="4"', ""), "region 1: vertex without numbers"),
    ],
)
def test_broken_outlines(root: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        rewrite(root, text).read(KUMAR_IDS[0])
    assert "\n" not in str(caught.value) and KUMAR_IDS[0] in str(caught.value)


def test_an_image_without_nuclei(root: Path) -> None:
    record = rewrite(root, aperio([])).read(KUMAR_IDS[0])
    assert record.labels.shape == (24, 24) and not record.labels.any()


def test_parts_that_are_missing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such folder .* download kumar"):
        Kumar(str(tmp_path / "none")).splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no 'Tissue Images/\*\.tif'"):
        Kumar(str(tmp_path / "empty")).splits()
    outlines = root / "Annotations" / f"{KUMAR_IDS[0]}.xml"
    outlines.unlink()
    with pytest.raises(UserError, match=r"A13E.*\.tif: image without Annotations/"):
        Kumar(str(root)).splits()
    outlines.write_text(aperio(OUTLINES))
    (root / "Tissue Images" / f"{KUMAR_IDS[1]}.tif").unlink()
    with pytest.raises(UserError, match=r"A1B5.*\.xml: outlines without Tissue Images/TCGA-E2"):
        Kumar(str(root)).splits()


def test_damaged_images(root: Path) -> None:
    path = root / "Tissue Images" / f"{KUMAR_IDS[0]}.tif"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"A13E.*\.tif: damaged image .cut short"):
        Kumar(str(root)).read(KUMAR_IDS[0])
    tifffile.imwrite(path, np.zeros((4, 24, 24), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"A13E.*\.tif: several planes"):
        Kumar(str(root)).read(KUMAR_IDS[0])
    with pytest.raises(UserError, match="no image 'x'"):
        Kumar(str(root)).read("x")
