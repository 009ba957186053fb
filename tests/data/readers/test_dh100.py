import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as oracle
from support.layouts import SIZE, coco, dh100, pack, png, rgb, squares

from nucleist.data.formats.coco import decode_rle, encode_rle, label_map, load_coco
from nucleist.data.readers.dh100 import DH100
from nucleist.types import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dh100(tmp_path / "DH100")


def edit(root: Path, **changes: object) -> DH100:
    """Change fields of the first annotation of the training set."""
    path = root / "annotations" / "instances_train2019.json"
    content = json.loads(path.read_text())
    content["annotations"][0].update(changes)
    path.write_text(json.dumps(content))
    return DH100(str(root))


def test_image_and_labels_are_those_written(root: Path, tmp_path: Path) -> None:
    expected = squares() * (squares() < 3)
    for where in (root, pack(root, tmp_path / "dh.zip")):
        source = DH100(str(where))
        assert source.splits() == {"train": ["train_0"], "val": ["val_0"], "test": ["test_0"]}
        record = source.read("test_0")
        np.testing.assert_array_equal(record.image, rgb(2))
        np.testing.assert_array_equal(record.labels, expected)
        assert record.labels.dtype == np.int32
        assert record.notes == ("1 crowd annotations (iscrowd) were left out",)


def test_splits_that_are_not_there_are_not_listed(tmp_path: Path) -> None:
    assert list(DH100(str(dh100(tmp_path, ("train", "test")))).splits()) == ["train", "test"]


def test_files_of_one_name_in_two_splits(root: Path) -> None:
    for split in ("val", "test"):
        folder = root / f"{split}2019"
        (folder / f"{split}_0.png").rename(folder / "same.png")
        path = root / "annotations" / f"instances_{split}2019.json"
        path.write_text(path.read_text().replace(f"{split}_0.png", "same.png"))
    source = DH100(str(root))
    assert source.splits() == {"train": ["train_0"], "val": ["val_same"], "test": ["test_same"]}
    np.testing.assert_array_equal(source.read("test_same").image, rgb(2))


def masks() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = [(1, 1), (1, 7), (9, 1), (13, 17), (64, 48)]
    noise = [generator.random(shape) < p for shape in shapes for p in (0.0, 0.05, 0.5, 0.95, 1.0)]
    return [*noise, squares() == 1, squares() > 0]


@pytest.mark.parametrize("compressed", [True, False])
def test_rle_comes_back_as_it_was(compressed: bool) -> None:
    for mask in masks():
        np.testing.assert_array_equal(decode_rle(encode_rle(mask, compressed), "x"), mask)


def test_rle_is_that_of_pycocotools() -> None:
    for mask in masks():
        theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = encode_rle(mask)
        assert ours["counts"].encode() == theirs["counts"] and ours["size"] == theirs["size"]
        np.testing.assert_array_equal(decode_rle(theirs, "x"), mask)  # counts as bytes
        as_list = oracle.frPyObjects(encode_rle(mask, compressed=False), *mask.shape)
        assert as_list["counts"] == theirs["counts"]


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((1000, 3000), bool)  # the first run is 2,000,500 pixels: 5 characters
    mask[500:700, 2000] = True
    np.testing.assert_array_equal(decode_rle(encode_rle(mask), "x"), mask)
    theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask)["counts"].encode() == theirs["counts"]


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [2, 2]},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": ["a"]},
        {"size": [2, 2], "counts": "4\u00e9"},
        {"size": [2, 2], "counts": "ooo"},
        {"size": [2, 2], "counts": None},
        {"size": [-2, -2], "counts": [4]},
        {"size": [2], "counts": [4]},
        {"size": [40_000, 40_000], "counts": [1_600_000_000]},
        {"size": [2, 2], "counts": [2**70]},
        {"size": [2, 2], "counts": "o" * 100},
    ],
)
def test_broken_rle(rle: dict) -> None:
    with pytest.raises(UserError, match=r"^x: .*RLE[^\n]*$"):
        decode_rle(rle, "x")


def test_polygons_of_several_parts_are_one_nucleus() -> None:
    parts = [[1, 1, 4, 1, 4, 4, 1, 4], [6, 6, 8, 6, 8, 9, 6, 9]]
    annotation = {"id": 5, "image_id": 1, "segmentation": parts}
    entry = {"id": 1, "file_name": "a.png", "height": 12, "width": 10}
    (image,) = load_coco(coco([entry], [annotation]).encode(), "x")
    labels, notes = label_map(image, "x", (12, 10))
    expected = np.zeros((12, 10), np.int32)
    expected[1:4, 1:4] = expected[6:9, 6:8] = 1
    np.testing.assert_array_equal(labels, expected)
    assert notes == ()


