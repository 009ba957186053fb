"""The tiles of an image through a net, while the next ones are read."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.inference.own_grid import outline_window, own_of, seen_of
from nucleist.inference.result import Result, to_result
from nucleist.inference.tiles.found import Found, Store, empty, found_in, named, owned, too_large
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.outlines import Outlines
from nucleist.inference.tiles.sample import fitted, survey
from nucleist.inference.tiles.seams import settle
from nucleist.models.net import Net, Surveyed
from nucleist.types import Progress, UserError, Window, one_of

LOADERS = 2
"""Threads that read and normalise the next tiles."""


@dataclass(frozen=True)
class Job:
    """What outlines nuclei, and which of them count.

    Attributes:
        net: In eval mode.
        normalize: The normalisation it was trained with.
        threshold: Detections with a higher score count, in [0, 1].
        pieces: Pieces of a nucleus below this share of its largest one are dropped, in [0, 1].
        symmetries: 1, or 8: what the net finds in the eight positions of the square, by votes.

    Raises:
        UserError: If `pieces` or `symmetries` is no such number.
    """

    net: Net
    normalize: Any
    threshold: float
    pieces: float = 0
    symmetries: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.pieces <= 1:
            raise UserError(f"pieces={self.pieces} is not in [0, 1]")
        one_of("symmetries", self.symmetries, (1, 8))


class Measured(NamedTuple):
    """What is measured on an image as a whole, so that all its tiles are outlined alike.

    Attributes:
        normalize: Does to each tile what it does to the image.
        surveyed: From `Net.survey`; None if the net measures nothing.
    """

    normalize: Callable[[np.ndarray], np.ndarray]
    surveyed: Surveyed | None


Elsewhere = Callable[[Picture, Grid, Sequence[int]], Iterable[tuple[int, Found]]]
"""Outlines tiles of a picture in other processes: their numbers with what they show, as they come.
"""


def outlined(job: Job, picture: Picture) -> Result:
    """Outline the nuclei of an image that is not cut.

    Args:
        job: What outlines them.
        picture: The image, rescaled or not; the result is on its own grid.
    """
    whole = own_of(picture).whole
    pixels = picture.read(seen_of(picture, whole))
    return _result(job, picture, whole, job.normalize(pixels), None)


def _result(
    job: Job,
    picture: Picture,
    window: Window,
    image: np.ndarray,
    surveyed: Surveyed | None,
) -> Result:
    """The nuclei of a window of the picture's own grid, of which `image` is shown to the net."""
    names = job.net.can.shape_parameters
    how = names, job.threshold, surveyed, job.symmetries
    found = outline_window(job.net, image, picture, window, *how)
    return to_result(found, job.threshold, names, job.pieces)


