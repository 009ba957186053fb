"""Label maps as OME-Zarr: blocks, levels, metadata, damage."""

import json

import numpy as np
import pytest
import zarr
from support.outlined import odd

from nucleist.data.formats import label_zarr
from nucleist.data.formats.label_zarr import read_label_zarr, write_label_zarr
from nucleist.types import UserError


@pytest.fixture
def small(monkeypatch):
    """Blocks of 16 pixels, and levels down to 20."""
    monkeypatch.setattr(label_zarr, "BLOCK", 16)
    monkeypatch.setattr(label_zarr, "SMALLEST", 20)


def test_levels_and_metadata(tmp_path, small):
    labels, path = odd(), tmp_path / "a_labels.zarr"
    asked = []

    def paint(window):
        asked.append(window)
        return labels[window.slices]

    write_label_zarr(path, labels.shape, paint, 0.25)
    assert len(asked) == 5 * 4  # blocks of 72 x 64, each once
    np.testing.assert_array_equal(read_label_zarr(path), labels)
    group = zarr.open_group(path, mode="r")
    shapes = [group[level].shape for level in "012"]
    assert shapes == [(72, 64), (36, 32), (18, 16)]
    np.testing.assert_array_equal(group["2"][:], labels[::4, ::4])
    content = json.loads((path / ".zattrs").read_text())
    (multiscale,) = content["multiscales"]
    assert multiscale["version"] == content["image-label"]["version"] == "0.4"
    assert [axis["name"] for axis in multiscale["axes"]] == ["y", "x"]
    assert {axis["unit"] for axis in multiscale["axes"]} == {"micrometer"}
    scales = [one["coordinateTransformations"][0]["scale"] for one in multiscale["datasets"]]
    assert scales == [[0.25, 0.25], [0.5, 0.5], [1.0, 1.0]]


def test_odd_sizes(tmp_path, small):
    labels = np.arange(33 * 41, dtype=np.int32).reshape(33, 41)
    write_label_zarr(tmp_path / "a.zarr", labels.shape, lambda window: labels[window.slices])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["1"][:], labels[::2, ::2])
    np.testing.assert_array_equal(group["2"][:], labels[::4, ::4])


def test_whole_or_not_at_all(tmp_path, small):
    labels, path = odd(), tmp_path / "a.zarr"
    write_label_zarr(path, labels.shape, lambda window: labels[window.slices])

    def broken(window):
        if window.y0:
            raise RuntimeError
        return labels[window.slices]

    with pytest.raises(RuntimeError):
        write_label_zarr(path, labels.shape, broken)
    np.testing.assert_array_equal(read_label_zarr(path), labels)
    write_label_zarr(path, labels.shape, lambda window: labels[window.slices] * 2)
    np.testing.assert_array_equal(read_label_zarr(path), labels * 2)
    assert [one.name for one in tmp_path.iterdir()] == ["a.zarr"]


def test_damage_is_told_in_one_line(tmp_path, small):
    with pytest.raises(UserError, match=r"none\.zarr: no OME-Zarr label map"):
        read_label_zarr(tmp_path / "none.zarr")
    write_label_zarr(tmp_path / "a.zarr", (8, 8), lambda _: np.zeros((8, 8), np.int32))
    (tmp_path / "a.zarr" / ".zattrs").write_text("{}")
    with pytest.raises(UserError, match=r"a\.zarr: no OME-Zarr label map.*save it anew") as told:
        read_label_zarr(tmp_path / "a.zarr")
    assert "\n" not in str(told.value)
