"""Caches give what the data set gives, whatever happened to their files."""

import os
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from omegaconf import OmegaConf
from support import layouts
from support.areas import areas

from nucleist.data.caches import InMemory, Prepared, settings_of
from nucleist.data.readers.bbbc038 import BBBC038
from nucleist.data.readers.folder import Folder
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.readers.tnbc import TNBC
from nucleist.types import Record, Source, UserError, Window


def same(one, other):
    for array, twin in ((one.image, other.image), (one.labels, other.labels)):
        assert array.dtype == twin.dtype
        np.testing.assert_array_equal(array, twin)
    assert (one.id, one.notes) == (other.id, other.notes)
    assert one.complete == other.complete and type(one.complete) is type(other.complete)


class Listed(Source):
    """A data set of given records that counts how often they are read."""

    def __init__(self, records):
        self.held, self.reads = {r.id: r for r in records}, []

    def splits(self):
        return {"train": list(self.held), "test": []}

    def read(self, image_id):
        self.reads.append(image_id)
        if image_id not in self.held:
            raise UserError(f"{image_id}: none")
        return self.held[image_id]


def record(image_id, dtype=np.uint8, gray=False, highest=3, shape=(13, 9), notes=(), complete=True):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (*shape, 3)).astype(dtype)
    if dtype == np.uint16:
        image *= 300
    if dtype == np.float32:
        image = rng.normal(0, 1e5, (*shape, 3)).astype(dtype)
    if gray:
        image[:] = image[..., :1]
    labels = rng.integers(0, 2, shape).astype(np.int32) * highest
    return Record(image_id, image, labels, notes, complete)


KINDS = [
    *(record(f"{d.__name__}-{g}", d, g) for d in (np.uint8, np.uint16, np.float32) for g in (0, 1)),
    record("65535", highest=65535),
    record("65536", highest=65536),
    record("2^31-1", highest=2**31 - 1),
    record("no nuclei", highest=0),
    record("one pixel", shape=(1, 1)),
    record("a row", np.float32, shape=(1, 7)),
    record("a column", np.uint16, shape=(7, 1)),
    record("notes", notes=("one: é", "two\nlines")),
    record("complete nowhere", complete=False),
    record("complete in part", complete=(Window(0, 0, 5, 9), Window(5, 2, 13, 4))),
    record("folder/../name: é?" + "x" * 300),
    record("a%2Fb"),
    record("a/b"),
]


@pytest.mark.parametrize("one", KINDS, ids=lambda one: one.id[:20])
def test_prepared_equals_direct(tmp_path, one):
    source = Listed([one])
    for _ in range(3):
        same(Prepared(source, tmp_path).read(one.id), one)
    assert source.reads == [one.id]  # the second and third time from the files
    assert Prepared(source, tmp_path).splits() == source.splits()
    files = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 3 and not any(name.startswith(".") for name in files)
    large = one.labels.max(initial=0) > 65535
    assert sum(name.endswith(".labels.tif" if large else ".labels.png") for name in files) == 1


@given(areas((5, 6)))
@settings(max_examples=20, deadline=None)
def test_any_area_comes_back(tmp_path_factory, area):
    folder = tmp_path_factory.mktemp("x")
    one = record("a", shape=(5, 6), complete=area)
    for source in (Prepared(Listed([one]), folder), InMemory(Listed([one]))):
        same(source.read("a"), one)
        same(source.read("a"), one)  # from the files, from memory


def test_files_outside_the_folder_are_never_written(tmp_path):
    source = Listed([record("../../up")])
    Prepared(source, tmp_path / "a" / "b").read("../../up")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "remove", "folder"])