def outline_tiles(
    job: Job,
    picture: Picture,
    grid: Grid,
    folder: Path,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> Outlines:
    """Outline the nuclei of an image tile by tile, with the memory of some tiles.

    Args:
        job: What outlines them.
        picture: The image, rescaled or not.
        grid: Its tiles, on its own grid.
        folder: Where finished tiles are stored, a file each; those that are there already, of the
            same job and image, are not done again. The outlines need it as long as they are read.
        progress: Shows how far it is, and the nuclei that are too large for the overlap.
        elsewhere: Does the tiles in place of this process.

    Returns:
        The nuclei, the same whatever the order of the tiles.

    Raises:
        UserError: If the image cannot be read, or the normalisation knows no tiles.
    """
    store = Store(folder, 3 * grid.cols + 3)
    todo = [tile for tile in range(len(grid)) if tile not in store]
    do = elsewhere or partial(_here, job, progress)
    said = bool(todo) and _do(do(picture, grid, todo), picture, grid, store, progress)
    outlines = Outlines(grid, store, settle(grid, store), job.net.can.shape_parameters)
    if len(outlines.large) > said:
        progress.warn(f"{picture.name}: {named(outlines.large, grid)}")
    for limit in outlines.limits:
        job.net.limits_reached[limit] = job.net.limits_reached.get(limit, 0) + 1
    return outlines


def _do(
    tiles: Iterable[tuple[int, Found]],
    picture: Picture,
    grid: Grid,
    store: Store,
    progress: Progress,
) -> bool:
    """Store what tiles show, as they come; whether a nucleus was too large for them."""
    said = False
    for tile, found in tiles:
        large = found.windows[too_large(found, grid, tile) & owned(found, grid, tile)]
        if len(large) and not said:  # at once, as there may be hours to go
            progress.warn(f"{picture.name}: {named(large, grid)}")
            said = True
        store.add(tile, found)
    return said


def _here(
    job: Job, progress: Progress, picture: Picture, grid: Grid, todo: Sequence[int]
) -> Iterator[tuple[int, Found]]:
    """What some tiles show, in this process."""
    known = measured(job, picture, grid)
    reader = Reader(picture, grid, known.normalize)
    before = dict(job.net.limits_reached)
    for tile, image in reader.ahead(todo, progress, picture.name):
        yield tile, found_of(job, picture, image, known, grid, tile)
    job.net.limits_reached.clear()
    job.net.limits_reached.update(before)


def measured(job: Job, picture: Picture, grid: Grid) -> Measured:
    """What is measured on an image before its tiles are outlined.

    Args:
        job: What outlines them.
        picture: The image, rescaled or not.
        grid: Its tiles.

    Raises:
        UserError: See `nucleist.inference.tiles.sample.fitted`.
    """
    normalize = fitted(job.normalize, picture)
    margin = grid.margin * picture.height // grid.height  # as many pixels of what the net is shown
    shown = Reader(picture, grid, normalize).shown
    return Measured(normalize, survey(job.net, picture, margin, shown))


def found_of(
    job: Job,
    picture: Picture,
    image: np.ndarray | None,
    known: Measured,
    grid: Grid,
    tile: int,
) -> Found:
    """What a tile shows.

    Args:
        job: What outlines it.
        picture: The image, rescaled or not.
        image: Its normalised pixels, from `Reader`; None where nothing is.
        known: What was measured on the image.
        grid: All tiles.
        tile: Its number.
    """
    if image is None:
        return empty(job.net.can.shape_parameters)
    job.net.limits_reached.clear()
    result = _result(job, picture, grid.window(tile), image, known.surveyed)
    return found_in(result, grid, tile, tuple(job.net.limits_reached))


class Reader:
    """Reads and normalises tiles, some ahead of the net."""

    def __init__(
        self, picture: Picture, grid: Grid, normalize: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Wrap an image.

        Args:
            picture: Rescaled or not.
            grid: Its tiles.
            normalize: Of its windows.
        """
        self._picture, self._grid, self._normalize = picture, grid, normalize
        self._one_at_a_time = threading.Lock()  # few readers of files bear two threads

    def shown(self, window: Window) -> np.ndarray:
        """The normalised pixels of a window of what the net is shown, `(h, w, 3)` `float32`."""
        return self._normalize(self._pixels(window))

    def ahead(
        self, tiles: Sequence[int], progress: Progress, name: str
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Tiles with their normalised pixels, None where all are of one value: nothing is there."""
        rest = iter(tiles)
        with ThreadPoolExecutor(LOADERS) as threads:
            waiting: deque[Future[np.ndarray | None]] = deque(
                threads.submit(self.tile, tile) for tile in islice(rest, LOADERS)
            )
            for tile in progress.watch(tiles, f"outlining {name}"):
                image = waiting.popleft().result()
                following = next(rest, None)
                if following is not None:
                    waiting.append(threads.submit(self.tile, following))
                yield tile, image

    def _pixels(self, window: Window) -> np.ndarray:
        with self._one_at_a_time:
            return self._picture.read(window)

    def tile(self, tile: int) -> np.ndarray | None:
        """The normalised pixels of a tile, None where all are of one value."""
        pixels = self._pixels(seen_of(self._picture, self._grid.window(tile)))
        return None if (pixels == pixels[0, 0]).all() else self._normalize(pixels)
