import shutil
from pathlib import Path

import numpy as np
import pytest
from support.layouts import kumar, pack, png, rgb, squares, tnbc

from nucleist.data.readers.tnbc import TNBC
from nucleist.types import UserError

BREAST = [
    f"TCGA-{patient}-01Z-00-DX1"
    for patient in ("A7-A13E", "AR-A1AK", "AR-A1AS", "E2-A14V", "A7-A13F", "E2-A1B5")
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tnbc(tmp_path / "TNBC_NucleiSegmentation")


def test_pieces_of_binary_truth_are_the_nuclei(root: Path, tmp_path: Path) -> None:
    for where in (root, pack(root, tmp_path / "tnbc.zip")):
        record = TNBC(str(where)).read("03_2")
        np.testing.assert_array_equal(record.image, rgb(3))
        # The same three regions, numbered from the top: the single pixel comes first.
        renumbered = np.array([0, 2, 3, 1], np.int32)[squares()]
        np.testing.assert_array_equal(record.labels, renumbered)
        assert record.labels.dtype == np.int32
        assert record.notes == ("binary ground truth: its 3 8-connected pieces are the nuclei",)


def test_pieces_that_touch_at_a_corner_are_one(root: Path) -> None:
    png(root / "GT_01" / "01_1.png", np.eye(24, dtype=np.uint8) * 255)
    assert np.unique(TNBC(str(root)).read("01_1").labels).tolist() == [0, 1]


def test_truth_with_several_values_is_a_label_map(root: Path) -> None:
    touching = np.zeros((24, 24), np.uint8)
    touching[4:8, 4:8], touching[4:8, 8:12] = 5, 9
    png(root / "GT_01" / "01_1.png", touching)
    record = TNBC(str(root)).read("01_1")
    np.testing.assert_array_equal(record.labels, touching)
    assert record.notes == ()


def test_alone_the_last_two_patients_test(root: Path, tmp_path: Path) -> None:
    assert TNBC(str(root)).splits() == {
        "train": ["01_1", "01_2", "02_1", "02_2"],
        "test": ["03_1", "03_2", "04_1", "04_2"],
    }
    assert TNBC(str(tnbc(tmp_path / "two", 2))).splits()["train"] == ["01_1", "01_2"]
    assert TNBC(str(tnbc(tmp_path / "one", 1))).splits()["test"] == []


def test_the_papers_split_with_kumars_breast_images(tmp_path: Path) -> None:
    root = tnbc(tmp_path / "tnbc", 25)  # 50 images, as published
    liver = "TCGA-21-5784-01Z-00-DX1"
    other = kumar(tmp_path / "kumar", (*BREAST, liver))
    source = TNBC(str(root), str(other))
    splits = source.splits()
    assert len(splits["train"]) == 54 and len(splits["test"]) == 2
    assert splits["train"][50:] == [f"kumar_{name}" for name in BREAST[:4]]
    assert splits["test"] == [f"kumar_{name}" for name in BREAST[4:]]
    record = source.read(splits["test"][0])
    assert record.id == splits["test"][0]
    np.testing.assert_array_equal(record.labels, squares())


def test_kumar_without_breast_test_images(root: Path, tmp_path: Path) -> None:
    other = kumar(tmp_path / "kumar", (BREAST[0],))
    with pytest.raises(UserError, match="kumar_root: none of the test images A7-A13F, E2-A1B5"):
        TNBC(str(root), str(other)).splits()


def test_an_image_without_nuclei(root: Path) -> None:
    png(root / "GT_01" / "01_1.png", np.zeros((24, 24), np.uint8))
    record = TNBC(str(root)).read("01_1")
    assert not record.labels.any() and record.notes == ()


def test_parts_that_are_missing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such folder .* download tnbc"):
        TNBC(str(tmp_path / "none")).splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no 'Slide_\*/\*\.png'"):
        TNBC(str(tmp_path / "empty")).splits()
    (root / "GT_02" / "02_1.png").unlink()
    with pytest.raises(UserError, match=r"Slide_02/02_1\.png: image without GT_02/02_1\.png"):
        TNBC(str(root)).splits()
    (root / "Slide_02" / "02_1.png").unlink()
    (root / "Slide_01" / "01_2.png").unlink()
    with pytest.raises(UserError, match=r"GT_01/01_2\.png: ground truth without Slide_01/01_2"):
        TNBC(str(root)).splits()


def test_without_kumar_the_remedy_works(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder .* data\.source\.kumar_root=null to do"):
        TNBC(str(root), str(tmp_path / "none")).splits()
    assert TNBC(str(root), None).splits()["test"]


def test_truth_that_does_not_fit(root: Path) -> None:
    png(root / "GT_01" / "01_1.png", np.zeros((20, 24), np.uint8))
    with pytest.raises(UserError, match=r"GT_01/01_1\.png: labels of 20 x 24 .* 24 x 24"):
        TNBC(str(root)).read("01_1")
    png(root / "GT_01" / "01_1.png", rgb(9))
    with pytest.raises(UserError, match=r"GT_01/01_1\.png: a colour image where"):
        TNBC(str(root)).read("01_1")
    path = root / "GT_01" / "01_2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"GT_01/01_2\.png: damaged image"):
        TNBC(str(root)).read("01_2")


def test_names_must_be_unique(root: Path) -> None:
    for kind in ("Slide", "GT"):
        shutil.copy(root / f"{kind}_01" / "01_1.png", root / f"{kind}_02" / "01_1.png")
    with pytest.raises(UserError, match=r"'01_1\.png' in several slides; rename"):
        TNBC(str(root)).splits()
    with pytest.raises(UserError, match="several slides"):
        TNBC(str(root)).read("none")
