import io
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import png_header, rgb

from nucleist.data.formats.images import image_size, read_image, write_image
from nucleist.data.formats.label_maps import read_label_map, read_mask
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
    "tiff ImageJ 3 equal channels": (
        tiff(np.stack([GRAY16] * 3), imagej=True, metadata={"axes": "CYX"}),
        grays(GRAY16),
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x: empty file"),
        (b"GIF89a", "x: not a PNG, TIFF, JPEG or BMP; convert"),
        (tiff(np.zeros((5, 8, 8), np.uint8), photometric="minisblack"), r"x: several planes"),
        (tiff(np.zeros((2, 3, 8, 8), np.uint8), photometric="minisblack"), "x: several planes"),
        (tiff(np.array([[np.inf, 0], [0, 0]], np.float32)), "x: pixels that are not finite"),
        (tiff(np.zeros((4, 4), np.complex64)), "x: complex64 pixels; save it"),
    ],
)
def test_what_is_no_image(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_image(data, "x")


def test_an_animation_is_refused() -> None:
    frames = [Image.fromarray(GRAY8), Image.fromarray(255 - GRAY8)]
    data = pillow(frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="x: 2 images; save each as its own file"):
        read_image(data, "x")


@pytest.mark.parametrize("shape", [(500, 1), (500, 4), (1, 500), (1, 1), (3, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("gray", [True, False])
def test_narrow_images_come_back(
    tmp_path: Path, shape: tuple[int, int], dtype: type, gray: bool
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (*shape, 3)).astype(dtype)
    pixels = grays(pixels[..., 0]) if gray else pixels
    back = read_image(write_image(tmp_path / "a", pixels).read_bytes(), "x")
    np.testing.assert_array_equal(back, pixels)


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


@pytest.mark.parametrize("kind", ["png rgb", "tiff rgb, LZW", "tiff ImageJ 3 equal channels"])
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


def test_image_size_needs_33_bytes() -> None:
    assert image_size(KINDS["png rgb"][0][:33], "x") == (5, 6)
    with pytest.raises(UserError, match="x: not a PNG"):
        image_size(b"\x89PNG", "x")
    with pytest.raises(UserError, match="x: claims"):
        image_size(png_header(100_000, 100_000), "x")


@pytest.mark.parametrize("pixels", [COLOR, COLOR16, grays(GRAY8), grays(GRAY16), grays(REAL)])
def test_images_come_back_as_they_were_written(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_image(tmp_path / "a.b", pixels)
    assert path.name == ("a.b.tif" if pixels.dtype == np.float32 else "a.b.png")
    back = read_image(path.read_bytes(), "x")
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)
