"""Groups of a folder: by a table, a pattern or the pixels; its split cuts none of them."""

import numpy as np
import pytest
from data.test_fields import drawn
from support import layouts
from support.layouts import png, rgb, squares

from nucleist.data.catalog import open_source, prepare_data_set
from nucleist.data.readers.bbbc038 import BBBC038, known_fields
from nucleist.data.readers.folder import Folder
from nucleist.data.readers.kumar import Kumar
from nucleist.data.readers.splitting import place_of
from nucleist.data.readers.tnbc import TNBC
from nucleist.types import UserError


@pytest.fixture
def mine(tmp_path):
    """Three tiles of each of eight patients."""
    for patient in range(8):
        for tile in range(3):
            png(tmp_path / "mine" / f"p{patient}_tile{tile}.png", rgb(3 * patient + tile, 8))
            labels = squares()[4:12, 4:12].astype(np.uint16)
            png(tmp_path / "mine" / f"p{patient}_tile{tile}_labels.png", labels)
    return tmp_path / "mine"


def test_nothing_is_said(mine):
    source = Folder(mine)
    assert not source.grouped
    assert source.groups() == {i: i for some in source.splits().values() for i in some}


@pytest.mark.parametrize("said", ["pattern", "table"])
def test_a_split_cuts_no_group(mine, said):
    options = {"groups": r"(.*)_tile\d"} if said == "pattern" else {}
    if said == "table":
        rows = [f"p{p}_tile{t}.png,p{p}" for p in range(8) for t in range(3)]
        (mine / "groups.csv").write_text("\n".join(["image,group", *rows]))
    source = Folder(mine, test_fraction=0.3, val_fraction=0.3, **options)
    assert source.grouped
    assert source.groups() == {f"p{p}_tile{t}": f"p{p}" for p in range(8) for t in range(3)}
    splits = source.splits()
    for split, (start, end) in {"test": (0, 0.3), "val": (0.3, 0.6), "train": (0.6, 1)}.items():
        patients = [p for p in range(8) if start <= place_of(f"p{p}", 0) < end]
        assert splits.get(split, []) == [f"p{p}_tile{t}" for p in patients for t in range(3)]
    assert splits["test"] and splits["train"]


def test_a_folder_may_name_the_group_and_others_are_alone(tmp_path):
    for name in ("s1/a", "s1/b", "s2/c", "d"):
        png(tmp_path / f"{name}.png", rgb(ord(name[-1]), 8))
        png(tmp_path / f"{name}_labels.png", squares()[4:12, 4:12].astype(np.uint16))
    groups = Folder(tmp_path, groups="^([^/]+)/").groups()
    assert sorted(groups.values()) == ["d", "s1", "s1", "s2"]


def test_fields_are_found(tmp_path):
    for number in range(3):
        field = drawn(number, (240, 120))
        for part, image in (("a", field[:120]), ("b", field[120:])):
            png(tmp_path / f"{part}{number}.png", image)
            labels = np.zeros((120, 120), np.uint16)
            labels[3:9, 3:9] = 1
            png(tmp_path / f"{part}{number}_labels.png", labels)
    source = Folder(tmp_path, groups="found")
    assert source.groups() == {f"{part}{n}": f"a{n}" for part in "ab" for n in range(3)}
    for ids in source.splits().values():
        assert {i[1] for i in ids if i[0] == "a"} == {i[1] for i in ids if i[0] == "b"}


@pytest.mark.parametrize(
    ("groups", "words"),
    [("(", "no regular expression"), ("tile", "parentheses"), ("(x9)", "fits no image")],
)
def test_patterns_that_cannot_be(mine, groups, words):
    with pytest.raises(UserError, match=words) as told:
        Folder(mine, groups=groups).splits()
    assert "\n" not in str(told.value)


def test_a_table_that_names_no_image(mine):
    (mine / "groups.csv").write_text("image,group\nzzz,1\n")
    with pytest.raises(UserError, match=r"groups\.csv: line 2: no image 'zzz'"):
        Folder(mine).splits()


def test_exports_keep_the_groups(mine, tmp_path):
    prepare_data_set(Folder(mine, groups="(.*)_"), tmp_path / "new")
    written = Folder(tmp_path / "new")
    assert written.grouped and written.groups() == Folder(mine, groups="(.*)_").groups()
    prepare_data_set(Folder(mine), tmp_path / "alone")
    assert not (tmp_path / "alone" / "groups.csv").exists()


def test_patients_and_fields_of_published_sets(tmp_path):
    kumar = Kumar(layouts.kumar(tmp_path / "kumar"))
    assert kumar.groups()["TCGA-A7-A13E-01Z-00-DX1"] == "TCGA-A7-A13E"
    tnbc = TNBC(layouts.tnbc(tmp_path / "tnbc"), tmp_path / "kumar").groups()
    assert tnbc["01_1"] == tnbc["01_2"] == "slide 01" != tnbc["02_1"]
    assert tnbc["kumar_TCGA-A7-A13E-01Z-00-DX1"] == "TCGA-A7-A13E"
    assert BBBC038(layouts.bbbc038(tmp_path / "bbbc038")).groups()["a1"] == "a1"
    sizes = {field.split("-")[0] for field in known_fields().values()}
    assert "360x360" in sizes and len(known_fields()) > 400
    tiles = open_source("bbbc038_patches", [f"data_root={tmp_path}", "data.source.size=12"])
    assert {i.split("@")[0] for i in tiles.groups()} == set(tiles.groups().values())
