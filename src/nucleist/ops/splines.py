"""Closed cubic splines through few anchors: the curve that ImageJ draws, and its fit to a mask.

ImageJ's "spline fit" of a polygon selection (`PolygonRoi.fitSpline`, `SplineFitter`) is a cubic
spline with centripetal knots: the parameter grows by the square root of the distance between two
anchors. It continues the anchors by seven on either side and ends naturally, which is the periodic
spline to a thousandth of a pixel.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from nucleist.ops.polygons import Ring, inside, middle, outlines, signed_area

FEWEST, MOST = 6, 24
GRID = 256
"""Anchors lie on multiples of 1/256 px, which 32-bit floats hold up to 65,536 px."""

_SAMPLES = 128
_GAINS = (1.4, 1.0, 0.7, 0.4, 0.4, 0.4, 0.4, 0.4)
"""Shares of the measured error by which the steps of `_adjusted` correct. Pixels come and go in
runs along level edges: small steps end where whole ones would swing to and fro."""

_AREA_WEIGHT, _CLOSE = 5, 0.01


class Spline(NamedTuple):
    """A closed spline in the place of a mask.

    Attributes:
        anchors: `(K, 2)` `float64`, x and y, pixels from the mask's upper left corner; K from
            `FEWEST` to `MOST`.
        iou: Of the pixels whose centre it encloses with the mask, in [0, 1].
    """

    anchors: np.ndarray
    iou: float


def curve(anchors: np.ndarray, spacing: float = 0.25) -> Ring:
    """Evaluate ImageJ's closed spline through anchors.

    Args:
        anchors: `(N, 2)` x and y, pixels; anchors that repeat the one before are dropped.
        spacing: Distance of the evaluated points along the anchors' polygon, pixels, about.

    Returns:
        `(M, 2)` `float64`, x and y, beginning at the first anchor; the anchors themselves if
        there are fewer than three.
    """
    points = _distinct(np.asarray(anchors, np.float64))
    count = len(points)
    if count < 3:
        return points
    around = np.concatenate([points[-1:], points, points[:1]])
    steps = around[1:] - around[:-1]
    chords = np.hypot(steps[:, 0], steps[:, 1])
    widths = np.sqrt(chords)[1:]
    bend = _second_derivatives(steps, np.sqrt(chords))
    knots = np.concatenate([[0.0], np.cumsum(widths)])
    samples = int(np.clip(chords[1:].sum() / spacing, 8 * count, 20_000))
    place = np.arange(samples) * (knots[-1] / samples)
    at = np.minimum(np.searchsorted(knots, place, side="right") - 1, count - 1)
    width = widths[at]
    right = ((place - knots[at]) / width)[:, None]
    left, scale = 1 - right, (width * width / 6)[:, None]
    straight = left * points[at] + right * around[at + 2]
    bent = (left**3 - left) * bend[at] + (right**3 - right) * bend[at + 1]
    return straight + scale * bent


def fit(mask: np.ndarray, goal: float = 0.97) -> Spline:
    """Find a spline of few anchors that encloses the pixels of a mask.

    How it works: for 6, 7, ... anchors the outline, sampled evenly, is approximated by least
    squares, and the spline through these anchors is filled. The first number that reaches the goal
    is taken; if 24 do not, the best. The spline is then scaled and moved by fractions of a pixel,
    so that it encloses as many pixels as the mask has, around the same centroid. Of a mask in
    several parts it is the largest; holes are filled; `iou` says what that costs.

    Args:
        mask: `(H, W)` `bool`, at least one pixel.
        goal: IoU to reach, in [0, 1].
    """
    ring = outlines(mask)[0][0]
    samples, around = _resampled(ring), _frame(mask.shape)
    body = inside(ring, around)
    wanted = np.pad(mask, _MARGIN)
    area, center = int(np.count_nonzero(body)), middle(ring)
    best = Spline(ring, -1.0)
    for count in range(FEWEST, MOST + 1):
        basis, inverse = _basis(count)
        anchors = inverse @ samples
        grown = np.sqrt(area / abs(signed_area(basis @ anchors)))
        found = _filled(center + (anchors - center) * grown, wanted, around)[0]
        best = max(best, found, key=lambda one: one.iou)
        if best.iou >= goal:
            break
    return _adjusted(best, body, wanted, around, goal)


_MARGIN = 4
"""Pixels around the mask that are looked at: a spline swings out that far at most."""


def _frame(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    return (-_MARGIN, -_MARGIN, shape[0] + _MARGIN, shape[1] + _MARGIN)


def _filled(
    anchors: np.ndarray, wanted: np.ndarray, around: tuple[int, int, int, int]
) -> tuple[Spline, np.ndarray]:
    """A spline with anchors on the grid, and the pixels that it encloses."""
    anchors = np.round(anchors * GRID) / GRID
    pixels = inside(curve(anchors), around)
    both = int(np.count_nonzero(pixels & wanted))
    return Spline(anchors, both / int(np.count_nonzero(pixels | wanted))), pixels


def _adjusted(
    spline: Spline,
    body: np.ndarray,
    wanted: np.ndarray,
    around: tuple[int, int, int, int],
    goal: float,
) -> Spline:
    """The spline, scaled and moved so that it holds as many pixels as the body, in its place."""
    area, center = _moments(body)
    floor = min(goal, spline.iou)
    found, best, least = spline, spline, np.inf
    for gain in _GAINS:
        found, pixels = _filled(found.anchors, wanted, around)
        if not pixels.any():
            break
        count, place = _moments(pixels)
        shift = center - place
        error = _AREA_WEIGHT * abs(count - area) / area + float(np.hypot(shift[0], shift[1]))
        if error < least and found.iou >= floor:
            best, least = found, error
        if error < _CLOSE:
            break
        grown = (found.anchors - place) * (area / count) ** (gain / 2)
        found = Spline(place + gain * shift + grown, 0.0)
    return best


def _moments(pixels: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of pixels, and their centroid in the frame of the mask."""
    rows, columns = np.nonzero(pixels)
    return len(rows), np.array([columns.mean(), rows.mean()]) + 0.5 - _MARGIN


