import os
import pickle
import re
import warnings
import zipfile
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.layouts import pack

from nucleist.data.formats import archive as archive_module
from nucleist.data.formats.archive import FileTree
from nucleist.types import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for name in ("a/1.png", "a/2.PNG", "b/3.tif", ".hidden/4.png", "a/._1.png", "__MACOSX/a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_a_folder_and_its_archive_hold_the_same(folder: Path, tmp_path: Path) -> None:
    loose, packed = FileTree(folder), FileTree(pack(folder, tmp_path / "set.zip"))
    assert loose.names() == ["a/1.png", "a/2.PNG", "b/3.tif"]
    assert packed.names() == [f"set/{name}" for name in loose.names()]
    assert loose.names([".png"]) == ["a/1.png", "a/2.PNG"]
    for name in loose.names():
        assert loose.read(name) == packed.read(f"set/{name}") == name.encode()
    assert packed.head("set/b/3.tif", 3) == loose.head("b/3.tif", 3) == b"b/3"


def test_describe_names_the_real_place(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "set.zip")
    assert FileTree(folder).describe("a/1.png") == f"{folder}/a/1.png"
    assert FileTree(archive).describe("set/a/1.png") == f"{archive}:set/a/1.png"
    assert FileTree(archive).describe() == str(archive)


def test_match_ignores_folders_around_the_data(folder: Path, tmp_path: Path) -> None:
    archive = FileTree(pack(folder, tmp_path / "set.zip"))
    assert [m[1] for _, m in archive.match(r"a/(\d)\.(?i:png)")] == ["1", "2"]
    assert list(archive.match(r"t/a/1\.png")) == []  # 'set' is not cut in two


def test_a_folder_with_one_archive_is_the_archive(folder: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    (box / "README.md").write_text("about")
    pack(folder, box / "set.zip")
    assert FileTree(box).read("set/a/1.png") == b"a/1.png"
    pack(folder, box / "two.zip")
    with pytest.raises(UserError, match=r"2 archives .set\.zip, two\.zip.; set data\.source\.root"):
        FileTree(box).names()


def test_linked_folders_are_followed_but_not_in_circles(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "links"
    root.mkdir()
    (root / "in").symlink_to(folder / "a")
    (folder / "a" / "loop").symlink_to(root)
    assert FileTree(root).names() == ["in/1.png", "in/2.PNG"]


def test_missing_root_names_path_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such .*data\.source\.root=.*download kumar`"):
        FileTree(tmp_path / "nowhere", "kumar").names()


def test_missing_file(folder: Path) -> None:
    with pytest.raises(UserError, match=r"set/a/9\.png: no such file"):
        FileTree(folder).read("a/9.png")


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x", "C:/x", "..\\x", "C:x"])
def test_an_archive_with_a_path_outside_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("good.png", b"1")
        target.writestr(name, b"2")
    message = re.escape(f"bad.zip: member '{name}' lies outside")
    with pytest.raises(UserError, match=message):
        FileTree(archive).read("good.png")


def test_absurd_sizes_are_refused_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "RATIO_FROM_BYTES", 2 * 1024**2)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(3 * 1024**2))  # deflate: about 1 : 1000
        target.writestr("large", bytes(2000))
    with pytest.raises(UserError, match=r"zeros: unpacks to \d+ times its size, over .* 500"):
        FileTree(archive).read("zeros")
    with pytest.raises(UserError, match="large: unpacks to 2000 bytes, over the limit of 1000"):
        FileTree(archive, max_bytes=1000).read("large")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "large").write_bytes(bytes(2000))
    (tmp_path / "loose" / "x.png").write_bytes(b"")
    with pytest.raises(UserError, match="2000 bytes, over the limit of 1000"):
        FileTree(tmp_path / "loose", max_bytes=1000).read("large")


def test_damaged_archives(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "set.zip")
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"set\.zip: not a complete \.zip"):
        FileTree(archive, "tnbc").names()
    archive.write_bytes(b"no archive")
    with pytest.raises(UserError, match="download tnbc"):
        FileTree(archive, "tnbc").names()
    # A flipped byte in the stored data of the first member breaks its checksum.
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("x", b"payload")
    archive.write_bytes(archive.read_bytes().replace(b"payload", b"pbyload", 1))
    with pytest.raises(UserError, match=r"set\.zip:x: damaged .*CRC"):
        FileTree(archive).read("x")


def test_an_encrypted_member_is_told_in_one_line(tmp_path: Path) -> None:
    archive = tmp_path / "locked.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("x", b"payload")
    content = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    archive.write_bytes(content)
    with pytest.raises(UserError, match="encrypted"):
        FileTree(archive).read("x")


def test_the_index_is_pickled_away_and_built_again(folder: Path, tmp_path: Path) -> None:
    tree = FileTree(pack(folder, tmp_path / "set.zip"))
    tree.names()
    assert len(pickle.dumps(tree)) < 1000
    assert pickle.loads(pickle.dumps(tree)).read("set/a/1.png") == b"a/1.png"


def test_another_process_opens_the_archive_anew(folder: Path, tmp_path: Path) -> None:
    tree = FileTree(pack(folder, tmp_path / "set.zip"))
    tree.names()
    before = tree._open_zip()
    tree._pid = os.getpid() + 1  # what a forked child sees: its parent's number
    assert tree.read("set/a/1.png") == b"a/1.png"
    assert tree._open_zip() is not before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: none is used
        child = get_context("fork").Process(target=_read_often, args=(tree,))
        child.start()
        _read_often(tree)
        child.join()
    assert child.exitcode == 0


def _read_often(tree: FileTree) -> None:
    for name in tree.names() * 200:
        assert tree.read(name) == name.removeprefix("set/").encode()
