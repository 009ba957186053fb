"""Splines: the curve of ImageJ and scipy, and the fewest anchors that hold a mask."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from support.outlined import KINDS, blobs, odd

from nucleist.ops.polygons import inside
from nucleist.ops.splines import FEWEST, GRID, MOST, curve, fit


def imagej_spline(anchors, count):
    """ImageJ's own construction: a natural spline through the anchors continued periodically."""
    n = len(anchors)
    around = np.take(anchors, np.arange(-7, n + 8), axis=0, mode="wrap")
    knots = np.concatenate([[0], np.cumsum(np.sqrt(np.hypot(*np.diff(around, axis=0).T)))])
    spline = CubicSpline(knots, around, bc_type="natural")
    return spline(np.linspace(knots[7], knots[n + 7], count, endpoint=False))


def uneven(seed):
    """6 to 16 anchors around (20, 20), at uneven angles and radii."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 17))
    angle = np.sort(rng.uniform(0, 2 * np.pi, n) + np.linspace(0, 2 * np.pi, n))
    radius = 11 * rng.uniform(0.8, 1.2, n)
    return np.stack([20 + radius * np.cos(angle), 20 + radius * np.sin(angle)], 1)


@pytest.mark.parametrize("seed", range(8))
def test_the_curve_is_that_of_imagej_and_scipy(seed):
    anchors = uneven(seed)
    ours = curve(anchors)
    assert np.abs(ours - imagej_spline(anchors, len(ours))).max() < 2e-3
    closed = np.concatenate([anchors, anchors[:1]])
    knots = np.concatenate([[0], np.cumsum(np.sqrt(np.hypot(*np.diff(closed, axis=0).T)))])
    spline = CubicSpline(knots, closed, bc_type="periodic")
    theirs = spline(np.linspace(0, knots[-1], len(ours), endpoint=False))
    np.testing.assert_allclose(ours, theirs, atol=1e-11)
    np.testing.assert_allclose(ours[0], anchors[0])


def test_repeated_anchors_and_few_anchors():
    square = np.array([[0, 0], [0, 0], [8, 0], [8, 8], [8, 8], [0, 8], [0, 0]], float)
    np.testing.assert_allclose(curve(square), curve(square[[1, 2, 4, 5]]))
    assert len(curve(np.array([[1, 1], [2, 2], [1, 1]], float))) == 2
    assert len(curve(np.zeros((0, 2)))) == 0


def filled(anchors, shape, margin=6):
    """Pixels inside a spline, in a frame around a mask of this shape."""
    return inside(curve(anchors), (-margin, -margin, shape[0] + margin, shape[1] + margin))


def test_few_anchors_hold_the_mask_and_its_iou_is_true():
    labels = blobs(60)
    counts = []
    for label in range(1, 61):
        rows, columns = (labels == label).any(1), (labels == label).any(0)
        mask = (labels == label)[rows][:, columns]
        anchors, iou = fit(mask)
        counts.append(len(anchors))
        pixels, wanted = filled(anchors, mask.shape), np.pad(mask, 6)
        assert iou == np.count_nonzero(pixels & wanted) / np.count_nonzero(pixels | wanted)
        assert iou >= 0.97 and FEWEST <= len(anchors) <= MOST
        assert (anchors * GRID == np.round(anchors * GRID)).all()
    assert np.mean(counts) < 9


def test_a_higher_goal_needs_more_anchors():
    mask = odd()[:32, :26] == KINDS["large"]
    found = [fit(mask, goal) for goal in (0.5, 0.97, 0.99)]
    assert [len(one.anchors) for one in found] == [FEWEST, 7, 9]
    assert found[0].iou < 0.97 <= found[1].iou < 0.99 <= found[2].iou
    comb = np.zeros((20, 40), bool)
    comb[:, ::4] = comb[-3:] = True
    assert len(fit(comb).anchors) <= MOST  # the best there is


@pytest.mark.parametrize("label", KINDS.values(), ids=KINDS)
def test_every_kind_of_nucleus_has_a_spline(label):
    mask = odd() == label
    anchors, iou = fit(mask)
    assert np.isfinite(anchors).all() and 0.3 < iou <= 1
    if label not in (KINDS["hole"], KINDS["two parts"], KINDS["diagonal"]):
        assert iou >= 0.97


@pytest.mark.slow
def test_ten_rounds_leave_area_and_place():
    """Mask, spline, mask, ...: no drift, as from contours through pixel centres."""
    labels = blobs(120, seed=1)
    masks = [labels == label for label in range(1, 121)]
    corner = np.zeros((120, 2))
    first = np.array([moments(mask, c) for mask, c in zip(masks, corner, strict=True)])
    for _ in range(10):
        found = [cropped(mask) for mask in masks]
        corner = corner + np.array([place for _, place in found])
        masks = [filled(fit(mask).anchors, mask.shape) for mask, _ in found]
        corner -= 6
    last = np.array([moments(mask, c) for mask, c in zip(masks, corner, strict=True)])
    assert abs(last[:, 0].sum() / first[:, 0].sum() - 1) <= 1e-3
    moved = last[:, 1:] - first[:, 1:]
    assert np.abs(moved.mean(0)).max() < 0.01  # no direction is preferred
    assert np.hypot(*moved.T).mean() <= 0.05


def moments(mask, corner):
    """Area and centroid (row, column) in the image."""
    places = np.argwhere(mask)
    return [len(places), *(places.mean(0) + corner)]


def cropped(mask):
    """A mask without empty rows and columns around it, and its first row and column."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut, (rows[0], columns[0])
