"""Scores with intervals: what is drawn, and where."""

from PIL import Image

from nucleist.plots.intervals import IntervalCurve, interval_figure, save_intervals

CURVES = [
    IntervalCurve("PA", {25.0: (0.6, 0.55, 0.63), 5.0: (0.5, 0.4, 0.6)}),
    IntervalCurve("Mask R-CNN", {100.0: (0.7, 0.65, 0.72)}),
]


def test_points_and_bars_are_where_they_should_be():
    (axes,) = interval_figure(CURVES, "labels", "mAP").axes
    line, _, (bars,) = axes.containers[0]
    x, y = line.get_data()
    assert y.tolist() == [0.5, 0.6] and x[0] < x[1]
    ends = [segment[:, 1].round(9).tolist() for segment in bars.get_segments()]
    assert ends == [[0.4, 0.6], [0.55, 0.63]]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "25", "100"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["PA", "Mask R-CNN"]


def test_lines_at_one_place_do_not_cover_each_other():
    one = [curve._replace(points={5.0: (0.5, 0.4, 0.6)}) for curve in CURVES]
    (axes,) = interval_figure(one, "labels", "mAP").axes
    first, second = (float(c[0].get_xdata()[0]) for c in axes.containers)
    assert first < 5 < second < 5.2


def test_a_picture_is_written(tmp_path):
    save_intervals(tmp_path / "a.png", CURVES, "labels", "mAP")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 400
