"""Curves: the numbers that are drawn, and the words beside them."""

import os

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from nucleist.plots import curves
from nucleist.plots.curves import (
    curves_figure,
    mean_and_range,
    moved_apart,
    save_curves,
    save_threshold_curves,
    threshold_figure,
)
from nucleist.types import UserError

RUNS = {
    "PA": [[(0, 0.0), (50, 0.4), (100, 0.6)], [(0, 0.2), (50, 0.4), (100, 0.5)]],
    "baseline": [[(0, 0.1), (100, 0.3)]],
}


def share_of(path, color):
    """Share of the pixels of a picture that have almost this colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    wanted = np.multiply(matplotlib.colors.to_rgb(color), 255)
    return (np.abs(pixels - wanted).max(-1) < 6).mean()


def test_mean_and_range_over_seeds():
    summary = mean_and_range(RUNS["PA"])
    np.testing.assert_allclose(summary.x, [0, 50, 100])
    np.testing.assert_allclose(summary.mean, [0.1, 0.4, 0.55])
    np.testing.assert_allclose(summary.low, [0, 0.4, 0.5])
    np.testing.assert_allclose(summary.high, [0.2, 0.4, 0.6])


def test_seeds_at_other_steps_are_interpolated_where_all_have_values():
    summary = mean_and_range([[(0, 0.0), (10, 1.0), (20, 1.0)], [(5, 0.5), (15, 0.7)]])
    np.testing.assert_allclose(summary.x, [5, 10, 15])
    np.testing.assert_allclose(summary.mean, [0.5, 0.8, 0.85])


@pytest.mark.parametrize(
    "lines",
    [[], [[]], [[(1, 0.0), (1, 0.0)]], [[(2, 0.0), (1, 0.0)]], [[(0, 0.0)], [(5, 0.0)]]],
)
def test_lines_that_cannot_be_drawn_are_refused(lines):
    with pytest.raises(ValueError, match="Expected"):
        mean_and_range(lines)


def test_the_figure_draws_seeds_thin_means_thick_and_the_range_as_a_band():
    (axes,) = curves_figure(RUNS, x_label="iteration", y_label="mAP").axes
    thick = [line for line in axes.lines if line.get_linewidth() > 2]
    thin = [line for line in axes.lines if line.get_linewidth() < 1]
    assert [line.get_label() for line in thick] == ["PA", "baseline"]
    np.testing.assert_allclose(thick[0].get_ydata(), [0.1, 0.4, 0.55])
    assert [line.get_ydata().tolist() for line in thin] == [[0, 0.4, 0.6], [0.2, 0.4, 0.5]]
    (band,) = axes.collections  # one seed has no range
    assert band.get_paths()[0].get_extents().extents.tolist() == [0, 0, 100, 0.6]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "mAP")
    assert axes.get_ylim()[0] == 0


def test_each_curve_is_named_at_its_end_in_its_colour():
    (axes,) = curves_figure(RUNS, x_label="", y_label="").axes
    names = {text.get_text(): text for text in axes.texts}
    assert set(names) == set(RUNS) and axes.get_legend() is None
    assert names["PA"].xy == (100, pytest.approx(0.55))
    assert [names[n].get_color() for n in RUNS] == list(curves.COLORS[:2])
    below, above = sorted(text.xyann[1] for text in axes.texts)
    assert above - below >= curves.TEXT_GAP - 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_names_keep_their_distance_and_their_order(seed):
    heights = np.sort(np.random.default_rng(seed).random(8)).tolist()
    moved = moved_apart(heights)
    assert np.diff(moved).min() >= curves.TEXT_GAP - 1e-9
    assert 0 <= moved[0] and moved[-1] <= 1 + 1e-9
    assert moved_apart([0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9])  # far apart: left alone


def test_more_models_than_colours_are_told_apart_by_dashes():
    runs = {f"model {i}": [[(0, i / 20), (1, i / 20)]] for i in range(14)}
    (axes,) = curves_figure(runs, x_label="", y_label="").axes
    assert len({(line.get_color(), str(line.get_linestyle())) for line in axes.lines}) == 14
    assert axes.lines[0].get_color() == axes.lines[7].get_color()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files_are_whole_and_of_the_kind_of_their_suffix(tmp_path, suffix):
    path = tmp_path / "new" / f"curves.{suffix}"
    save_curves(path, RUNS, title="a title")
    assert os.listdir(path.parent) == [path.name]
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)


def test_the_picture_shows_each_colour(tmp_path):
    save_curves(tmp_path / "a.png", RUNS)
    used, unused = curves.COLORS[:2], curves.COLORS[2:6]
    assert all(share_of(tmp_path / "a.png", color) > 0.002 for color in used)
    assert all(share_of(tmp_path / "a.png", color) == 0 for color in unused)


def test_a_single_point_is_drawn_too():
    (axes,) = curves_figure({"one": [[(100, 0.5)]]}, x_label="", y_label="").axes
    assert [line.get_marker() for line in axes.lines] == ["o"]


def test_the_fixed_and_the_chosen_thresholds_are_marked(tmp_path):
    runs = {"PA": [[(0.1, 0.6), (0.5, 0.4), (0.9, 0.0)]], "naive": [[(0.1, 0.3), (0.9, 0.0)]]}
    (axes,) = threshold_figure(runs, chosen={"PA": 0.3}, fixed=0.5, y_label="mAP").axes
    first, second, fixed, dot = axes.lines
    assert list(fixed.get_xdata()) == [0.5, 0.5]
    # half way from 0.6 to 0.4, in the colour of the curve
    assert dot.get_xydata().tolist() == [[0.3, pytest.approx(0.5)]]
    assert dot.get_color() == first.get_color() != second.get_color()
    assert "fixed at 0.5" in [text.get_text().strip() for text in axes.texts]
    assert "calibrated" in axes.get_xlabel()
    (plain,) = threshold_figure(runs, chosen=None, fixed=None, y_label="mAP").axes
    assert len(plain.lines) == len(plain.texts) == 2 and plain.get_xlabel() == "score threshold"
    save_threshold_curves(tmp_path / "a.png", runs, chosen={"PA": 0.3})
    save_threshold_curves(tmp_path / "b.png", runs, fixed=None)
    with_line, without = (share_of(tmp_path / name, "0.55") for name in ("a.png", "b.png"))
    assert with_line > 1.25 * without


def test_bad_calls_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        save_curves(tmp_path / "a.png", {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        save_curves(tmp_path / "file" / "a.png", RUNS)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("low", "high", "bottom"), [(0.1, 0.9, 0.0), (0.6, 0.65, 0.595), (-0.2, 0.5, -0.2), (0, 0, 0)]
)
def test_the_axis_begins_at_0_unless_all_values_are_far_from_it(low, high, bottom):
    axes = Figure().add_subplot()
    curves.fit_height(axes, low, high)
    assert axes.get_ylim()[0] == pytest.approx(bottom)
    assert axes.get_ylim()[1] > high
