"""Label maps in files: exact round trips, and one line for what cannot be read or written."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import rgb, squares

from nucleist.data.formats import label_maps
from nucleist.data.formats.label_maps import (
    check_instances,
    load_label_map,
    read_label_map,
    read_mask,
    write_label_blocks,
    write_label_map,
)
from nucleist.files import replacing
from nucleist.types import UserError


def pillow(pixels, kind="PNG"):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind)
    return buffer.getvalue()


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


LABELS = {
    "png 8": pillow(squares().astype(np.uint8)),
    "png 16": pillow(squares().astype(np.uint16)),
    "png rgb, equal": pillow(np.repeat(squares().astype(np.uint8)[..., None], 3, axis=2)),
    "tiff 32": tiff(squares().astype(np.uint32), compression="zlib"),
    "tiff float": tiff(squares().astype(np.float32)),
    "tiff signed": tiff(squares()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_label_map_is_read_right(kind):
    labels = read_label_map(LABELS[kind], "x")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, squares())
    np.testing.assert_array_equal(read_mask(LABELS[kind], "x"), squares() > 0)


def gray_png(pixels, depth):
    """A gray PNG of 2 or 4 bits, which Pillow does not write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape
    bits = (pixels[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [23, 24])
def test_ids_of_gray_pngs_of_few_bits_are_as_stored(depth, width):
    labels = squares()[:, :width] * (2**depth - 1 >= squares()[:, :width])
    np.testing.assert_array_equal(read_label_map(gray_png(labels, depth), "x"), labels)


def test_a_palette_label_map_gives_its_indices():
    image = Image.fromarray(squares().astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    np.testing.assert_array_equal(read_label_map(pillow(image), "x"), squares())


def soft(top, kind):
    """A disc with a rim of half the value, and what is inside: at least more than half."""
    y, x = np.mgrid[:24, :24]
    distance = np.hypot(y - 12, x - 11)
    return (
        np.where(distance < 6, top, 0) + np.where((distance >= 6) & (distance < 7), top / 2, 0)
    ).astype(kind), distance < 6


@pytest.mark.parametrize(("top", "kind"), [(255, np.uint8), (65_535, np.uint16), (1, np.float32)])
def test_a_mask_with_a_soft_edge_is_split_at_half(top, kind):
    values, inside = soft(top, kind)
    np.testing.assert_array_equal(read_mask(tiff(values), "x"), inside)


@pytest.mark.parametrize("channels", [2, 4])
def test_labels_in_an_alpha_channel_are_refused(channels):
    labels = squares().astype(np.uint8)
    opaque = np.full_like(labels, 255)
    colors = [labels] * (channels - 1)
    good = pillow(np.stack([*colors, opaque], 2))
    np.testing.assert_array_equal(read_label_map(good, "x"), labels)
    cleared = pillow(np.stack([*colors, np.where(labels > 0, 255, 0).astype(np.uint8)], 2))
    np.testing.assert_array_equal(read_label_map(cleared, "x"), labels)  # nothing is hidden
    black = [labels * 0] * (channels - 1)
    white = [opaque] * (channels - 1)
    alpha = np.where(labels > 0, 255, 0).astype(np.uint8)
    for hidden in ([*black, alpha], [*white, alpha], [*colors, np.where(labels == 1, 0, opaque)]):
        with pytest.raises(UserError, match=r"x: the alpha channel .* flatten"):
            read_label_map(pillow(np.stack(hidden, 2).astype(np.uint8)), "x")
        kind = "rgb" if channels == 4 else "minisblack"
        stored = tiff(np.stack(hidden, 2).astype(np.uint8), photometric=kind, extrasamples=[2])
        with pytest.raises(UserError, match=r"x: the alpha channel .* flatten"):
            read_label_map(stored, "x")


def test_large_ids_survive():
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
        (tiff(squares().astype(np.uint8), compression="jpeg"), "x: a JPEG cannot hold"),
    ],
)
def test_what_is_no_label_map(data, message):
    with pytest.raises(UserError, match=message):
        read_label_map(data, "x")


def test_check_instances():
    check_instances(squares(), "x")
    check_instances(np.zeros((4, 4), np.int32), "x")  # no nuclei
    check_instances((squares() == 1) * 255, "x")  # one nucleus
    check_instances(np.eye(4, dtype=np.int32), "x")  # one nucleus, joined at corners
    with pytest.raises(
        UserError, match=r"x: 3 separate .* label 255, .* set data.source.masks=components"
    ):
        check_instances((squares() > 0) * 255, "x")


