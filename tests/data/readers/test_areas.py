"""Where the images of a folder are complete: the option, `complete.csv` and drawn regions."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roifile import ImagejRoi
from support.areas import areas
from support.layouts import pack, png, rgb, squares

from nucleist.data.complete import mask_of
from nucleist.data.prepare import prepare
from nucleist.data.readers.areas import Names, said
from nucleist.data.readers.folder import Folder
from nucleist.data.readers.pairing import pair
from nucleist.types import Record, Source, UserError, Window

HEADER = "image,x,y,width,height\n"


def write(root, *names, shape=(24, 24)):
    for name in names:
        png(root / f"{name}.png", rgb()[: shape[0], : shape[1]])
        png(root / f"{name}_labels.png", squares()[: shape[0], : shape[1]].astype(np.uint16))


def complete(root, *names, **options):
    source = Folder(root, **options)
    return [source.read(name).complete for name in names]


def test_nothing_is_complete_unless_somebody_says_so(tmp_path):
    write(tmp_path, "a", "b")
    png(tmp_path / "c.png", rgb())
    assert complete(tmp_path, *"abc") == [False, False, False]
    # Of an image without labels nothing is known.
    assert complete(tmp_path, *"abc", complete=True) == [True, True, False]
    assert complete(tmp_path, *"abc", complete=False) == [False, False, False]


@pytest.mark.parametrize("name", ["b", "b.png", "sub/b.png", "sub/b", "sub\\b.png", " ./sub/b "])
def test_listed_images_by_any_name(tmp_path, name):
    write(tmp_path, "a", "sub/b")
    assert complete(tmp_path, *"ab", complete=[name]) == [False, True]
    assert complete(tmp_path, *"ab", complete=name) == [False, True]
    (tmp_path / "complete.csv").write_text(f"{HEADER}{name},2,3,4,5\n")
    assert complete(tmp_path, *"ab") == [False, (Window(3, 2, 8, 6),)]
    assert complete(tmp_path, *"ab", complete=["a"]) == [True, (Window(3, 2, 8, 6),)]
    assert complete(tmp_path, *"ab", complete=[name]) == [False, True]
    assert complete(tmp_path, *"ab", complete=True) == [True, True]
    assert complete(tmp_path, *"ab", complete=False) == [False, False]


def test_names_with_a_split(tmp_path):
    for split in ("train", "test"):
        png(tmp_path / split / "images" / "1.ome.png", rgb())
        png(tmp_path / split / "labels" / "1.png", squares().astype(np.uint16))
    ids = ("train_1.ome", "test_1.ome")
    for name in ("test/1", "test/1.ome", "test/1.ome.png", "test/images/1.ome.png", "test_1.ome"):
        assert complete(tmp_path, *ids, complete=[name]) == [False, True]
    with pytest.raises(UserError, match=r"'1' may be 'test_1.ome' or 'train_1.ome'; give one"):
        complete(tmp_path, *ids, complete=["1"])


@pytest.mark.parametrize(
    ("name", "hint"), [("celsl", "did you mean 'cells'"), ("xyz", "one is 'cells'"), ("", "one is")]
)
def test_unknown_names_are_refused_with_the_nearest(tmp_path, name, hint):
    write(tmp_path, "cells")
    with pytest.raises(UserError, match=rf"^data\.source\.complete: no image '{name}'; {hint}"):
        Folder(tmp_path, complete=[name]).splits()
    (tmp_path / "complete.csv").write_text(f'{HEADER}cells\n"{name or "?"}"\n')
    with pytest.raises(
        UserError, match=rf"complete\.csv: line 3: no image '{name or '.'}'; {hint}"
    ):
        Folder(tmp_path).read("cells")
    assert complete(tmp_path, "cells", complete=True) == [True]  # the file is not asked


@given(
    st.sets(st.tuples(*[st.sampled_from("abc")] * 2, st.sampled_from(["png", "tif"])), min_size=1)
)
@settings(max_examples=30, deadline=None)
def test_every_image_is_found_by_its_path_and_id(files):
    paths = {f"{folder}/{stem}.{suffix}" for folder, stem, suffix in files}
    paths = {
        path for path in paths if path[:-4] + ".png" == path or path[:-4] + ".png" not in paths
    }
    pairs = pair(paths, "root").pairs
    names = Names(pairs)
    assert len({one.id for one in pairs}) == len(paths)
    for one in pairs:
        for name in (one.id, one.image, one.image[:-4]):
            assert names.find(name, "x") == one.id


def test_option_in_one_form():
    assert [said(value) for value in (None, True, False, "a", 7, ["a", 7])] == [
        *(None, True, False, ("a",), ("7",), ("a", "7"))
    ]


def test_a_rectangle_outside_is_told_for_its_image_alone(tmp_path):
    write(tmp_path, "a", "b")
    (tmp_path / "complete.csv").write_text(f"{HEADER}a,24,0,5,5\nb\n")
    source = Folder(tmp_path)
    assert source.read("b").complete is True
    with pytest.raises(UserError, match=r"complete\.csv: line 2: x=24.* 24 x 24 pixels.*'a'; "):
        source.read("a")


def test_the_file_is_used_at_the_top_and_named_elsewhere(tmp_path):
    write(tmp_path / "set", "a")
    (tmp_path / "set" / "Complete.csv").write_text(f"{HEADER}a\n")
    for root in (tmp_path / "set", pack(tmp_path / "set", tmp_path / "data.zip")):
        source = Folder(root)
        assert source.read("a").complete is True and source.problems() == []
    write(tmp_path / "whole", "sub/a")
    (tmp_path / "whole" / "sub" / "complete.csv").write_text(f"{HEADER}a\n")
    source = Folder(tmp_path / "whole")
    (line,) = source.problems()
    assert source.read("a").complete is False
    assert line.endswith(
        "1 files are not read, because they are not at the top of the folder: sub/complete.csv"
    )


def test_a_complete_image_without_labels_is_told(tmp_path):
    write(tmp_path, "a")
    png(tmp_path / "b.png", rgb())
    source = Folder(tmp_path, complete=["b"])
    assert source.read("b").complete is False
    assert "b is said to be complete, but has no labels; if it shows no" in source.problems()[1]


def roi(x, y, width, height, name):
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * [width, height] + [x, y]
    return ImagejRoi.frompoints(corners.astype(np.float32), name=name).tobytes()


def test_rois_in_a_zip_and_in_a_folder(tmp_path):
    png(tmp_path / "zip" / "a.tif", rgb())
    with zipfile.ZipFile(tmp_path / "zip" / "a.zip", "w") as file:
        file.writestr("1.roi", roi(4, 5, 5, 6, "1"))
        file.writestr("2.roi", roi(2, 3, 10, 12, "complete"))
    png(tmp_path / "folder" / "images" / "a.png", rgb())
    for name, content in {
        "0001.roi": roi(4, 5, 5, 6, "1"),
        "Complete.roi": roi(2, 3, 10, 12, "0009-0007"),
    }.items():
        path = tmp_path / "folder" / "rois" / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for root in ("zip", "folder"):
        record = Folder(tmp_path / root).read("a")
        np.testing.assert_array_equal(record.labels, np.where(squares() == 1, 1, 0))
        assert record.complete == (Window(3, 2, 15, 12),) and record.notes == ()
        assert complete(tmp_path / root, "a", complete=["a"]) == [True]
        assert complete(tmp_path / root, "a", complete=False) == [False]
        (tmp_path / root / "complete.csv").write_text(f"{HEADER}a,2,15,10,1\n")
        assert complete(tmp_path / root, "a") == [(Window(3, 2, 16, 12),)]


def polygon(points, **properties):
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*points, points[0]]]},
        "properties": {"objectType": "annotation", **properties},
    }


def test_an_annotation_of_qupath(tmp_path):
    png(tmp_path / "a.png", rgb())
    nucleus = polygon([[4, 5], [9, 5], [9, 11], [4, 11]])
    region = polygon([[0, 0], [20, 0], [0, 20]], name="Complete")
    text = json.dumps({"type": "FeatureCollection", "features": [region, nucleus]})
    (tmp_path / "a.geojson").write_text(text)
    record = Folder(tmp_path).read("a")
    assert np.count_nonzero(record.labels) == 30 and record.notes == ()
    y, x = np.mgrid[:24, :24] + 0.5
    # Centres on the slanted edge lie inside or outside, as it is a left or right one.
    inside = mask_of(record.complete, (24, 24))
    assert inside[x + y < 20].all() and not inside[x + y > 20].any()


def test_regions_beside_labels_of_any_kind(tmp_path):
    write(tmp_path, "a", "b", "sub/c")
    (tmp_path / "a_complete.roi").write_bytes(roi(2, 3, 10, 12, "0009-0007"))
    with zipfile.ZipFile(tmp_path / "sub" / "c_Complete.zip", "w") as file:
        file.writestr("1.roi", roi(0, 0, 3, 24, "complete"))
        file.writestr("2.roi", roi(2, 0, 3, 24, "2"))
    text = json.dumps([polygon([[0, 0], [24, 0], [24, 24], [0, 24]])])
    (tmp_path / "b_complete.geojson").write_text(text)
    source = Folder(tmp_path)
    assert source.problems() == []
    records = [source.read(name) for name in "abc"]
    assert [one.complete for one in records] == [
        *((Window(3, 2, 15, 12),), True, (Window(0, 0, 24, 5),))
    ]
    assert all((one.labels == squares()).all() and one.notes == () for one in records)
    (tmp_path / "a_complete.roi").write_bytes(b"Iout")
    with pytest.raises(UserError, match=r"a_complete\.roi: not a complete ImageJ ROI"):
        Folder(tmp_path).read("a")


def test_an_image_that_is_called_complete_has_its_labels(tmp_path):
    png(tmp_path / "a_complete.png", rgb())
    png(tmp_path / "a.png", rgb())
    (tmp_path / "a_complete.roi").write_bytes(roi(4, 5, 5, 6, "1"))
    found = pair(["a.png", "a_complete.png", "a_complete.roi", "z_complete.roi"], "root")
    assert [(one.id, one.labels, one.regions) for one in found.pairs] == [
        ("a", None, ()),
        ("a_complete", "a_complete.roi", ()),
    ]
    assert found.orphans == ["z_complete.roi"]
    record = Folder(tmp_path).read("a_complete")
    assert record.labels.max() == 1 and record.complete is False


class Given(Source):
    """Labelled images `a0`, `a1`, ... of given areas, the last for testing."""

    def __init__(self, found):
        self.areas = {f"a{i}": area for i, area in enumerate(found)}

    def splits(self):
        *train, test = self.areas
        return {"train": train, "test": [test]}

    def read(self, image_id):
        labels = squares()[4:10, 3:11]
        image = np.zeros((*labels.shape, 3), np.uint8)
        return Record(image_id, image, labels, (), self.areas[image_id])


@given(st.lists(areas((6, 8)), min_size=2, max_size=4))
@settings(max_examples=15, deadline=None)
def test_what_is_exported_is_complete_where_it_was(tmp_path_factory, found):
    source, folder = Given(found), tmp_path_factory.mktemp("x") / "new"
    prepare(source, folder)
    written = Folder(folder)
    assert written.splits() == source.splits() and written.problems() == []
    for image_id, area in source.areas.items():
        assert written.read(image_id).complete == area
    assert (folder / "complete.csv").exists() == any(found)


def test_an_exported_folder_gives_the_same_splits_and_areas(tmp_path):
    write(tmp_path / "mine", "p1/g", "p2/g", "p2/h", "c", " d ", "e,f")
    (tmp_path / "mine" / "complete.csv").write_text(
        f'{HEADER}p2/g,1,2,3,4\np2/g,10,2,3,4\n" d "\n"e,f",0,0,5,5\n'
    )
    source = Folder(tmp_path / "mine", test_fraction=0.1, val_fraction=0.1)
    prepare(source, tmp_path / "new")
    written = Folder(tmp_path / "new", test_fraction=0.1, val_fraction=0.1)
    assert written.splits() == source.splits()
    found = {i: source.read(i).complete for ids in source.splits().values() for i in ids}
    assert found == {i: written.read(i).complete for i in found}
    assert len(set(found.values())) == 4
