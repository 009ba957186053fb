"""OME-Zarr of either version, made by zarr."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import pictures
from support.pictures import STACK

from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.picture import Picture
from nucleist.types import UserError, Window

Opening = Callable[..., list[Picture]]

WINDOW = Window(3, 5, 30, 41)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("large", [False, True])
def test_planes_channels_and_pixel_size_are_read(
    open_pictures: Opening,
    tmp_path: Path,
    version: str,
    large: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = pictures.ome_zarr(tmp_path / "a.zarr", version)
    if large:
        pictures.read_by_windows(monkeypatch)
    found = open_pictures(path, Choice("gfp", "each", 2))
    assert [one.suffix for one in found] == ["_z1", "_z2", "_z3"]
    with found[2] as picture:
        assert picture.channels == ("DAPI", "GFP") and picture.dtype == np.uint16
        assert picture.pixel_size == pytest.approx(0.2)
        assert (picture.height, picture.width) == (50, 70)
        np.testing.assert_array_equal(picture.read(WINDOW)[..., 1], STACK[1, 2, 1, 3:30, 5:41])
        expected = STACK[1, 2][:, 3:30, 5:41].transpose(1, 2, 0)
        np.testing.assert_array_equal(picture.read_channels(WINDOW), expected)
    (projected,) = open_pictures(path, Choice(1, "project", 1))
    np.testing.assert_array_equal(projected.read(WINDOW)[..., 0], STACK[0, :, 0, 3:30, 5:41].max(0))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_gray_image_needs_no_choice(open_pictures: Opening, tmp_path: Path, version: str) -> None:
    path = pictures.ome_zarr(tmp_path / "a.zarr", version, "yx")
    (picture,) = open_pictures(path)
    np.testing.assert_array_equal(picture.read(picture.whole)[..., 0], STACK[0, 0, 0])


def test_a_channel_is_asked_for_by_name(open_pictures: Opening, tmp_path: Path) -> None:
    path = pictures.ome_zarr(tmp_path / "a.zarr", "0.5", "cyx")
    with pytest.raises(UserError, match=r"a\.zarr: several channels \(axes CYX, .*1 DAPI has"):
        open_pictures(path)


def test_the_image_of_a_conversion_is_found_inside(open_pictures: Opening, tmp_path: Path) -> None:
    pictures.ome_zarr(tmp_path / "a.zarr" / "0", "0.4", "yx")
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / "a.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    (picture,) = open_pictures(tmp_path / "a.zarr")
    assert picture.height == 50
    pictures.ome_zarr(tmp_path / "a.zarr" / "1", "0.4", "yx")
    with pytest.raises(UserError, match=r"a\.zarr: 2 images; give one of them: \S*a\.zarr/0"):
        open_pictures(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"plate": {"wells": [{"path": "B/2"}]}}, r"a plate; give one of its fields: \S*/B/2/0"),
        ({"well": {"images": [{"path": "0"}]}}, "a well of 1 fields; give one"),
        ({}, "Zarr without an image in its metadata"),
        ({"multiscales": []}, "damaged image"),
        ({"multiscales": [{"datasets": [{"path": "../../a"}]}]}, "damaged image .*an array at"),
        ({"multiscales": [{"datasets": [{"path": "0"}]}]}, "damaged image"),
    ],
)
def test_other_groups_are_told(
    open_pictures: Opening, tmp_path: Path, content: dict, message: str
) -> None:
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / ".zattrs").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"^{tmp_path}: {message}[^\n]*$"):
        open_pictures(tmp_path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damaged_metadata_and_chunks_are_one_line(
    open_pictures: Opening, tmp_path: Path, version: str
) -> None:
    path = pictures.ome_zarr(tmp_path / "a.zarr", version, "yx")
    chunk = next(p for p in (path / "0").rglob("*") if p.is_file() and p.name[-1].isdecimal())
    chunk.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"^\S*a\.zarr: damaged image [^\n]*; copy the file again$"):
        open_pictures(path)
    metadata = path / (".zattrs" if version == "0.4" else "zarr.json")
    metadata.write_text(metadata.read_text()[:-30])
    with pytest.raises(UserError, match=r"^\S*a\.zarr: damaged image [^\n]*; copy the file again$"):
        open_pictures(path)
