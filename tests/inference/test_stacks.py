"""Planes put together, as files."""

import numpy as np
import pytest
import tifffile
from support.films import balls, film, renamed

from nucleist.data.formats.ctc import read_tracks
from nucleist.inference.stacks import write_stack
from nucleist.types import UserError


def test_a_volume_is_a_label_image_of_its_planes(tmp_path):
    rng = np.random.default_rng(0)
    truth = balls([np.array([6.0, 12, 14]), np.array([8.0, 30, 28])], [5, 6], (16, 40, 44))
    count = write_stack([renamed(rng, z) for z in truth], "volume", tmp_path / "a")
    found = tifffile.imread(tmp_path / "a_volume.tif")
    assert count == 2 and found.dtype == np.uint16 and ((found > 0) == (truth > 0)).all()
    assert {len(np.unique(found[truth == i])) for i in (1, 2)} == {1}


def test_a_film_is_a_folder_of_tracks(tmp_path):
    truth, rng = film(1, frames=4, shape=(64, 64), count=3), np.random.default_rng(1)
    count = write_stack([renamed(rng, frame) for frame in truth.frames], "film", tmp_path / "b")
    found = read_tracks(tmp_path / "b_tracks")
    assert count == len(found.table) == len(truth.table) and len(found.frames) == 4


def test_what_cannot_be_put_together_is_refused(tmp_path):
    plane = np.zeros((4, 5), np.int32)
    with pytest.raises(UserError, match="stack=pile is unknown; use one of volume, film"):
        write_stack([plane], "pile", tmp_path / "a")
    with pytest.raises(UserError, match="planes of 4 x 5, 5 x 4 pixels; give planes of one size"):
        write_stack([plane, plane.T], "volume", tmp_path / "a")
    with pytest.raises(UserError, match="planes of no pixels"):
        write_stack([], "film", tmp_path / "a")
