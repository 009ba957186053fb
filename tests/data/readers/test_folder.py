"""A user's own folder: each layout gives the same labels, and what does not fit is told."""

import io
import json
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image
from roifile import ImagejRoi
from support.layouts import SIZE, pack, png, png_header, rgb, squares

from nucleist.data.readers.folder import Folder
from nucleist.data.readers.names import split_of
from nucleist.data.readers.pairing import pair
from nucleist.types import UserError


def tif(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)
    return path


def label_png(path, labels=None):
    return png(path, (squares() if labels is None else labels).astype(np.uint16))


def roi_set(path):
    """The three squares of `squares()` as ROIs, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for number, (x0, y0, x1, y1) in enumerate(
            [(4, 5, 9, 11), (20, 20, 24, 24), (17, 2, 18, 3)]
        ):
            corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
            file.writestr(f"{number:04d}.roi", ImagejRoi.frompoints(corners).tobytes())


def coco(path, names):
    images, annotations = [], []
    for image_id, name in enumerate(names):
        images.append({"id": image_id, "file_name": name, "height": SIZE, "width": SIZE})
        for x0, y0, x1, y1 in [(4, 5, 9, 11), (20, 20, 24, 24), (17, 2, 18, 3)]:
            points = [x0, y0, x1, y0, x1, y1, x0, y1]
            annotations.append(
                {"id": len(annotations), "image_id": image_id, "segmentation": [points]}
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


def same_partition(one, other):
    """The same nuclei under whatever ids."""
    together = np.unique(np.stack([one, other]).reshape(2, -1), axis=1)
    return len(set(together[0])) == len(set(together[1])) == together.shape[1]


def make(root, layout):
    """Images a and b of a layout; b.tif beside a.png."""
    masks = {i: (squares() == i).astype(np.uint8) * 255 for i in (1, 2, 3)}
    beside = layout in ("_labels", "_masks", "_cp_masks", "zip", "a_masks folders", "a_img")
    where = root if beside or layout == "coco beside" else root / "images"
    for name in "ab":
        if layout == "bbbc":
            where = root / name / "images"
        image = f"{name}_img" if layout == "a_img" else name
        (png if name == "a" else tif)(where / f"{image}.{'png' if name == 'a' else 'tif'}", rgb())
        if layout in ("labels", "masks", "GT"):
            label_png(root / layout / f"{name}.png")
        elif layout in ("_labels", "_masks", "_cp_masks"):
            tif(root / f"{name}{layout}.tif", squares())
        elif layout == "a_img":
            label_png(root / f"{name}_masks.png")
        elif layout == "labels with end":
            label_png(root / "labels" / f"{name}_labels.png")
        elif layout == "zip":
            roi_set(root / f"{name}.zip")
        elif layout == "rois":
            roi_set(root / "rois" / f"{name}.zip")
        elif layout == "RoiSet ends":
            roi_set(root / "rois" / f"{name}_RoiSet.zip")
        folder = {
            "mask folders": root / "masks" / name,
            "a_masks folders": root / f"{name}_masks",
            "bbbc": root / name / "masks",
        }.get(layout)
        for nucleus, mask in masks.items() if folder else ():
            png(folder / f"m{nucleus}.png", mask)
    if layout == "coco":
        coco(root / "annotations" / "instances.json", ["a.png", "images/b.tif"])
    if layout == "coco beside":
        coco(root / "nuclei.json", ["a.png", "b.tif"])


LAYOUTS = [
    *("labels", "masks", "GT", "_labels", "_masks", "_cp_masks", "a_img", "labels with end"),
    *("zip", "rois", "RoiSet ends", "mask folders", "a_masks folders", "bbbc"),
    *("coco", "coco beside"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_labels(tmp_path, layout, packed):
    root = tmp_path / "data"
    make(root, layout)
    source = Folder(pack(root, tmp_path / "data.zip") if packed else root)
    pairs = source.pairing()
    ids = ["a_img", "b_img"] if layout == "a_img" else ["a", "b"]
    assert [one.id for one in pairs] == ids
    assert source.problems() == []
    splits = source.splits()
    assert sorted(splits["train"] + splits["test"]) == ids and splits["train"]
    assert splits == Folder(root).splits()  # as from the files that were packed
    for image_id in ids:
        record = source.read(image_id)
        assert record.id == image_id and record.labels.dtype == np.int32
        np.testing.assert_array_equal(record.image, rgb())
        assert same_partition(record.labels, squares())


@pytest.mark.parametrize(
    "names",
    [
        ["train/images/a.png", "train/labels/a.png", "test/images/b.png", "test/labels/b.png"],
        ["images/train/a.png", "labels/train/a.png", "images/test/b.png", "labels/test/b.png"],
        ["Train/a.png", "Train/a_labels.png", "Testing/b.png", "Testing/b_labels.png"],
        ["train/a.png", "train/a_labels.png", "b.png", "b_labels.png", "test/c.png"],
    ],
)
def test_split_folders(tmp_path, names):
    for name in names:
        png(tmp_path / name, rgb() if "label" not in name else squares().astype(np.uint16))
    splits = Folder(tmp_path, test_fraction=0.4).splits()
    if "test/c.png" in names:  # no labels in test/: of the others, a has 0.29 and b 0.52
        assert splits == {"train": ["b"], "test": ["a"], "unlabelled": ["c"]}
    else:
        assert splits == {"train": ["a"], "test": ["b"]}


def test_same_names_in_both_splits(tmp_path):
    for split in ("train", "test", "val"):
        png(tmp_path / split / "images" / "1.png", rgb())
        label_png(tmp_path / split / "masks" / "1.png")
    source = Folder(tmp_path)
    assert source.splits() == {"train": ["train_1"], "test": ["test_1"], "val": ["val_1"]}
    assert source.read("test_1").labels.max() == 3


def test_same_names_in_folders(tmp_path):
    for plate in ("p1", "p2"):
        png(tmp_path / "images" / plate / "1.png", rgb())
        label_png(tmp_path / "labels" / plate / "1.png")
    assert [one.id for one in Folder(tmp_path).pairing()] == ["p1_1", "p2_1"]
    assert all(one.labels for one in Folder(tmp_path).pairing())


def test_named_folders(tmp_path):
    png(tmp_path / "dapi" / "a.png", rgb())
    label_png(tmp_path / "by hand" / "final" / "a.png")
    png(tmp_path / "actin" / "a.png", rgb(1))
    source = Folder(tmp_path, images="dapi", labels="by hand/final")
    (one,) = source.pairing()
    assert (one.image, one.labels) == ("dapi/a.png", "by hand/final/a.png")
    with pytest.raises(UserError, match=r"images=dpi: no images in there"):
        Folder(tmp_path, images="dpi").splits()
    coco(tmp_path / "x.json", ["a.png"])
    (one,) = Folder(tmp_path, images="dapi", labels="x.json").pairing()
    assert one.labels == "x.json"


def test_the_name_alone_pairs_across_other_folders():
    found = pair(["tissue/a.tif", "annotations/x/a.png"], "root")
    assert found.pairs[0].labels == "annotations/x/a.png" and found.orphans == []


def test_roiset_beside_a_single_image(tmp_path):
    png(tmp_path / "a.png", rgb())
    roi_set(tmp_path / "RoiSet.zip")
    assert same_partition(Folder(tmp_path).read("a").labels, squares())


def test_binary_mask_needs_components(tmp_path):
    png(tmp_path / "a.png", rgb())
    png(tmp_path / "a_mask.png", (squares() > 0).astype(np.uint8) * 255)
    with pytest.raises(UserError, match=r"a_mask\.png: .*masks=components"):
        Folder(tmp_path).read("a")
    record = Folder(tmp_path, masks="components").read("a")
    assert same_partition(record.labels, squares()) and "3 pieces" in record.notes[0]


@pytest.mark.parametrize("quality", [60, 80, 95])
def test_jpeg_masks_are_split_at_half_of_their_range(tmp_path, quality):
    png(tmp_path / "a.png", rgb(size=64))
    y, x = np.mgrid[:64, :64]
    drawn = [np.hypot(y - 20, x - 20) < 9, np.hypot(y - 45, x - 40) < 8]
    for number, mask in enumerate(drawn):
        path = tmp_path / "a_masks" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path, quality=quality)
    Image.fromarray((drawn[0] | drawn[1]).astype(np.uint8) * 255).save(
        tmp_path / "all.jpg", quality=quality
    )
    labels = Folder(tmp_path / ".").read("a").labels
    assert [np.count_nonzero((labels == i + 1) != mask) <= 2 for i, mask in enumerate(drawn)]
    (tmp_path / "b" / "labels").mkdir(parents=True)
    png(tmp_path / "b" / "images" / "b.png", rgb(size=64))
    (tmp_path / "all.jpg").rename(tmp_path / "b" / "labels" / "b.jpg")
    whole = Folder(tmp_path / "b", masks="components").read("b").labels
    assert whole.max() == 2 and np.count_nonzero((whole > 0) != (drawn[0] | drawn[1])) <= 4
    with pytest.raises(UserError, match=r"b\.jpg: a JPEG cannot hold label ids"):
        Folder(tmp_path / "b").read("b")


def test_a_class_mask_in_a_folder_is_refused_and_an_odd_map_told(tmp_path):
    png(tmp_path / "a.png", rgb())
    square = np.pad(np.ones((4, 4)), 1)
    label_png(tmp_path / "a_labels.png", np.kron(np.arange(16).reshape(4, 4) % 2 + 1, square))
    with pytest.raises(UserError, match=r"a_labels\.png: .*masks=components"):
        Folder(tmp_path).read("a")
    label_png(tmp_path / "a_labels.png", np.where(squares() == 3, 1, squares()))  # far from 1
    assert "far from each other, first label 1" in Folder(tmp_path).read("a").notes[0]


def test_what_has_no_partner_is_listed(tmp_path):
    png(tmp_path / "images" / "a.png", rgb())
    png(tmp_path / "images" / "alone.png", rgb())
    label_png(tmp_path / "masks" / "a.png")
    label_png(tmp_path / "masks" / "lost.png")
    png(tmp_path / "images" / "a_overlay.png", rgb())  # written by a tool: neither
    source = Folder(tmp_path)
    assert source.splits() == {"train": ["a"], "test": [], "unlabelled": ["alone"]}
    assert source.describe_pairing().splitlines() == [
        "id     image             labels",
        "a      images/a.png      masks/a.png",
        "alone  images/alone.png  - none -",
        "       - none -          masks/lost.png",
        "1 pairs, 1 images without labels, 1 labels without an image",
    ]
    problems = source.problems()
    assert [line.split(": ")[1].split(";")[0] for line in problems] == [
        "image without labels",
        "labels without an image",
        "1 files are taken for pictures of results by their names and not used",
    ]
    assert str(tmp_path / "masks" / "lost.png") in problems[1]
    assert problems[2].endswith(": images/a_overlay.png")
    record = source.read("alone")
    assert not record.labels.any() and record.notes == ("no labels",)


def test_coco_entries_without_image_and_images_without_entry(tmp_path):
    for name in "ab":
        png(tmp_path / "images" / f"{name}.png", rgb())
    coco(tmp_path / "x.json", ["a.png", "z.png"])
    source = Folder(tmp_path)
    assert source.splits() == {"train": ["a"], "test": [], "unlabelled": ["b"]}
    assert any("x.json: z.png: labels without an image" in line for line in source.problems())


def test_coco_of_splits(tmp_path):
    for split in ("train", "test"):
        png(tmp_path / split / "1.png", rgb())
        coco(tmp_path / f"{split}.json", ["1.png"])
    assert Folder(tmp_path).splits() == {"train": ["train_1"], "test": ["test_1"]}


@pytest.mark.parametrize(
    ("name", "split"),
    [("train/a.json", "train"), ("instances_val2019.json", "val"), ("latest.json", None)],
)
def test_split_of_a_json(name, split):
    assert split_of(name) == split


def test_sizes_that_differ(tmp_path):
    png(tmp_path / "a.png", rgb())
    label_png(tmp_path / "a_labels.png", squares()[:-1])
    with pytest.raises(UserError, match=r"a_labels\.png: labels of 23 x 24 pixels for an image of"):
        Folder(tmp_path).read("a")
    png(tmp_path / "b.png", rgb())
    png(tmp_path / "masks" / "b" / "1.png", np.zeros((24, 25), np.uint8))
    with pytest.raises(
        UserError, match=r"1\.png: labels of 24 x 25 pixels for an image of 24 x 24"
    ):
        Folder(tmp_path).read("b")


def test_empty_mask_is_left_out_and_told(tmp_path):
    png(tmp_path / "a.png", rgb())
    png(tmp_path / "a_masks" / "1.png", np.zeros((24, 24), np.uint8))
    png(tmp_path / "a_masks" / "2.png", (squares() == 1).astype(np.uint8))
    record = Folder(tmp_path).read("a")
    assert np.unique(record.labels).tolist() == [0, 2] and "1.png is empty" in record.notes[0]


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "a.jpg"],
        ["a.png", "a_labels.png", "a_masks.png"],
        ["a.png", "a.zip", "a_labels.png"],
        ["images/a.png", "masks/a.png", "masks/a/1.png"],
    ],
)
def test_two_files_of_one_name(names):
    with pytest.raises(UserError, match=r"root: .* and .* claim the same name"):
        pair(names, "root")


def test_nothing_to_read(tmp_path):
    with pytest.raises(UserError, match="no such folder or archive"):
        Folder(tmp_path / "none").splits()
    with pytest.raises(UserError, match="no images"):
        Folder(tmp_path).splits()
    label_png(tmp_path / "masks" / "lost.png")
    with pytest.raises(UserError, match="no images"):
        Folder(tmp_path).splits()
    png(tmp_path / "images" / "other.png", rgb())
    with pytest.raises(UserError, match=r"1 images and 1 label files, but no pair; name the lab"):
        Folder(tmp_path).splits()
    with pytest.raises(UserError, match="no image 'x'"):
        Folder(tmp_path).read("x")


@pytest.mark.parametrize(
    "bad",
    [
        {"masks": "binary"},
        {"test_fraction": 1},
        {"test_fraction": -1},
        {"val_fraction": 1.5},
        {"test_fraction": 0.5, "val_fraction": 0.5},
        {"test_fraction": 0.8, "complete": True},
    ],
)
def test_bad_arguments(tmp_path, bad):
    with pytest.raises(UserError, match=f"^{next(iter(bad))}="):
        Folder(tmp_path, **bad)


def damaged_image():
    data = io.BytesIO()
    Image.fromarray(rgb()).save(data, "PNG")
    return data.getvalue()[:200]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", damaged_image()),
        ("a.png", png_header(40_000, 40_000)),
        ("a.png", b""),
        ("a_labels.png", damaged_image()),
        ("a.zip", b"PK\x03\x04"),
        ("x.json", b"{"),
        ("x.json", b"[1]"),
    ],
)
def test_damaged_files_are_told_in_one_line(tmp_path, name, content):
    png(tmp_path / "a.png", rgb())
    if name == "a.png":
        label_png(tmp_path / "a_labels.png")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as told:
        Folder(tmp_path).read("a")
    assert "\n" not in str(told.value)
