import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.layouts import bbbc038, pack, png, png_header, rgb, squares

from nucleist.data.readers.bbbc038 import BBBC038
from nucleist.types import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bbbc038(tmp_path / "stage1_train")


def test_image_and_labels_are_those_written(root: Path) -> None:
    record = BBBC038(str(root)).read("a1")
    np.testing.assert_array_equal(record.image, np.repeat(rgb(1)[..., :1], 3, axis=2))
    np.testing.assert_array_equal(record.labels, squares())  # masks sorted: m1, m2, m3
    assert record.image.dtype == np.uint8 and record.labels.dtype == np.int32
    assert record.id == "a1" and record.notes == ()


@pytest.mark.parametrize("place", ["archive", "folder of the archive", "nested folder"])
def test_every_place_gives_the_same(root: Path, tmp_path: Path, place: str) -> None:
    box = tmp_path / "box"
    box.mkdir()
    archive = pack(root, box / "stage1_train.zip")
    where = {"archive": archive, "folder of the archive": box, "nested folder": root.parent}[place]
    if place == "nested folder":
        shutil.rmtree(box)
    source = BBBC038(str(where), train=3)
    assert source.splits() == BBBC038(str(root), train=3).splits()
    np.testing.assert_array_equal(source.read("a1").labels, squares())


def test_the_split_is_a_seeded_permutation_of_the_sorted_ids(root: Path) -> None:
    order = np.random.default_rng(0).permutation(5)
    splits = BBBC038(str(root), train=2).splits()
    assert set(splits["train"]) == {f"a{i}" for i in order[:2]}
    assert set(splits["test"]) == {f"a{i}" for i in order[2:]}
    assert splits["train"] == sorted(splits["train"])
    assert {k: len(v) for k, v in BBBC038(str(root)).splits().items()} == {"train": 4, "test": 1}
    assert any(BBBC038(str(root), train=2, seed=s).splits() != splits for s in range(1, 5))


def test_groups_by_size_and_kind(root: Path) -> None:
    wide = np.zeros((10, 30), np.int32)
    wide[2:4, 5:9] = 1
    for name, image in (("gray", np.zeros((10, 30, 3), np.uint8)), ("pink", rgb(5, 30)[:10])):
        png(root / name / "images" / f"{name}.png", image)
        png(root / name / "masks" / "m.png", wide.astype(np.uint8))

    def ids(group: str) -> list[str]:
        splits = BBBC038(str(root), group=group).splits()
        return sorted(splits["train"] + splits["test"])

    assert ids("10x30") == ["gray", "pink"]
    assert ids("10x30-gray") == ["gray"] and ids("10x30-color") == ["pink"]
    assert ids("24x24") == [f"a{i}" for i in range(5)]
    with pytest.raises(UserError, match=r"group=30x10: no such image; the sizes are 10x30, 24x24"):
        ids("30x10")
    with pytest.raises(UserError, match=r"group=10x30-pink: unknown kind 'pink'"):
        ids("10x30-pink")


def test_without_a_size(root: Path) -> None:
    png(root / "wide" / "images" / "wide.png", np.zeros((10, 30, 3), np.uint8))
    png(root / "wide" / "masks" / "m.png", np.eye(10, 30, dtype=np.uint8))
    splits = BBBC038(str(root), without="10x30").splits()
    assert sorted(splits["train"] + splits["test"]) == [f"a{i}" for i in range(5)]
    with pytest.raises(UserError, match=r"without=9x9: no such image; the sizes are 10x30, 24x24"):
        BBBC038(str(root), without="9x9").splits()


