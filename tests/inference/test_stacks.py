"""Planes put together, as files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.films import balls, film, renamed
from support.lines import Lines

import nucleist
from nucleist.data.formats.ctc import read_tracks
from nucleist.inference.load import Model
from nucleist.inference.scaling import Trained
from nucleist.inference.stacks import write_stack
from nucleist.models.otsu import otsu
from nucleist.ops.normalize import Percentile
from nucleist.types import UserError

MODEL = Model(otsu("bright"), Percentile(), 0.4, {}, Path("x"), Trained(10, 0.5))


def write(path, frames, axes):
    """Bright nuclei on noise, as an OME-TIFF."""
    rng = np.random.default_rng(0)
    pixels = np.where(np.stack(frames) > 0, 200, 20) + rng.integers(0, 9, np.stack(frames).shape)
    tifffile.imwrite(path, pixels.astype(np.uint8), ome=True, metadata={"axes": axes})
    return path


BALLS = balls([np.array([6.0, 14, 14]), np.array([8.0, 34, 34])], [5, 6], (14, 48, 52))


def test_predict_links_the_planes_of_a_stack(tmp_path):
    path, out, lines = write(tmp_path / "s.ome.tif", BALLS[3:11], "ZYX"), tmp_path / "out", Lines()
    nucleist.predict(MODEL, path, out, z="each", stack="volume", progress=lines)
    found = tifffile.imread(out / "s.ome_volume.tif")
    assert found.shape == (8, 48, 52) and found.max() == 2
    assert lines.notes[-1].endswith("s.ome_volume.tif: 2 nuclei in 3D")
    assert (out / "s.ome_z8_labels.tif").exists()  # of each plane, as without


def test_predict_follows_the_nuclei_of_a_film(tmp_path):
    truth = film(2, frames=4, shape=(64, 64), count=3, radius=8, divides=0)
    path, out = write(tmp_path / "f.ome.tif", truth.frames, "TYX"), tmp_path / "out"
    nucleist.predict(MODEL, path, out, t="each", stack="film")
    assert read_tracks(out / "f.ome_tracks").table.tolist() == truth.table.tolist()


def test_predict_follows_volumes_of_a_film(tmp_path):
    frames = [np.roll(BALLS[3:11], t, axis=2) for t in range(3)]
    path, out = write(tmp_path / "v.ome.tif", frames, "TZYX"), tmp_path / "out"
    nucleist.predict(MODEL, path, out, t="each", z="each", stack="film")
    found = read_tracks(out / "v.ome_tracks")
    assert found.table.tolist() == [[1, 0, 2, 0], [2, 0, 2, 0]] and found.frames[0].ndim == 3
    nucleist.predict(MODEL, path, out, t="each", z="each", stack="volume")  # of each time
    assert [tifffile.imread(out / f"v.ome_t{t}_volume.tif").max() for t in (1, 2, 3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stack": "volume", "t": "each"}, "stack=volume puts planes together; write z=each"),
        ({"stack": "film", "z": "each"}, "stack=film puts planes together; write t=each"),
        ({"stack": "film", "t": "each", "save": "csv"}, "add labels to save="),
        ({"stack": "pile", "t": "each"}, "stack=pile is unknown"),
        ({"stack": "volume", "z": "each", "share": "1/2"}, "use one, without share="),
    ],
)
def test_what_predict_cannot_put_together(options, words, tmp_path):
    path = write(tmp_path / "s.ome.tif", BALLS[5:7], "ZYX")
    with pytest.raises(UserError, match=words):
        nucleist.predict(MODEL, path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


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
