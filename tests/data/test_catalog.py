"""Data sets by name, folder or object, as library functions that print nothing."""

import numpy as np
import pytest
from support import layouts
from support.sources import InMemory, grid

from nucleist.data import BBBC038, Folder
from nucleist.data.catalog import (
    Listing,
    check_data_set,
    data_set_names,
    download_data_set,
    list_data_sets,
    open_annotated,
    open_source,
    prepare_data_set,
)
from nucleist.types import Progress, UserError


class Recorder(Progress):
    """What a progress was asked to show."""

    def __init__(self):
        self.titles, self.notes = [], []

    def note(self, line):
        self.notes.append(line)

    def watch(self, items, title):
        self.titles.append((title, len(items)))
        return items


@pytest.fixture(autouse=True)
def silent(capfd, tmp_path, monkeypatch):
    """In an empty folder; nothing is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUCLEIST_DATA", raising=False)
    yield
    assert capfd.readouterr() == ("", "")


def test_names():
    names = data_set_names()
    assert names == sorted(names) and "base" not in names
    assert {"bbbc360", "folder", "kumar", "synthetic"} <= set(names)


def test_a_name_a_folder_an_archive_and_an_object_are_opened(tmp_path):
    layouts.bbbc038(tmp_path / "data" / "bbbc038")
    named = open_source("bbbc038")
    assert isinstance(named, BBBC038) and len(named.splits()["train"]) == 4
    mine = layouts.folder(tmp_path / "mine, 1'st")  # what Hydra would read as something else
    for place in (mine, str(mine), layouts.pack(mine, tmp_path / "mine.zip")):
        opened = open_source(place, ["data.source.test_fraction=0.5"])
        assert isinstance(opened, Folder) and len(opened.splits()["test"]) == 2
    source = InMemory([grid(1)])
    assert open_source(source) is source


def test_settings_may_be_words_or_a_dict(tmp_path):
    layouts.bbbc038(tmp_path / "x" / "bbbc038")
    words = ["data_root=x", "data.source.train=2", "data.exemplars=1"]
    by_key = {"data_root": "x", "data": {"source": {"train": 2}, "exemplars": 1}}
    for settings in (words, by_key):
        source, annotation = open_annotated("bbbc038", settings)
        assert len(source.splits()["train"]) == 2 and annotation.exemplars == 1


def test_a_folder_with_the_name_of_a_data_set_needs_a_slash(tmp_path):
    layouts.folder(tmp_path / "kumar")
    with pytest.raises(UserError, match=r"data/kumar: no such folder"):
        open_source("kumar").splits()
    for place in ("./kumar", tmp_path / "kumar"):
        assert isinstance(open_source(place), Folder)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("kumra", r"^kumra: neither a folder nor a data set; did you mean 'kumar'\?$"),
        ("base", "^base: neither"),
        ("zzz", "^zzz: neither a folder nor a data set; there is bbbc038, "),
        ("some/where", "^some/where: neither a folder"),
    ],
)
def test_what_is_neither_is_told_in_one_line(data, words):
    with pytest.raises(UserError, match=words):
        open_source(data)


def test_settings_of_an_open_source_are_refused():
    with pytest.raises(UserError, match=r"'data\.source\.seed=1': the data set is open already"):
        open_source(InMemory([grid(1)]), ["data.source.seed=1"])
    with pytest.raises(UserError, match=r"did you mean 'data\.exemplars'"):
        open_source("synthetic", ["data.exemplar=1"])


def test_listings(tmp_path):
    layouts.bbbc038(tmp_path / "data" / "bbbc038")
    progress = Recorder()
    found, missing = list_data_sets(["bbbc038", "kumar"], progress=progress)
    place = "data/bbbc038"
    assert found == Listing("bbbc038", place, (("train", 4, 12), ("test", 1, 3)))
    assert progress.titles == [("bbbc038 train", 4), ("bbbc038 test", 1)]
    assert missing.place == "data/kumar" and missing.splits == ()
    assert "nucleist data download kumar" in missing.problem
    every = {one.name: one for one in list_data_sets(quick=True)}
    assert list(every) == data_set_names()
    assert every["bbbc038"].splits == (("train", 4, None), ("test", 1, None))
    assert every["synthetic"] == Listing(
        "synthetic", None, (("train", 60, None), ("test", 30, None))
    )
    assert every["folder"].place is None and "data check FOLDER" in str(every["folder"].problem)
    # A damaged image stops the counting of its split, not the list.
    image = tmp_path / "data" / "bbbc038" / "a0" / "images" / "a0.png"
    image.write_bytes(image.read_bytes()[:60])
    (damaged,) = list_data_sets(["bbbc038"])
    assert damaged.splits[-1][2] is None and "damaged" in damaged.problem


def test_a_check_holds_pairing_and_problems_of_the_source(tmp_path):
    report = check_data_set(layouts.folder(tmp_path / "mine"))
    assert report.errors == [] and "4 pairs, 1 images without labels" in report.pairing
    assert any(line.endswith("image4.png: image without labels") for line in report.warnings)
    assert check_data_set(InMemory([grid(1)], [grid(1, 2)])).counts == {
        "train": (1, 1), "test": (1, 2),
    }  # fmt: skip


def test_prepared_files_are_read_back_and_left_out_splits_are_noted(tmp_path):
    progress = Recorder()
    source = open_source(layouts.folder(tmp_path / "mine"))
    assert prepare_data_set(source, "new", progress=progress) == {"train": 3, "test": 1}
    assert progress.notes == ["left out: split unlabelled, 1 images"]
    written = open_source(tmp_path / "new")
    for image_id in written.splits()["train"]:
        np.testing.assert_array_equal(written.read(image_id).labels, source.read(image_id).labels)


@pytest.mark.parametrize(
    ("name", "words"),
    [("folder", "your own images"), ("synthetic", "needs no files"), ("nope", "no data set")],
)
def test_nothing_to_download(name, words):
    with pytest.raises(UserError, match=words):
        download_data_set(name)