def test_the_group_of_fluorescence(root: Path) -> None:
    """Gray images, also of the size that coloured ones have too; not those of bright field."""
    for name, size in (("bright", (1024, 1024)), ("dark", (256, 320)), ("pink", (256, 320))):
        image = np.full((*size, 3), 200 if name == "bright" else 9, np.uint8)
        image[..., 0] += 20 * (name == "pink")
        png(root / name / "images" / f"{name}.png", image)
        png(root / name / "masks" / "m.png", np.eye(*size, dtype=np.uint8))
    splits = BBBC038(str(root), group="fluorescence").splits()
    assert sorted(splits["train"] + splits["test"]) == [*(f"a{i}" for i in range(5)), "dark"]


def test_overlaps_and_empty_masks_are_told(root: Path) -> None:
    masks = root / "a0" / "masks"
    png(masks / "m0.png", np.zeros((24, 24), np.uint8))  # sorted first: id 1 is used up
    inner = np.zeros((24, 24), np.uint8)
    inner[6:8, 5:7] = 255  # 4 pixels within the first square
    png(masks / "m9.png", inner)
    record = BBBC038(str(root)).read("a0")
    assert np.bincount(record.labels.ravel())[1:].tolist() == [0, 30 - 4, 16, 1, 4]
    assert record.notes == (
        "mask m0.png is empty and was left out",
        "4 pixels lie in more than one nucleus; the smallest nucleus has them",
    )


def test_an_image_whose_only_mask_is_empty_has_no_nuclei(tmp_path: Path) -> None:
    root = bbbc038(tmp_path / "set", 1)
    for path in (root / "a0" / "masks").iterdir():
        path.unlink()
    png(root / "a0" / "masks" / "m.png", np.zeros((24, 24), np.uint8))
    record = BBBC038(str(root)).read("a0")
    assert not record.labels.any() and len(record.notes) == 1


def test_missing_root_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder .* download bbbc038"):
        BBBC038(str(tmp_path / "none")).splits()
    with pytest.raises(UserError, match=r"no '\*/images/\*\.png'; set data\.source\.root"):
        BBBC038(str(tmp_path)).splits()


def test_parts_that_are_missing(root: Path) -> None:
    shutil.rmtree(root / "a2" / "masks")
    with pytest.raises(UserError, match=r"a2/images/a2\.png: image without a2/masks/"):
        BBBC038(str(root)).splits()
    shutil.rmtree(root / "a2")
    (root / "a3" / "images" / "a3.png").unlink()
    with pytest.raises(UserError, match=r"a3/masks/m1\.png: masks without a3/images/a3\.png"):
        BBBC038(str(root)).read("a1")


def test_masks_that_do_not_fit(root: Path) -> None:
    png(root / "a0" / "masks" / "m2.png", np.full((24, 20), 255, np.uint8))
    with pytest.raises(
        UserError, match=r"m2\.png: labels of 24 x 20 pixels for an image of 24 x 24"
    ):
        BBBC038(str(root)).read("a0")
    png(root / "a1" / "masks" / "m2.png", rgb(3))
    with pytest.raises(UserError, match=r"m2\.png: a colour image where a mask"):
        BBBC038(str(root)).read("a1")


def test_damaged_images(root: Path) -> None:
    path = root / "a0" / "images" / "a0.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"a0\.png: damaged image"):
        BBBC038(str(root)).read("a0")
    path.write_bytes(png_header(40_000, 25_000))
    with pytest.raises(UserError, match=r"a0\.png: claims 25000 x 40000 pixels"):
        BBBC038(str(root), group="24x24").splits()
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"a0\.png: not a PNG, or cut short"):
        BBBC038(str(root), group="24x24").splits()


def test_impossible_options_and_unknown_ids(root: Path) -> None:
    for train in (0, 6):
        with pytest.raises(UserError, match=f"train={train} of 5 images; choose 1 to 5"):
            BBBC038(str(root), train=train).splits()
    with pytest.raises(UserError, match="no image 'b7'"):
        BBBC038(str(root)).read("b7")
    Image.new("L", (24, 24)).save(root / "a0" / "images" / "other.png")
    with pytest.raises(UserError, match="a second image 'a0'"):
        BBBC038(str(root)).splits()