@pytest.mark.parametrize(("name", "highest"), [("a.png", 65_535), ("a.tif", 2**31 - 1)])
def test_label_maps_come_back_as_they_were_written(tmp_path, name, highest):
    labels = np.where(squares() == 3, highest, squares()).astype(np.int32)
    write_label_map(tmp_path / name, labels)
    np.testing.assert_array_equal(read_label_map((tmp_path / name).read_bytes(), "x"), labels)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_label_maps_are_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(UserError, match=r"a\.png: label id 65536 does not fit 16 bits"):
        write_label_map(tmp_path / "a.png", np.array([[65_536]], np.int32))
    with pytest.raises(UserError, match=r"a\.jpg: label maps are written as \.png or \.tif"):
        write_label_map(tmp_path / "a.jpg", squares())
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UserError, match=r"b\.png"):
        write_label_map(tmp_path / "b.png", squares())
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


@pytest.mark.parametrize(
    ("top", "stored"),
    [(0, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**31 - 1, np.uint32)],
)
def test_round_trip_is_exact_in_the_smallest_type(tmp_path, top, stored):
    labels = np.arange(35, dtype=np.int32).reshape(5, 7)
    labels[4, 6] = top
    path = tmp_path / "new folder" / "labels.tif"
    write_label_map(path, labels)
    back = load_label_map(path)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, labels)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].dtype == stored
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_narrow_images_do_not_become_colours(tmp_path):
    for shape in ((1, 1), (1, 3), (3, 1), (4, 3), (3, 4)):
        labels = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
        write_label_map(tmp_path / "a.tif", labels)
        np.testing.assert_array_equal(load_label_map(tmp_path / "a.tif"), labels)


def test_what_is_not_a_label_map_is_refused(tmp_path):
    for bad in (np.zeros((2, 2)), np.zeros((2, 2, 3), int), np.zeros((0, 4), int)):
        with pytest.raises(ValueError, match="integer label map"):
            write_label_map(tmp_path / "a.tif", bad)
    for bad in (-1, 2**31):
        with pytest.raises(ValueError, match="labels from 0 to 2147483647"):
            write_label_map(tmp_path / "a.tif", np.array([[bad]]))
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as part:
        part.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]
    with replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write") as error:
        write_label_map(tmp_path / "file" / "a.tif", np.zeros((2, 2), int))
    assert "\n" not in str(error.value)


def bad_files(folder):
    """Every kind of file that is not a readable label map."""
    write_label_map(folder / "cut.tif", np.arange(10_000).reshape(100, 100))
    whole = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "text").write_text("not a picture")
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    tifffile.imwrite(folder / "float", np.full((4, 4), 0.5, np.float32))
    tifffile.imwrite(folder / "rgb", rgb(size=4), photometric="rgb")
    tifffile.imwrite(folder / "stack", np.zeros((5, 8, 8), np.uint16), photometric="minisblack")
    tifffile.imwrite(folder / "negative", np.full((4, 4), -1, np.int16))
    tifffile.imwrite(folder / "large", np.full((4, 4), 2**32 - 1, np.uint32))
    return ["missing", *sorted(p.name for p in folder.iterdir())]


def test_bad_files_are_told_in_one_line(tmp_path):
    names = bad_files(tmp_path)
    assert len(names) == 10
    for name in names:
        with pytest.raises(UserError, match=name) as error:
            load_label_map(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("highest", "kind"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_blocks_of_labels(tmp_path, highest, kind, monkeypatch):
    labels = np.random.default_rng(0).integers(0, 9, (70, 101)).astype(np.int32)
    labels[-1, -1] = highest
    monkeypatch.setattr(label_maps, "BLOCK", 32)
    write_label_blocks(tmp_path / "a.tif", (70, 101), highest, lambda w: labels[w.slices])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.tile == (32, 32) and file.pages.first.dtype == kind
        assert not file.is_bigtiff
    np.testing.assert_array_equal(load_label_map(tmp_path / "a.tif"), labels)
    monkeypatch.setattr(label_maps, "CLASSIC_TIFF", 1000)
    write_label_blocks(tmp_path / "b.tif", (70, 101), highest, lambda w: labels[w.slices])
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(load_label_map(tmp_path / "b.tif"), labels)


def test_blocks_are_written_whole_or_not_at_all(tmp_path):
    def fail(window):
        if window.x0:
            raise KeyboardInterrupt
        return np.zeros((512, 512), np.int32)

    with pytest.raises(KeyboardInterrupt):
        write_label_blocks(tmp_path / "a.tif", (512, 1024), 1, fail)
    assert not list(tmp_path.iterdir())
