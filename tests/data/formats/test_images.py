import io
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import png_header, rgb, squares

from nucleist.data.formats.images import (
    check_instances,
    image_size,
    read_image,
    read_label_map,
    read_mask,
    write_label_map,
)
from nucleist.data.outlines import Shape, compose, crop, fill
from nucleist.types import UserError

GRAY8 = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8
GRAY16 = GRAY8.astype(np.uint16) * 250 + 7
REAL = GRAY8.astype(np.float32) / 3 - 1


def pillow(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def grays(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=2)


COLOR = rgb(1)[:5, :6]
COLOR16 = COLOR.astype(np.uint16) * 250 + 3
ALPHA = np.concatenate([COLOR, GRAY8[..., None]], 2)
PALETTE = Image.fromarray(COLOR).quantize(8)
BITS = GRAY8 > 100

KINDS = {
    "png gray": (pillow(GRAY8), grays(GRAY8)),
    "png gray 16": (pillow(GRAY16), grays(GRAY16)),
    "png gray alpha": (pillow(np.stack([GRAY8, 255 - GRAY8], 2)), grays(GRAY8)),
    "png rgb": (pillow(COLOR), COLOR),
    "png rgb 16": (imagecodecs.png_encode(COLOR16), COLOR16),
    "png rgba": (pillow(ALPHA), COLOR),
    "png palette": (pillow(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    "png 1 bit": (pillow(Image.fromarray(BITS)), grays(BITS * np.uint8(255))),
    "bmp": (pillow(COLOR, "BMP"), COLOR),
    "tiff gray": (tiff(GRAY8), grays(GRAY8)),
    "tiff gray 16, LZW": (tiff(GRAY16, compression="lzw"), grays(GRAY16)),
    "tiff float": (tiff(REAL), grays(REAL)),
    "tiff float 64": (tiff(REAL.astype(np.float64)), grays(REAL)),
    "tiff int 32": (tiff(GRAY16.astype(np.int32)), grays(GRAY16)),
    "tiff int 16, negative": (tiff(GRAY8.astype(np.int16) - 9), grays(GRAY8 - np.float32(9))),
    "tiff rgb, LZW": (tiff(COLOR, photometric="rgb", compression="lzw"), COLOR),
    "tiff rgba": (tiff(ALPHA, photometric="rgb", extrasamples=["unassalpha"]), COLOR),
    "tiff planes": (
        tiff(np.moveaxis(COLOR, 2, 0), photometric="rgb", planarconfig="separate"),
        COLOR,
    ),
    "tiff ImageJ 3 channels": (
        tiff(np.moveaxis(COLOR16, 2, 0), imagej=True, metadata={"axes": "CYX"}),
        COLOR16,
    ),
    "tiff big-endian": (tiff(GRAY16, byteorder=">"), grays(GRAY16)),
    "tiff BigTIFF": (tiff(GRAY16, bigtiff=True), grays(GRAY16)),
    "tiff white is zero": (tiff(255 - GRAY8, photometric="miniswhite"), grays(GRAY8)),
    "tiff palette": (pillow(PALETTE, "TIFF"), np.asarray(PALETTE.convert("RGB"))),
    "tiff 1 bit": (pillow(Image.fromarray(BITS), "TIFF"), grays(BITS * np.uint8(255))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_read_right(kind: str) -> None:
    data, expected = KINDS[kind]
    image = read_image(data, "x")
    assert image.dtype == expected.dtype
    assert image.flags.c_contiguous and image.flags.writeable
    np.testing.assert_array_equal(image, expected)


def test_jpeg_is_near_what_was_saved() -> None:
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    assert np.abs(read_image(pillow(flat, "JPEG", quality=95), "x").astype(int) - flat).max() < 5


LABELS = {
    "png 8": pillow(squares().astype(np.uint8)),
    "png 16": pillow(squares().astype(np.uint16)),
    "png rgb, equal": pillow(grays(squares().astype(np.uint8))),
    "tiff 32": tiff(squares().astype(np.uint32), compression="zlib"),
    "tiff float": tiff(squares().astype(np.float32)),
    "tiff signed": tiff(squares()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_label_map_is_read_right(kind: str) -> None:
    labels = read_label_map(LABELS[kind], "x")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, squares())
    np.testing.assert_array_equal(read_mask(LABELS[kind], "x"), squares() > 0)


def test_a_palette_label_map_gives_its_indices() -> None:
    image = Image.fromarray(squares().astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    np.testing.assert_array_equal(read_label_map(pillow(image), "x"), squares())


def test_large_ids_survive() -> None:
    labels = squares() * 500_000_000  # the largest, 1.5e9, needs 31 bits
    np.testing.assert_array_equal(read_label_map(tiff(labels.astype(np.uint32)), "x"), labels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pillow(rgb()), "x: a colour image .* save one channel"),
        (tiff(squares() - 1), "x: label id -1; ids must be 0"),
        (tiff(squares() + np.float32(0.5)), "x: label ids that are not whole"),
        (tiff(np.full((4, 4), np.nan, np.float32)), "x: label ids that are not whole"),
        (tiff(np.full((4, 4), 2**31, np.uint32)), "x: label id 2147483648 .* renumber"),
        (pillow(squares().astype(np.uint8), "JPEG"), "x: a JPEG cannot hold"),
    ],
)
def test_what_is_no_label_map(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_label_map(data, "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x: empty file"),
        (b"GIF89a", "x: not a PNG, TIFF, JPEG or BMP; convert"),
        (tiff(np.zeros((5, 8, 8), np.uint8), photometric="minisblack"), r"x: several planes"),
        (
            tiff(np.zeros((2, 8, 8), np.uint16), imagej=True, metadata={"axes": "CYX"}),
            r"x: several planes \(axes CYX, \(2, 8, 8\)\); save the plane",
        ),
        (tiff(np.zeros((8, 8, 9), np.uint8), photometric="minisblack", planarconfig="contig"), "9"),
        (tiff(np.array([[np.inf, 0], [0, 0]], np.float32)), "x: pixels that are not finite"),
        (tiff(np.zeros((4, 4), np.complex64)), "x: complex64 pixels; save it"),
    ],
)
def test_what_is_no_image(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_image(data, "x")


@pytest.mark.parametrize("reader", [read_image, read_label_map, read_mask])
def test_a_billion_pixels_are_refused_at_once(reader: object) -> None:
    entries = ((256, 4, 40_000), (257, 4, 25_000), (258, 3, 8), (259, 3, 1), (262, 3, 1))
    entries += ((273, 4, 8), (277, 3, 1), (278, 4, 25_000), (279, 4, 10))
    ifd = len(entries).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, value in entries
    )
    small_tiff = b"II*\0" + (8).to_bytes(4, "little") + ifd + bytes(4)
    tracemalloc.start()
    for data in (png_header(40_000, 25_000), small_tiff):
        with pytest.raises(UserError, match=r"x: claims 25000 x 40000 pixels, over the limit"):
            reader(data, "x")  # type: ignore[operator]
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["png rgb", "png rgb 16", "tiff gray", "tiff rgb, LZW"])
def test_a_file_cut_anywhere_gives_one_line(kind: str) -> None:
    data = KINDS[kind][0]
    # The last pixels of a PNG are followed by checksums and an end marker, 24 bytes, not needed.
    end = len(data) - (24 if kind.startswith("png") else 0)
    for length in range(0, end, 3):
        with pytest.raises(UserError, match=r"^x: [^\n]*$"):
            read_image(data[:length], "x")


@pytest.mark.parametrize("kind", ["png rgb", "tiff rgb, LZW", "tiff ImageJ 3 channels"])
@pytest.mark.filterwarnings("ignore")  # decoders may warn about damage as they please
def test_damaged_bytes_never_raise_anything_else(kind: str) -> None:
    data, generator = KINDS[kind][0], np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        for at in generator.integers(4, len(data), 3):
            broken[at] = generator.integers(256)
        try:
            read_image(bytes(broken), "x")
        except UserError:
            pass


def test_check_instances() -> None:
    check_instances(squares(), "x")
    check_instances(np.zeros((4, 4), np.int32), "x")  # no nuclei
    check_instances((squares() == 1) * 255, "x")  # one nucleus
    check_instances(np.eye(4, dtype=np.int32), "x")  # one nucleus, joined at corners
    with pytest.raises(
        UserError, match=r"x: 3 separate .* label 255, .* set data.source.masks=components"
    ):
        check_instances((squares() > 0) * 255, "x")


def test_image_size_needs_33_bytes() -> None:
    assert image_size(KINDS["png rgb"][0][:33], "x") == (5, 6)
    with pytest.raises(UserError, match="x: not a PNG"):
        image_size(b"\x89PNG", "x")
    with pytest.raises(UserError, match="x: claims"):
        image_size(png_header(100_000, 100_000), "x")


@pytest.mark.parametrize(("name", "highest"), [("a.png", 65_535), ("a.tif", 2**31 - 1)])
def test_label_maps_come_back_as_they_were_written(tmp_path: Path, name: str, highest: int) -> None:
    labels = np.where(squares() == 3, highest, squares()).astype(np.int32)
    write_label_map(tmp_path / name, labels)
    np.testing.assert_array_equal(read_label_map((tmp_path / name).read_bytes(), "x"), labels)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_label_maps_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png: label id 65536 does not fit 16 bits"):
        write_label_map(tmp_path / "a.png", np.array([[65_536]], np.int32))
    with pytest.raises(UserError, match=r"a\.jpg: label maps are written as \.png or \.tif"):
        write_label_map(tmp_path / "a.jpg", squares())
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UserError, match=r"b\.png"):
        write_label_map(tmp_path / "b.png", squares())
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


def test_the_smallest_nucleus_has_a_shared_pixel() -> None:
    # Nucleus 1 is 4 x 4, nucleus 2 is 2 x 4 and covers its lower right quarter: 2 x 2 shared.
    big, small = np.ones((4, 4), bool), np.ones((2, 4), bool)
    for order in ([0, 1], [1, 0]):
        nuclei = [Shape(1, 0, 0, big), Shape(2, 2, 2, small)]
        labels, notes = compose((6, 6), [nuclei[i] for i in order])
        assert (labels == 1).sum() == 12 and (labels == 2).sum() == 8
        assert notes[0].startswith("4 pixels lie in more than one nucleus") and len(notes) == 1


def test_a_nucleus_wholly_covered_is_named() -> None:
    square = np.ones((3, 3), bool)
    labels, notes = compose((5, 5), [Shape(7, 1, 1, square), Shape(9, 1, 1, square)])
    assert set(np.unique(labels)) == {0, 9}
    assert notes[1] == "nucleus 7 is wholly covered by smaller ones and has no pixel left"


def test_no_nuclei_no_notes() -> None:
    labels, notes = compose((3, 4), [])
    assert labels.shape == (3, 4) and labels.dtype == np.int32 and not labels.any()
    assert notes == () and crop(np.zeros((3, 4), bool), 1) is None


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    # x from 1 to 3, y from 2 to 5: columns 1, 2 and rows 2, 3, 4.
    inside = fill(np.array([(1, 2), (3, 2), (3, 5), (1, 5)], float), (8, 8), 1)
    assert inside is not None
    assert (inside.top, inside.left, inside.mask.shape) == (2, 1, (3, 2)) and inside.mask.all()
    # Moved by (0.4, 0.4) the same centres are inside; by (0.6, 0.6) the next ones.
    for shift, corner in ((0.4, (2, 1)), (0.6, (3, 2))):
        moved = np.array([(1, 2), (3, 2), (3, 5), (1, 5)], float) + shift
        inside = fill(moved, (8, 8), 1)
        assert inside is not None
        assert (inside.top, inside.left) == corner and inside.mask.sum() == 6
    # A corner that sticks out of the image is cut, a polygon outside has no pixel.
    inside = fill(np.array([(-3, -3), (2, -3), (2, 2), (-3, 2)], float), (8, 8), 1)
    assert inside is not None and inside.mask.shape == (2, 2) and inside.top == inside.left == 0
    assert fill(np.array([(9, 9), (12, 9), (12, 12)], float), (8, 8), 1) is None


@pytest.mark.parametrize("center", [(30.0, 31.0), (30.3, 31.2), (2.0, 60.5)])
def test_circles_hold_the_pixels_a_loop_over_centres_finds(center: tuple[float, float]) -> None:
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    circle = np.stack([center[0] + 12.3 * np.cos(angle), center[1] + 12.3 * np.sin(angle)], 1)
    inside = fill(circle, (64, 64), 1)
    assert inside is not None
    labels, _ = compose((64, 64), [inside])
    y, x = np.mgrid[:64, :64] + 0.5
    np.testing.assert_array_equal(labels > 0, np.hypot(x - center[0], y - center[1]) < 12.3)