@pytest.mark.parametrize("part", range(3))
def test_damaged_entries_are_made_anew(tmp_path, part, damage):
    one = record("a", highest=500)
    source = Listed([one])
    prepared = Prepared(source, tmp_path)
    prepared.read("a")
    file = sorted(prepared.folder.iterdir())[part]
    data = bytearray(file.read_bytes())
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    if damage == "flip":
        data[len(data) // 2] ^= 4
        file.write_bytes(data)
    if damage == "empty":
        file.touch()
    if damage == "folder":
        file.mkdir()
        with pytest.raises(UserError, match="cannot write"):  # that is not ours to remove
            prepared.read("a")
        file.rmdir()
    same(prepared.read("a"), one)
    reads = len(source.reads)
    same(prepared.read("a"), one)
    assert len(source.reads) == reads


def test_entry_of_another_image_is_not_taken(tmp_path):
    # As on file systems that do not tell A and a apart.
    source = Listed([record("a"), record("b", highest=9)])
    prepared = Prepared(source, tmp_path)
    for image_id in "ab":
        prepared.read(image_id)
    (prepared.folder / "b.entry").write_bytes((prepared.folder / "a.entry").read_bytes())
    same(prepared.read("b"), source.held["b"])


def test_errors_of_the_source_are_passed_on(tmp_path):
    with pytest.raises(UserError, match="zz: none"):
        Prepared(Listed([]), tmp_path).read("zz")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Prepared(Listed([record("a")]), tmp_path / "file").read("a")


def test_another_setting_is_another_cache(tmp_path):
    synthetic = Synthetic(n_train=1, n_test=0, size=(64, 64), radius=(5, 6), count=(2, 3))
    other = Synthetic(n_train=1, n_test=0, size=(64, 64), radius=(5, 6), count=(2, 3), seed=1)
    for source in (synthetic, other, synthetic):
        direct = source.read("synthetic-train-0000")
        same(Prepared(source, tmp_path).read("synthetic-train-0000"), direct)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_reader_has_found_is_no_setting(tmp_path):
    archive = layouts.pack(layouts.bbbc038(tmp_path / "data"), tmp_path / "data.zip")
    for source in (BBBC038(archive), Folder(archive)):
        before, folder = settings_of(source), Prepared(source, tmp_path).folder
        source.read(source.splits()["train"][0])
        assert settings_of(source) == before
        assert Prepared(source, tmp_path).folder == folder


def test_a_changed_file_or_argument_is_noticed(tmp_path):
    root = tmp_path / "data"
    layouts.bbbc038(root, 2)
    before = Prepared(BBBC038(root), tmp_path).folder
    assert Prepared(BBBC038(root, seed=1), tmp_path).folder != before
    assert Prepared(BBBC038(str(root)), tmp_path).folder == before
    mask = next((root / "a0" / "masks").iterdir())
    state = os.stat(mask)
    os.utime(mask, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    assert Prepared(BBBC038(root), tmp_path).folder != before
    os.utime(mask, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Prepared(BBBC038(root), tmp_path).folder == before
    shutil.rmtree(root / "a1")
    assert Prepared(BBBC038(root), tmp_path).folder != before


def test_what_is_said_to_be_complete_is_noticed(tmp_path):
    root = layouts.folder(tmp_path / "data", 3)

    def read(**options):
        prepared = Prepared(Folder(root, **options), tmp_path / "cache")
        return prepared.folder, prepared.read("image0").complete

    said = [None, True, False, ["image0"], ["image1"]]
    found = [read(complete=one) for one in said]
    assert [complete for _, complete in found] == [False, True, False, True, False]
    assert [read(complete=one) for one in said] == found
    assert read(complete=("image0.png",))[1] is True
    table = root / "complete.csv"
    table.write_text("image,x,y,width,height\nimage0,0,0,5,6\n")
    found.append(read())
    assert found[-1][1] == (Window(0, 0, 6, 5),)
    table.write_text("image,x,y,width,height\nimage0,0,0,15,6\n")
    found.append(read())
    assert found[-1][1] == (Window(0, 0, 6, 15),)
    assert len({folder for folder, _ in found}) == len(found)


def test_settings_of_a_source_in_a_source(tmp_path):
    layouts.tnbc(tmp_path / "tnbc")
    layouts.kumar(tmp_path / "kumar")
    alone = settings_of(TNBC(str(tmp_path / "tnbc")))
    both = TNBC(str(tmp_path / "tnbc"), str(tmp_path / "kumar"))
    assert "_kumar" not in alone and settings_of(both)["_kumar"]["class"].endswith("Kumar")


def test_in_memory_reads_once():
    source = Listed([record(name) for name in "abc"])
    memory = InMemory(source)
    for image_id in "abcabccba":
        same(memory.read(image_id), source.held[image_id])
    assert source.reads == ["a", "b", "c"]
    assert memory.splits() == source.splits()
    assert memory.bytes == 3 * 13 * 9 * (3 + 4)


def test_in_memory_drops_what_was_used_longest_ago():
    source = Listed([record(name) for name in "abc"])
    memory = InMemory(source, max_bytes=2 * 13 * 9 * 7)
    for image_id in "abacab":  # c drops b, b drops c
        same(memory.read(image_id), source.held[image_id])
    assert source.reads == ["a", "b", "c", "b"] and memory.bytes == 2 * 13 * 9 * 7
    tiny = InMemory(source, max_bytes=10)
    same(tiny.read("a"), source.held["a"])
    assert tiny.bytes == 0


def test_in_memory_travels_without_its_pixels():
    synthetic = Synthetic(n_train=1, n_test=0, size=(64, 64), radius=(5, 6), count=(2, 3))
    memory = InMemory(synthetic)
    one = memory.read("synthetic-train-0000")
    sent = pickle.dumps(memory)
    assert len(sent) < one.image.nbytes / 2
    same(pickle.loads(sent).read("synthetic-train-0000"), one)
    assert memory.bytes


def test_a_configured_list_is_as_a_plain_one():
    plain, configured = (Synthetic(1, 0, size=s) for s in ((64, 64), OmegaConf.create([64, 64])))
    assert settings_of(plain) == settings_of(configured)
