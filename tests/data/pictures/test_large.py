"""Images too large to be read at once: windows of tiles, strips decoded once, what is judged."""

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import pictures
from support.lines import Lines

from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.mapped import MappedArray
from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.volume import VolumePicture
from nucleist.types import UserError, Window

Opening = Callable[..., list[Picture]]


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the parts of a TIFF begin that are read for zarr, in either generation of tifffile."""
    found: list[int] = []
    cache = tifffile.tifffile.FileCache
    read = cache.read

    def counted(self, file, offset, *rest):  # type: ignore[no-untyped-def]
        found.append(offset)
        return read(self, file, offset, *rest)

    monkeypatch.setattr(cache, "read", counted)
    return found


def test_a_window_is_read_without_the_rest(
    open_pictures: Opening, tmp_path: Path, chunks: list[int]
) -> None:
    path = pictures.tiles(tmp_path / "a.tif", resolution=(40_000, 40_000), resolutionunit=3)
    (picture,) = open_pictures(path)
    assert isinstance(picture, VolumePicture) and picture.pixel_size == 0.25
    assert (picture.height, picture.width) == (20_000, 20_000)
    assert len(set(chunks)) <= 25 * 4  # of 1600, for the sample
    chunks.clear()
    window = Window(1020, 2040, 1030, 2060)  # on the corner of four tiles
    pixels = picture.read(window)
    assert len(chunks) == 4
    numbers = [(row * 40 + column) % 251 for row in (1, 2) for column in (3, 4)]
    assert [pixels[y, x, 0] for y in (0, 9) for x in (0, 19)] == numbers
    picture.close()


def test_two_threads_read_the_same(open_pictures: Opening, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    (picture,) = open_pictures(pictures.tiles(tmp_path / "a.tif", 12_000))
    windows = [Window(y, x, y + 600, x + 600) for y in range(0, 6000, 600) for x in (0, 900)]
    expected = [picture.read(window) for window in windows]
    with ThreadPoolExecutor(4) as threads:
        for pixels, known in zip(threads.map(picture.read, windows), expected, strict=True):
            np.testing.assert_array_equal(pixels, known)
    picture.close()


@pytest.mark.parametrize(("rows", "said"), [(50, "one compressed strip is"), (7, "8 compressed")])
def test_compressed_strips_are_decoded_once_and_this_is_said(
    open_pictures: Opening,
    tmp_path: Path,
    rows: int,
    said: str,
    chunks: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    path, lines = tmp_path / "a.tif", Lines()
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", rowsperstrip=rows)
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(path, progress=lines)
    for window in (Window(0, 0, 9, 9), Window(20, 30, 50, 70)):
        np.testing.assert_array_equal(picture.read(window), pixels[window.slices])
    assert len(chunks) == -(-50 // rows)
    (line,) = lines.notes
    assert line.startswith(f"{path}: {said}") and "decoded once into a temporary file" in line
    (array,) = picture._volume._decoded.values()  # type: ignore[attr-defined]
    assert array.path.exists()
    picture.close()
    assert not array.path.exists()


def test_uncompressed_pixels_are_mapped_for_a_moment(
    open_pictures: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(tmp_path / "a.tif", Choice(z=2))
    assert isinstance(picture._volume._array, MappedArray)  # type: ignore[attr-defined]
    window = Window(5, 6, 7, 8)
    np.testing.assert_array_equal(picture.read(window)[..., 1], stack[1, 5:7, 6:8])
    gc.collect()
    assert str(tmp_path / "a.tif") not in Path("/proc/self/maps").read_text()


def test_of_channels_that_lie_apart_one_is_read(
    open_pictures: Opening, tmp_path: Path, chunks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pictures.ome_tiff(tmp_path / "a.ome.tif", compression="zlib", tile=(32, 32))
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(path, Choice("GFP", 2, 2))
    chunks.clear()
    np.testing.assert_array_equal(picture.read(picture.whole)[..., 0], pictures.STACK[1, 1, 1])
    assert len(chunks) == 6
    picture.read_channels(picture.whole)
    assert len(chunks) == 18


def test_a_pyramid_is_read_at_its_full_size(
    open_pictures: Opening, tmp_path: Path, chunks: list[int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        writer.write(pixels, subifds=1, metadata={"PhysicalSizeX": 0.5}, **options)
        writer.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **options)
    (picture,) = open_pictures(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(picture.read(picture.whole), pixels)
    assert picture.pixel_size == 0.5


def test_a_slide_of_aperio_has_its_pixel_size(
    open_pictures: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        options = {"photometric": "rgb", "metadata": None, "software": ""}
        text = "Aperio Image Library v11.2.1 \r\n320x256 [0,0 320x256] (64x64) |AppMag = 40|MPP = "
        writer.write(pixels, tile=(64, 64), description=text + "0.2525", **options)
        writer.write(pixels[:64, :64], description="Aperio thumbnail 64x64", **options)
        writer.write(pixels[::2, ::2], tile=(64, 64), description=text + "0.2525", **options)
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(tmp_path / "a.svs")
    assert picture.pixel_size == 0.2525
    np.testing.assert_array_equal(picture.read(Window(9, 9, 99, 99)), pixels[9:99, 9:99])


def test_a_channel_beside_empty_ones_is_found_in_the_sample(
    open_pictures: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray = np.random.default_rng(0).integers(0, 200, (60, 80)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([0 * gray, gray]), imagej=True)
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.read(picture.whole)[..., 0], gray)


def test_values_that_are_not_finite_are_told_where_they_are(
    open_pictures: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.ones((40, 50), np.float32)
    pixels[30, 30] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(tmp_path / "a.tif")
    assert picture.read(Window(0, 0, 20, 20)).all()
    with pytest.raises(UserError, match=r"a\.tif: pixels that are not finite"):
        picture.read(picture.whole)


def test_a_damaged_tile_is_told_when_it_is_read(open_pictures: Opening, tmp_path: Path) -> None:
    path = pictures.tiles(tmp_path / "a.tif", 12_000)
    with tifffile.TiffFile(path) as file:
        offset = file.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 40] = bytes(38)
    path.write_bytes(data)
    (picture,) = open_pictures(path)
    assert picture.read(Window(0, 0, 100, 100)).shape == (100, 100, 3)
    with pytest.raises(UserError, match=r"^\S*a\.tif: damaged image [^\n]*; copy the file again$"):
        picture.read(Window(11_900, 11_900, 12_000, 12_000))


def test_names_of_channels_on_the_pages_of_a_qptiff(
    open_pictures: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = np.random.default_rng(0).integers(0, 200, (2, 64, 80)).astype(np.uint8)
    begin, end = '<?xml version="1.0"?>\n<PerkinElmer-QPI-ImageDescription>', "</PerkinElmer-QPI"
    options = {"software": "PerkinElmer-QPI", "metadata": None, "photometric": "minisblack"}
    options |= {"tile": (16, 16), "resolution": (20_000, 20_000), "resolutionunit": 3}
    with tifffile.TiffWriter(tmp_path / "a.qptiff") as writer:
        for name, plane in zip(("DAPI", "Opal 520"), planes, strict=True):
            text = f"{begin}<Name>{name}</Name>{end}-ImageDescription>"
            writer.write(plane, description=text, compression="zlib", **options)
    pictures.read_by_windows(monkeypatch)
    (picture,) = open_pictures(tmp_path / "a.qptiff", Choice("opal 520"))
    assert picture.channels == ("DAPI", "Opal 520") and picture.pixel_size == 0.5
    np.testing.assert_array_equal(picture.read(picture.whole)[..., 0], planes[1])
