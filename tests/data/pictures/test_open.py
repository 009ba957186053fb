"""Pictures of files: the pixels of read_image, several of one file, what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import pictures
from support.pictures import STACK

from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.data.formats.images import read_image
from nucleist.data.pictures.picture import Picture
from nucleist.types import UserError, Window

Opening = Callable[..., list[Picture]]

COLOR = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
GRAY = np.ascontiguousarray(COLOR[..., 0])
LOOKED_AT = Window(3, 5, 30, 41)


def one(opening: Opening, path: Path, choice: Choice = CLEAR) -> Picture:
    (picture,) = opening(path, choice)
    return picture


def check(opening: Opening, path: Path, choice: Choice = CLEAR) -> Picture:
    """The picture of a file, of which every window is that of `read_image`."""
    expected = read_image(path.read_bytes(), "x", choice)
    picture = one(opening, path, choice)
    assert (picture.height, picture.width) == expected.shape[:2]
    assert picture.dtype == expected.dtype
    for window in (picture.whole, LOOKED_AT):
        pixels = picture.read(window)
        assert pixels.dtype == expected.dtype and pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels, expected[window.slices])
    assert picture.suffix == "" and picture.name == str(path)
    return picture


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_a_picture_in_memory_is_what_read_image_gives(
    open_pictures: Opening, tmp_path: Path, name: str
) -> None:
    Image.fromarray(COLOR).save(tmp_path / name)
    with check(open_pictures, tmp_path / name) as picture:
        assert picture.channels == ("red", "green", "blue") and picture.pixel_size is None


def test_alpha_is_no_channel_and_one_hue_is_shown_as_gray(
    open_pictures: Opening, tmp_path: Path
) -> None:
    Image.fromarray(np.dstack([COLOR, GRAY])).save(tmp_path / "a.png")
    assert check(open_pictures, tmp_path / "a.png").read_channels(LOOKED_AT).shape == (27, 36, 3)
    Image.fromarray(np.dstack([0 * GRAY, 0 * GRAY, GRAY])).save(tmp_path / "b.png")
    picture = check(open_pictures, tmp_path / "b.png")
    assert (picture.read(LOOKED_AT)[..., 0] == GRAY[LOOKED_AT.slices]).all()
    assert picture.channels == ("",) and picture.read_channels(LOOKED_AT).shape[2] == 1
    chosen = one(open_pictures, tmp_path / "b.png", Choice("blue"))
    assert chosen.channels == ("red", "green", "blue")
    assert not chosen.read_channels(LOOKED_AT)[..., :2].any()


KINDS = {
    "plain": (GRAY, {}),
    "tiles": (COLOR, {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}),
    "strips": (COLOR, {"photometric": "rgb", "compression": "lzw", "rowsperstrip": 7}),
    "one strip": (GRAY, {"compression": "zlib", "rowsperstrip": 40, "predictor": True}),
    "big endian": (GRAY.astype(np.uint16) * 99, {"byteorder": ">"}),
    "big endian tiles": (GRAY.astype(">u2"), {"byteorder": ">", "tile": (16, 32)}),
    "white is zero": (GRAY, {"photometric": "miniswhite", "tile": (16, 16)}),
    "floats": (GRAY.astype(np.float32) / 7, {"compression": "zlib", "tile": (32, 16)}),
    "BigTIFF": (GRAY, {"bigtiff": True, "compression": "zlib"}),
    "planes of colours": (
        np.ascontiguousarray(np.moveaxis(COLOR, 2, 0)),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)},
    ),
    "alpha": (np.dstack([COLOR, GRAY]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "bits": (GRAY > 90, {"photometric": "minisblack"}),
    "JPEG": (COLOR, {"photometric": "rgb", "compression": "jpeg", "tile": (16, 16)}),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_is_what_read_image_gives(
    open_pictures: Opening, tmp_path: Path, kind: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, options = KINDS[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    if large:
        pictures.read_by_windows(monkeypatch)
    with check(open_pictures, tmp_path / "a.tif") as picture:
        colors = kind in ("tiles", "strips", "planes of colours", "alpha", "JPEG")
        assert picture.channels == (("red", "green", "blue") if colors else ("",))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("compressed", [{}, {"compression": "zlib"}])
def test_each_time_and_plane_of_an_ome_tiff_is_a_picture(
    open_pictures: Opening,
    tmp_path: Path,
    large: bool,
    compressed: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = pictures.ome_tiff(tmp_path / "a.ome.tif", **compressed)
    if large:
        pictures.read_by_windows(monkeypatch)
    found = open_pictures(path, Choice("gfp", z="each", t="each"))
    assert [one.suffix for one in found] == [f"_t{t}_z{z}" for t in (1, 2) for z in (1, 2, 3)]
    assert found[5].name == f"{path} t2 z3"
    for picture, plane in zip(found, STACK.reshape(6, 2, 50, 70), strict=True):
        with picture:
            assert picture.channels == ("DAPI", "GFP") and picture.pixel_size == 0.5
            np.testing.assert_array_equal(picture.read(LOOKED_AT)[..., 2], plane[1, 3:30, 5:41])
            channels = picture.read_channels(LOOKED_AT)
            np.testing.assert_array_equal(channels, plane[:, 3:30, 5:41].transpose(1, 2, 0))
            assert channels.dtype == np.uint16
    named = open_pictures(path, Choice(1, z="project", t="each"))
    assert [one.suffix for one in named] == ["_t1", "_t2"]


@pytest.mark.parametrize("large", [False, True])
def test_the_planes_of_a_hyperstack_are_projected(
    open_pictures: Opening, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pictures.hyperstack(tmp_path / "a.tif")
    if large:
        pictures.read_by_windows(monkeypatch)
    with check(open_pictures, path, Choice(2, "project", 2)) as picture:
        assert picture.pixel_size == 0.25
        expected = STACK[1].max(0)[:, 3:30, 5:41].transpose(1, 2, 0)
        np.testing.assert_array_equal(picture.read_channels(LOOKED_AT), expected)


@pytest.mark.parametrize("large", [False, True])
def test_a_channel_that_is_not_clear_is_asked_for_by_name(
    open_pictures: Opening, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pictures.ome_tiff(tmp_path / "a.ome.tif")
    if large:
        pictures.read_by_windows(monkeypatch)
    listed = r"a.ome.tif: several channels \(axes TZCYX, 2 x 3 x 2 x 50 x 70\): 1 DAPI has .*, "
    with pytest.raises(UserError, match=listed + "2 GFP has .*; write channel=N or its name for"):
        open_pictures(path, Choice(z=1, t=1))
    with pytest.raises(UserError, match=r"several planes .*: a stack of 3; write z=project"):
        open_pictures(path, Choice(t=1))
    with pytest.raises(UserError, match=r"several times .*: 2 of them; write t=N"):
        open_pictures(path, Choice(z=1))
    with pytest.raises(UserError, match=r"channel=hoechst: .*; it has 1 DAPI, 2 GFP"):
        open_pictures(path, Choice("hoechst", 1, 1))
    with pytest.raises(UserError, match="t=3, but it has 2 times"):
        open_pictures(path, Choice(1, 1, 3))


def test_a_picture_is_opened_again_after_it_was_closed(
    open_pictures: Opening, tmp_path: Path
) -> None:
    first, *_ = open_pictures(pictures.hyperstack(tmp_path / "a.tif"), Choice(1, "each", 1))
    before = first.read(LOOKED_AT)
    first.close()
    np.testing.assert_array_equal(first.read(LOOKED_AT), before)
    assert not hasattr(first, "_other")


def test_what_cannot_be_opened_is_one_line(open_pictures: Opening, tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + bytes(20))
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("a.gif", "not a PNG, TIFF, JPEG or BMP; convert"),
        ("empty.tif", "empty file"),
        ("gone.tif", "cannot read"),
        ("folder", "a folder that is no OME-Zarr"),
    ):
        with pytest.raises(UserError, match=f"{name}: {message}"):
            open_pictures(tmp_path / name)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["tiles", "strips", "plain", "floats"])
def test_a_damaged_tiff_is_one_line(
    open_pictures: Opening, tmp_path: Path, kind: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, options = KINDS[kind]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    data = path.read_bytes()
    if large:
        pictures.read_by_windows(monkeypatch)
    for length in range(0, len(data), max(1, len(data) // 25)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"^\S*a.tif: [^\n]*$"):
            picture = one(open_pictures, path)
            picture.read(picture.whole)


@pytest.mark.parametrize("large", [False, True])
def test_damaged_bytes_never_raise_anything_else(
    open_pictures: Opening, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, generator = tmp_path / "a.tif", np.random.default_rng(0)
    pixels, options = KINDS["tiles"]
    tifffile.imwrite(path, pixels, **options)
    data = path.read_bytes()
    if large:
        pictures.read_by_windows(monkeypatch)
    refused = 0
    for _ in range(60):
        changed = bytearray(data)
        for place in generator.integers(8, len(data), 4):
            changed[place] ^= int(generator.integers(1, 256))
        path.write_bytes(changed)
        try:
            picture = one(open_pictures, path)
            picture.read(picture.whole)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20