def _distinct(points: np.ndarray) -> np.ndarray:
    """Without points that repeat the one before, around the end too."""
    if len(points):
        repeats = (points[1:] == points[:-1]).all(1)
        points = points[np.concatenate([[True], ~repeats])]
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    return points


def _second_derivatives(steps: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Of the periodic spline at its knots, the first again at the end; `(N + 1, 2)`.

    The equations are those of any cubic spline (such as Numerical Recipes, eq. 3.3.7). Here a
    dense system of some ten unknowns is faster than `CubicSpline`, which a test compares.
    """
    before, after = widths[:-1], widths[1:]
    count = len(after)
    slopes = steps / widths[:, None]
    matrix = np.zeros((count, count))
    here = np.arange(count)
    matrix[here, here] = 2 * (before + after)
    matrix[here, here - 1] += before  # -1 is the last
    matrix[here - 1, here] += before
    found = np.linalg.solve(matrix, 6 * (slopes[1:] - slopes[:-1]))
    return np.concatenate([found, found[:1]])


@functools.cache
def _basis(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Even samples of the spline through `count` even anchors, as a matrix, and its inverse."""
    unit = np.eye(count)
    knots = np.arange(count + 1.0)
    spline = CubicSpline(knots, np.concatenate([unit, unit[:1]]), bc_type="periodic")
    basis = spline(np.arange(_SAMPLES) * (count / _SAMPLES))
    return basis, np.linalg.pinv(basis)


def _resampled(ring: Ring) -> np.ndarray:
    """Points at even distances around a ring, `(_SAMPLES, 2)`."""
    closed = np.concatenate([ring, ring[:1]])
    steps = closed[1:] - closed[:-1]
    way = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    at = np.arange(_SAMPLES) * (way[-1] / _SAMPLES)
    return np.stack([np.interp(at, way, closed[:, 0]), np.interp(at, way, closed[:, 1])], 1)
