"""Masks to polygons and back, pixel for pixel.

Coordinates are x and y in pixels: pixel (row i, column j) is the square from (j, i) to
(j + 1, i + 1). A mask's outline runs half-way between the centres of pixels inside and outside, so
that filling it by the rule of `inside` gives the mask again; its corners are cut, so that it is
half a pixel smaller than the mask, whatever the size.
"""

import numpy as np
from skimage.measure import find_contours

Ring = np.ndarray
"""`(N, 2)` `float64`, x and y, pixels; the last vertex is joined to the first."""


def outlines(mask: np.ndarray) -> list[list[Ring]]:
    """Trace a mask.

    Args:
        mask: `(H, W)` `bool`.

    Returns:
        A polygon for each 4-connected part, the largest first: its outer ring, counterclockwise
        where y points up, and its holes, clockwise. Vertices lie on multiples of half a pixel;
        none lies between its neighbours on one line.
    """
    padded = np.pad(np.asarray(mask, np.float32), 1)
    found = find_contours(padded, 0.5, fully_connected="low")
    rings = [_straightened(contour[:-1, ::-1] - 0.5) for contour in found]
    outer = [ring for ring in rings if signed_area(ring) > 0]
    polygons = [[ring] for ring in sorted(outer, key=signed_area, reverse=True)]
    for hole in rings:
        if signed_area(hole) < 0:
            around = [polygon for polygon in polygons if _holds(polygon[0], hole[0])]
            around[-1].append(hole)  # the smallest that holds it
    return polygons


def signed_area(ring: Ring) -> float:
    """Area inside a ring, square pixels, negative where it runs clockwise with y up."""
    x, y = (ring - ring[0]).T  # the products that are left out are 0
    return float(x[:-1] @ y[1:] - y[:-1] @ x[1:]) / 2


def middle(ring: Ring) -> np.ndarray:
    """Centroid `(2,)` of the area inside a ring that does not cross itself; x and y, pixels."""
    x, y = (ring - ring[0]).T  # near 0: far from it differences of products lose digits
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    both = np.array([(x[:-1] + x[1:]) @ cross, (y[:-1] + y[1:]) @ cross])
    return ring[0] + both / (3 * cross.sum())


def inside(ring: Ring, window: tuple[int, int, int, int]) -> np.ndarray:
    """Which pixels of a window have their centre inside a ring, by the even-odd rule.

    A centre on an edge lies inside if the polygon is to the right of it, or below it where the edge
    is level: of two polygons that share an edge exactly one has it.

    Args:
        ring: The outline.
        window: First row, first column, and those behind the last.

    Returns:
        `(h, w)` `bool`.
    """
    # A centre is inside if it sees an odd number of edges to the left. Crossings are computed in
    # the coordinates of the image, whatever the window: rounding must not give an edge's pixel to
    # both neighbours or to none.
    top, left, bottom, right = window
    ends = np.stack([ring, np.concatenate([ring[1:], ring[:1]])], 1)
    # Each edge from its upper end, so that both neighbours compute the same crossings.
    upward = ends[:, 0, 1] > ends[:, 1, 1]
    ends[upward] = ends[upward, ::-1]
    (x0, y0), (x1, y1) = ends[:, 0].T, ends[:, 1].T
    # An edge crosses the rows whose centres are in [y0, y1).
    first, stop = (np.clip(np.ceil(v - 0.5), top, bottom).astype(np.int64) for v in (y0, y1))
    counts = stop - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    along = (rows + 0.5 - y0[edge]) / (y1 - y0)[edge]
    crossings = x0[edge] + along * (x1 - x0)[edge]
    columns = np.clip(np.ceil(crossings - 0.5), left, right).astype(np.int64)
    toggles = np.zeros((bottom - top, right - left + 1), np.int64)
    np.add.at(toggles, (rows - top, columns - left), 1)
    return np.cumsum(toggles[:, :-1], axis=1) % 2 == 1


def _straightened(ring: Ring) -> Ring:
    """Without the vertices at which it does not turn."""
    before, after = ring - np.roll(ring, 1, 0), np.roll(ring, -1, 0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return ring[turns]


def _holds(ring: Ring, point: np.ndarray) -> bool:
    """Whether a point that is not on a ring lies inside."""
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, 0).T
    crossed = (y0 > point[1]) != (y1 > point[1])
    x = x0[crossed] + (point[1] - y0[crossed]) * (x1 - x0)[crossed] / (y1 - y0)[crossed]
    return bool(np.count_nonzero(x < point[0]) % 2)
