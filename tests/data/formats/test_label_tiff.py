"""Label TIFFs: exact round trips, and one line for what cannot be read or written."""

import os

import numpy as np
import pytest
import tifffile
import torch

from nucleist.data.formats.label_tiff import read_label_tiff, write_label_tiff
from nucleist.files import replacing
from nucleist.types import UserError


@pytest.mark.parametrize(
    ("top", "stored"),
    [(0, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**31 - 1, np.uint32)],
)
def test_round_trip_is_exact_in_the_smallest_type(tmp_path, top, stored):
    labels = np.arange(35, dtype=np.int32).reshape(5, 7)
    labels[4, 6] = top
    path = tmp_path / "new folder" / "labels.tif"
    write_label_tiff(path, labels)
    back = read_label_tiff(path)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, labels)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].dtype == stored
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_tensors_and_narrow_images_are_written_too(tmp_path):
    for shape in ((1, 1), (1, 3), (3, 1), (4, 3), (3, 4)):  # (4, 3) must not become colours
        labels = torch.arange(shape[0] * shape[1], dtype=torch.int32).reshape(shape)
        write_label_tiff(tmp_path / "a.tif", labels)
        np.testing.assert_array_equal(read_label_tiff(tmp_path / "a.tif"), labels.numpy())


def test_what_is_not_a_label_map_is_refused(tmp_path):
    for bad in (np.zeros((2, 2)), np.zeros((2, 2, 3), int), np.zeros((0, 4), int)):
        with pytest.raises(ValueError, match="integer label map"):
            write_label_tiff(tmp_path / "a.tif", bad)
    for bad in (-1, 2**31):
        with pytest.raises(ValueError, match="labels from 0 to 2147483647"):
            write_label_tiff(tmp_path / "a.tif", np.array([[bad]]))
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
        write_label_tiff(tmp_path / "file" / "a.tif", np.zeros((2, 2), int))
    assert "\n" not in str(error.value)


def bad_files(folder):
    """Every kind of file that is not a readable label TIFF."""
    write_label_tiff(folder / "truncated", np.arange(10_000).reshape(100, 100))
    whole = (folder / "truncated").read_bytes()
    (folder / "truncated").write_bytes(whole[: len(whole) // 2])
    (folder / "text").write_text("not a picture")
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    tifffile.imwrite(folder / "float", np.zeros((4, 4), np.float32))
    tifffile.imwrite(folder / "rgb", np.zeros((4, 4, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(folder / "stack", np.zeros((5, 4, 4), np.uint16))
    tifffile.imwrite(folder / "negative", np.full((4, 4), -1, np.int16))
    tifffile.imwrite(folder / "large", np.full((4, 4), 2**32 - 1, np.uint32))
    return ["missing", *sorted(p.name for p in folder.iterdir())]


def test_bad_files_are_told_in_one_line(tmp_path):
    names = bad_files(tmp_path)
    assert len(names) == 10
    for name in names:
        with pytest.raises(UserError, match=name) as error:
            read_label_tiff(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_claim_of_a_billion_pixels_is_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.tif"
    write_label_tiff(path, np.zeros((4, 4), int))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(40_000)
    with pytest.raises(UserError, match="claims 1600000000 pixels"):
        read_label_tiff(path)
