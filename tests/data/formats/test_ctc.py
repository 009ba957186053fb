"""Tracks in the challenge's format: what is written is read back."""

import numpy as np
import pytest

from nucleist.data.formats.ctc import read_tracks, write_tracks
from nucleist.ops.tracking import Tracks
from nucleist.types import UserError


def tracks(shape=(5, 6)):
    frames = [np.zeros(shape, np.int32) for _ in range(3)]
    frames[0][..., 1:3] = 1
    frames[1][..., 1:2] = frames[2][..., 1:2] = 2
    frames[1][..., 4:] = frames[2][..., 4:] = 3
    return Tracks(frames, np.array([[1, 0, 0, 0], [2, 1, 2, 1], [3, 1, 2, 1]]))


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6), (3, 5, 6)])
def test_what_is_written_is_read_back(shape, tmp_path):
    path = write_tracks(tmp_path / "new", tracks(shape))
    assert path.read_text() == "1 0 0 0\n2 1 2 1\n3 1 2 1\n"
    assert sorted(p.name for p in path.parent.iterdir()) == [
        *(f"mask00{t}.tif" for t in range(3)),
        "res_track.txt",
    ]
    found = read_tracks(path.parent)
    assert found.table.tolist() == tracks().table.tolist()
    for one, other in zip(found.frames, tracks(shape).frames, strict=True):
        assert one.dtype == np.int32 and (one == other).all() and one.shape == shape


def test_after_a_gap_there_is_a_new_label(tmp_path):
    one, none = np.ones((3, 3), np.int32), np.zeros((3, 3), np.int32)
    film = Tracks([one, none, one, one], np.array([[1, 0, 3, 0]]))
    found = read_tracks(write_tracks(tmp_path, film).parent)
    assert found.table.tolist() == [[1, 0, 0, 0], [2, 2, 3, 1]]
    assert [int(frame.max()) for frame in found.frames] == [1, 0, 2, 2]


def test_a_daughter_of_a_nucleus_with_a_gap_has_its_last_label_as_mother(tmp_path):
    one, none = np.ones((3, 3), np.int32), np.zeros((3, 3), np.int32)
    film = Tracks([one, none, one, 2 * one], np.array([[1, 0, 2, 0], [2, 3, 3, 1]]))
    found = read_tracks(write_tracks(tmp_path, film).parent)
    assert found.table.tolist() == [[1, 0, 0, 0], [2, 3, 3, 3], [3, 2, 2, 1]]


def test_no_track_at_all(tmp_path):
    empty = Tracks([np.zeros((3, 3), np.int32)], np.zeros((0, 4), np.int64))
    found = read_tracks(write_tracks(tmp_path, empty).parent)
    assert found.table.shape == (0, 4) and not found.frames[0].any()


def test_what_cannot_be_written_or_read_is_said(tmp_path):
    many = np.zeros((2**16, 4), np.int64)
    many[:, 0] = np.arange(1, 2**16 + 1)
    with pytest.raises(UserError, match="65536 tracks, but the format holds 65535"):
        write_tracks(tmp_path, Tracks([np.zeros((2, 2), np.int32)], many))
    with pytest.raises(UserError, match=r"res_track\.txt: not a table of tracks"):
        read_tracks(tmp_path)
    (tmp_path / "res_track.txt").write_text("1 0 0\n")
    with pytest.raises(UserError, match="four numbers a line"):
        read_tracks(tmp_path)
    (tmp_path / "res_track.txt").write_text("1 0 0 0\n")
    with pytest.raises(UserError, match=r"no mask000\.tif"):
        read_tracks(tmp_path)
    (tmp_path / "mask000.tif").write_text("x")
    with pytest.raises(UserError, match="a frame is damaged"):
        read_tracks(tmp_path)
