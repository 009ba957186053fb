"""Measurements of nuclei: what scikit-image gives, angles, channels, units, blocks."""

import math

import numpy as np
import pytest
from skimage.measure import regionprops
from support.outlined import KINDS, ellipse, odd, result

from nucleist.data.formats.traced import Traced
from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference import measurements
from nucleist.inference.measurements import SHAPE, Blocks, Measurements, channel_names, shape_of
from nucleist.types import Window


def measured(labels, picture):
    found = result(labels)
    table = Measurements(picture, len(found))
    for nucleus in reversed(list(found.nuclei())):  # the order does not matter
        table.add(Traced(nucleus))
    return table.columns(found.table)


def gray(shape, seed=0):
    return np.repeat(np.random.default_rng(seed).integers(0, 999, (*shape, 1), np.uint16), 3, 2)


def test_shapes_are_those_of_scikit_image():
    columns = measured(odd(), ArrayPicture(gray(odd().shape)))
    for i, region in enumerate(regionprops(odd())):
        row = {name: columns[name][i] for name in SHAPE}
        assert row["axis_major_px"] == pytest.approx(region.axis_major_length)
        assert row["axis_minor_px"] == pytest.approx(region.axis_minor_length, abs=1e-6)
        assert row["perimeter_px"] == pytest.approx(region.perimeter)
        assert row["solidity"] == pytest.approx(region.solidity)
        if region.perimeter:
            circularity = 4 * math.pi * region.area / region.perimeter**2
            assert row["circularity"] == pytest.approx(circularity)
    assert np.isnan(columns["circularity"][KINDS["one pixel"] - 1])


@pytest.mark.parametrize("angle", [0, 0.3, 1.2, math.pi / 2, -0.3, -1.2])
def test_orientation_runs_from_x_downwards(angle):
    y, x = np.mgrid[:60, :60] + 0.5 - 30
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    major, minor, turn, _, circularity, solidity = shape_of(ellipse(across, along, (0, 0), (8, 20)))
    assert turn == pytest.approx(angle, abs=0.02)
    assert major == pytest.approx(40, abs=0.5) and minor == pytest.approx(16, abs=0.5)
    assert 0.6 < circularity < 0.8 and solidity > 0.95


def test_channels_are_measured_one_by_one():
    labels = odd()
    channels = np.random.default_rng(1).normal(5, 2, (*labels.shape, 4)).astype(np.float32)
    picture = ArrayPicture(gray(labels.shape), channels=channels, names=("DAPI", "", "a b", "DAPI"))
    names = ["DAPI", "channel_2", "a_b", "DAPI_4"]
    assert channel_names(picture) == names
    columns = measured(labels, picture)
    for channel, name in enumerate(names):
        for label in KINDS.values():
            values = channels[..., channel][labels == label].astype(np.float64)
            row = [columns[f"{name}_{end}"][label - 1] for end in ("mean", "min", "max", "std")]
            wanted = [values.mean(), values.min(), values.max(), values.std()]
            np.testing.assert_allclose(row, wanted, rtol=1e-9, atol=1e-9)
    assert channel_names(ArrayPicture(gray((4, 4)))) == ["intensity"]


def test_micrometres_only_where_the_size_of_a_pixel_is_known():
    labels = odd()
    without = measured(labels, ArrayPicture(gray(labels.shape)))
    assert not [name for name in without if "um" in name]
    columns = measured(labels, ArrayPicture(gray(labels.shape), pixel_size=0.5))
    table = {**result(labels).table, **columns}
    np.testing.assert_allclose(table["area_um2"], table["area_px"] / 4)
    for name in ("axis_major", "axis_minor", "perimeter"):
        np.testing.assert_allclose(table[f"{name}_um"], table[f"{name}_px"] / 2)
    for name in ("centroid_x", "centroid_y"):
        np.testing.assert_allclose(table[f"{name}_um"], table[name] / 2)


def test_blocks_are_read_once_while_nuclei_come_in_order(monkeypatch):
    monkeypatch.setattr(measurements, "BLOCK", 16)
    monkeypatch.setattr(measurements, "KEPT", 4)
    picture, asked = ArrayPicture(gray((50, 70))), []

    class Counting(ArrayPicture):
        def read_channels(self, window):
            asked.append(window)
            return super().read_channels(window)

    blocks = Blocks(Counting(gray((50, 70))))
    for window in (Window(0, 0, 5, 5), Window(3, 3, 20, 20), Window(10, 10, 32, 32)):
        np.testing.assert_array_equal(blocks.read(window), picture.read_channels(window))
    assert len(asked) == 4
    for window in (Window(48, 64, 50, 70), Window(0, 0, 50, 70), Window(15, 31, 17, 33)):
        np.testing.assert_array_equal(blocks.read(window), picture.read_channels(window))
    assert Window(48, 64, 50, 70) in asked  # cut at the border


def test_other_nuclei_than_those_of_the_table_are_an_error():
    found = result(odd())
    table = Measurements(ArrayPicture(gray(odd().shape)), len(found))
    with pytest.raises(ValueError, match="Expected the 9 nuclei of the table, got 0"):
        table.columns(found.table)
