"""Where every nucleus of an image is labelled: areas as rectangles, and what happens to them.

`nucleist.types.Complete` is True (everywhere), False (nowhere) or a tuple of rectangles. Each
function gives the simplest of the three: an area that covers the image is True.
"""

from collections.abc import Sequence

import numpy as np

from nucleist.types import Complete, Window


def mask_of(complete: Complete, shape: Sequence[int]) -> np.ndarray:
    """The area as a mask.

    Args:
        complete: The area.
        shape: Height and width of the image, pixels.

    Returns:
        `(H, W)` `bool`.
    """
    mask = np.full(shape, complete is True)
    for window in () if isinstance(complete, bool) else complete:
        mask[window.slices] = True
    return mask


def complete_of(mask: np.ndarray) -> Complete:
    """The area of a mask, as few rectangles as a simple rule finds.

    How it works: the runs of each row are rectangles of one pixel's height; a run that the row
    before has too makes that one longer. A rectangle comes back as one.

    Args:
        mask: `(H, W)` `bool`.

    Examples:
        >>> complete_of(np.array([[True, True, False], [True, True, True]]))
        (Window(y0=0, x0=0, y1=1, x1=2), Window(y0=1, x0=0, y1=2, x1=3))
        >>> complete_of(np.ones((2, 2), bool))
        True
    """
    if mask.all() or not mask.any():
        return bool(mask.all())
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    open_runs: dict[tuple[int, int], int] = {}
    found = []
    for y in range(mask.shape[0] + 1):
        row = edges[y] if y < mask.shape[0] else np.zeros(0, np.int8)
        ends = zip(np.flatnonzero(row == 1), np.flatnonzero(row == -1), strict=True)
        runs = {(int(x0), int(x1)) for x0, x1 in ends}
        for x0, x1 in open_runs.keys() - runs:
            found.append(Window(open_runs.pop((x0, x1)), x0, y, x1))
        for run in runs - open_runs.keys():
            open_runs[run] = y
    return tuple(sorted(found))


def inside(complete: Complete, window: Window, shape: tuple[int, int]) -> Complete:
    """The area in the coordinates of a window of the image.

    Args:
        complete: The area in the image.
        window: Cut out of the image; it lies inside.
        shape: Height and width of the image, pixels.
    """
    if isinstance(complete, bool):
        return complete
    return complete_of(mask_of(complete, shape)[window.slices])


def both(one: Complete, other: Complete, shape: tuple[int, int]) -> Complete:
    """The area in which both are complete.

    Args:
        one: An area.
        other: Another of the same image.
        shape: Height and width of the image, pixels.
    """
    if one is True or other is False:
        return other
    if other is True or one is False:
        return one
    return complete_of(mask_of(one, shape) & mask_of(other, shape))


def either(one: Complete, other: Complete, shape: tuple[int, int]) -> Complete:
    """The area in which one of two is complete, or both.

    Args:
        one: An area.
        other: Another of the same image.
        shape: Height and width of the image, pixels.
    """
    if one is True or other is False:
        return one
    if other is True or one is False:
        return other
    return complete_of(mask_of(one, shape) | mask_of(other, shape))


def share_of(complete: Complete, shape: tuple[int, int]) -> float:
    """Share of the image's area that is complete, in [0, 1]."""
    if isinstance(complete, bool):
        return float(complete)
    pixels = sum((w.y1 - w.y0) * (w.x1 - w.x0) for w in complete)
    return pixels / (shape[0] * shape[1])
