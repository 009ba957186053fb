"""Masks of Cellpose's `_seg.npy`, read without running what the pickle names."""

import io
import os
import pickle
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from support.layouts import rgb, squares

from nucleist.data.formats.cellpose import read_cellpose
from nucleist.types import UserError


def seg(masks, protocol=4, **more):
    """A file as Cellpose writes it: `np.save` of a dictionary."""
    content = {
        "outlines": np.zeros((24, 24), np.uint16),
        "colors": rgb()[0],
        "masks": masks,
        "chan_choose": [0, 0],
        "img": rgb().astype(np.float32),
        "filename": "a.png",
        "flows": [rgb(), np.zeros((2, 24, 24), np.float16), []],
        "ismanual": np.zeros(3, bool),
        "est_diam": np.float64(17.5),
        **more,
    }
    buffer = io.BytesIO()
    buffer.write(b"\x93NUMPY\x01\x00")
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
    buffer.write(len(header).to_bytes(2, "little") + header)
    whole = np.empty((), object)
    whole[()] = content
    pickle.dump(whole, buffer, protocol=protocol)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64, np.uint8, ">u2"])
def test_masks_are_read_right(kind, protocol):
    labels = read_cellpose(seg(squares().astype(kind), protocol), "a_seg.npy")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, squares())


def test_what_numpy_saves_is_read(tmp_path):
    content: Any = {"masks": squares(), "x": PurePosixPath("a")}
    np.save(tmp_path / "a_seg.npy", content)
    labels = read_cellpose((tmp_path / "a_seg.npy").read_bytes(), "x")
    np.testing.assert_array_equal(labels, squares())
    fortran = seg(np.asfortranarray(squares().astype(np.uint16)[:, :20]))
    np.testing.assert_array_equal(read_cellpose(fortran, "x"), squares()[:, :20])
    np.testing.assert_array_equal(read_cellpose(seg(squares()[None]), "x"), squares())


class Runs:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_that_the_pickle_names_is_run(tmp_path):
    data = seg(squares(), extra=Runs(tmp_path / "made"))
    np.testing.assert_array_equal(read_cellpose(data, "x"), squares())
    with pytest.raises(UserError, match=r"x: not a readable _seg\.npy"):
        read_cellpose(seg(Runs(tmp_path / "made")), "x")
    assert not (tmp_path / "made").exists()
    with pytest.raises(FileNotFoundError):  # the control: NumPy's own reader runs it
        np.load(io.BytesIO(seg(Runs(tmp_path / "none" / "made"))), allow_pickle=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no NumPy file"),
        (seg(squares())[:-9], "_seg"),
        (seg(squares().astype(np.float32)), "masks of type 'f4'"),
        (seg(np.zeros((3, 24, 24), np.uint16)), r"\(3, 24, 24\), not of one plane"),
        (seg(squares() - 1), "mask ids -1"),
        (seg(None), "no array"),
        (seg(np.array([None, 1])), "type 'O8'"),
    ],
)
def test_what_is_no_2d_mask_is_refused_with_the_remedy(data, words):
    with pytest.raises(UserError, match=rf"^x: .*{words}.*; save the masks in Cellpose as PNG"):
        read_cellpose(data, "x")


def test_a_plain_array_is_no_seg_file():
    buffer = io.BytesIO()
    np.save(buffer, squares())
    with pytest.raises(UserError, match="not what Cellpose stores"):
        read_cellpose(buffer.getvalue(), "x")


def test_damaged_bytes_raise_nothing_else():
    whole, rng = bytearray(seg(squares(), img=0, flows=0)), np.random.default_rng(0)
    for _ in range(400):
        broken = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            broken[rng.integers(len(broken))] = rng.integers(256)
        try:
            assert read_cellpose(bytes(broken), "x").dtype == np.int32
        except UserError as error:
            assert "\n" not in str(error)