def test_polygons_are_near_those_of_pycocotools() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([32.3 + 20 * np.cos(angle), 30.7 + 14 * np.sin(angle)], 1).ravel().tolist()
    annotation = {"id": 5, "image_id": 1, "segmentation": [ring]}
    entry = {"id": 1, "file_name": "a.png", "height": 64, "width": 64}
    ours = label_map(load_coco(coco([entry], [annotation]).encode(), "x")[0], "x", (64, 64))[0] > 0
    theirs = decode_rle(oracle.frPyObjects([ring], 64, 64)[0], "x")
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


def test_annotations_without_pixels_are_told(root: Path) -> None:
    rle = encode_rle(np.zeros((SIZE, SIZE), bool))
    record = edit(root, segmentation=rle).read("train_0")
    assert np.unique(record.labels).tolist() == [0, 2]
    assert record.notes[1] == "annotation 1 holds no pixel and was left out"


def test_images_without_annotations_have_no_nuclei(root: Path) -> None:
    path = root / "annotations" / "instances_test2019.json"
    path.write_text(path.read_text().replace('"image_id": 7', '"image_id": 8'))
    with pytest.raises(UserError, match=r"annotation 1 is of image 8, which is not listed"):
        DH100(str(root)).splits()
    entry = {"id": 7, "file_name": "test_0.png", "height": SIZE, "width": SIZE}
    path.write_text(coco([entry], []))
    assert not DH100(str(root)).read("test_0").labels.any()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "no segmentation"),
        ([[1, 2, 3, 4]], "polygon of 2 vertices"),
        ([[1, 2, 3, 4, 5]], "polygon that is not a list"),
        ([["a", "b"]], "polygon that is not a list"),
        ([[0, 0, 1e99, 0, 1, 1]], "polygon of 3 vertices"),
        ({"size": [3, 3], "counts": [9]}, r"RLE of size \[3, 3\], image of \[24, 24\]"),
        ({"size": [24, 24], "counts": [9]}, "RLE of 9 pixels for a size of 24 x 24"),
    ],
)
def test_broken_segmentations(root: Path, segmentation: object, message: str) -> None:
    source = edit(root, segmentation=segmentation)
    with pytest.raises(UserError, match=f"train2019.json: train_0: annotation 1: {message}"):
        source.read("train_0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ("[]", "not a COCO file"),
        ('{"images": [{}], "annotations": []}', "not a COCO file .KeyError"),
        ('{"images": []}', "not a COCO file"),
        (coco([{"id": 1, "file_name": "a.png", "height": 9, "width": 9}] * 2, []), "two images"),
        (
            coco([{"id": 1, "file_name": "a.png", "height": 10**5, "width": 10**5}], []),
            "image 1 claims",
        ),
        (
            coco([{"id": 1, "file_name": "../a.png", "height": 9, "width": 9}], []),
            r"lists a\.png, which is not in train2019/",
        ),
    ],
)
def test_broken_json(root: Path, text: str, message: str) -> None:
    (root / "annotations" / "instances_train2019.json").write_text(text)
    with pytest.raises(UserError, match=f"instances_train2019.json: {message}") as caught:
        DH100(str(root)).splits()
    assert "\n" not in str(caught.value)


def test_parts_that_are_missing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        DH100(str(tmp_path / "none")).splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no train2019/ and annotations/"):
        DH100(str(tmp_path / "empty")).splits()
    png(root / "train2019" / "more.png", rgb())
    with pytest.raises(UserError, match=r"train2019/more\.png: image that .* does not list"):
        DH100(str(root)).splits()
    (root / "train2019" / "more.png").unlink()
    png(root / "test2019" / "test_0.png", rgb(0)[:20])
    with pytest.raises(UserError, match=r"test_0\.png: 20 x 24 pixels, but .* has 24 x 24"):
        DH100(str(root)).read("test_0")
    (root / "annotations" / "instances_val2019.json").unlink()
    with pytest.raises(UserError, match=r"val_0\.png: image, but .*val2019\.json is missing"):
        DH100(str(root)).splits()
    with pytest.raises(UserError, match=r"is missing"):
        DH100(str(root)).read("x")
