"""The workers of a cluster: work is handed to them, and what they find comes back."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.cluster import tasks
from nucleist.inference.cluster.asked import EXTRA, Asked
from nucleist.inference.cluster.start import Reached, reached
from nucleist.inference.each import Begun, StoppedError, UnreadableError, Way, outline_one
from nucleist.inference.opened import Item
from nucleist.inference.tiles.found import Found
from nucleist.inference.tiles.grid import Grid
from nucleist.types import Progress, UserError

if TYPE_CHECKING:
    from distributed import Future

LOOK = 2.0
"""Seconds between two looks at which workers are there, while nothing comes back."""

AHEAD = 2
"""Pieces of work that are handed out for each thread, so that none waits for this process."""

SEEN = 30.0
"""Seconds after which files of another machine have to be seen here."""

Key = TypeVar("Key")
Outline = Callable[[], dict[str, Any]]
"""Returns what to record about an image, or raises why it could not be outlined."""


class Piece(NamedTuple):
    """A piece of work.

    Attributes:
        function: Of a module that the workers have too.
        arguments: Plain data.
        name: For messages.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    name: str


@contextmanager
def team_of(
    asked: Asked, recipe: tasks.Recipe, folder: Path, progress: Progress
) -> Iterator["Team"]:
    """The workers of a cluster that was asked for.

    Args:
        asked: Which cluster.
        recipe: How images are outlined.
        folder: Of the results.
        progress: Shows how far the work is, and which workers are lost.

    Raises:
        UserError: If the cluster does not answer or cannot be started.
    """
    with reached(asked, folder, progress) as there:
        yield Team(asked.name, there, recipe, progress)
        with suppress(Exception):  # workers may be gone
            there.client.run(tasks.forget, on_error="ignore")


class Team:
    """The workers of a cluster.

    dask gives what a lost worker was at to the others; a piece of work with which four are lost is
    given up.
    """

    def __init__(self, name: str, there: Reached, recipe: tasks.Recipe, progress: Progress) -> None:
        """Take them on.

        Args:
            name: `cluster=...`, for messages.
            there: The cluster.
            recipe: How images are outlined.
            progress: Shows how far the work is, and which workers are lost.
        """
        self.name, self._cluster, self._recipe, self._progress = name, there, recipe, progress
        self._workers: set[str] = set()
        self._alone, self._renews, self._came = False, False, False

    def images(
        self, way: Way, images: Sequence[Item], begin: Callable[[Item], Begun]
    ) -> Generator[tuple[Begun, Outline], None, None]:
        """Outline images: a worker each, then the large ones one by one, all workers at each.

        Args:
            way: How, in this process, which does what is left of the large ones.
            images: All of them.
            begin: Is called with each when its turn comes.

        Yields:
            The images in the order in which they are done, each with a function that returns what
            to record about it or raises why it could not be outlined.
        """
        every = self._each_image(way, (begin(image) for image in images))
        for _, done in zip(self._progress.watch(images, "outlining"), every, strict=True):
            yield done

    def _each_image(self, way: Way, images: Iterable[Begun]) -> Iterator[tuple[Begun, Outline]]:
        work = (
            (one, Piece(tasks.outline_file, (self._recipe, _absolute(one)), str(one.image)))
            for one in images
        )
        large = []
        for one, result in self._each(work):
            try:
                done = result()
            except UnreadableError as error:
                yield one, partial(_raised, error)
                continue
            if done is None:
                large.append(one)
                continue
            self._tell(done, one, way)
            yield one, partial(dict, done.about)
        for one in large:
            do = partial(self._tiles, one.image)
            yield one, partial(outline_one, way, one, self._progress, do)

    def _tell(self, done: tasks.Done, begun: Begun, way: Way) -> None:
        """Take over what a worker reports, once its files are seen here."""
        until = time.monotonic() + SEEN
        for path in begun.paths.values():
            while not path.exists():
                if time.monotonic() > until:
                    raise StoppedError(
                        f"{path}: a worker of {self.name} wrote it, but it is not seen here; "
                        "results of files need a folder that all workers see"
                    )
                time.sleep(0.1)
        for limit in done.limits:
            way.job.net.limits_reached[limit] = way.job.net.limits_reached.get(limit, 0) + 1
        for is_warning, line in done.said:
            self._progress.warn(line) if is_warning else self._progress.note(line)

    def _tiles(
        self, image: Item, picture: Picture, grid: Grid, todo: Sequence[int]
    ) -> Iterator[tuple[int, Found]]:
        """What tiles of a large image show, as it comes."""
        scale = picture.scale if isinstance(picture, Rescaled) else None
        sight = tasks.Sight(_there(image), scale, grid)
        ((_, result),) = self._each([(0, Piece(tasks.measure, (self._recipe, sight), str(image)))])
        shared = self._recipe, sight, result()
        work = (
            (tile, Piece(tasks.outline_tile, (*shared, tile), f"{image}, tile {tile}"))
            for tile in todo
        )
        watched = self._progress.watch(todo, f"outlining {picture.name}")
        for _, (tile, result) in zip(watched, self._each(work), strict=True):
            yield tile, result()

    def _each(self, work: Iterable[tuple[Key, Piece]]) -> Iterator[tuple[Key, Callable[[], Any]]]:
        """Hand out work, some of it ahead of what is taken.

        Args:
            work: Pieces, each with what it is known by.

        Yields:
            What a piece is known by, and a function that returns what it returned or raises what it
            raised; in the order in which they are done.
        """
        done: SimpleQueue[Future] = SimpleQueue()
        rest = iter(work)
        waiting: dict[Any, tuple[Any, str, Future]] = {}
        while True:
            for key, piece in islice(rest, max(self._room() - len(waiting), 0)):
                submit = self._cluster.client.submit
                future = submit(piece.function, *piece.arguments, pure=False)
                waiting[future.key] = key, piece.name, future  # dask drops what nobody refers to
                future.add_done_callback(done.put)
            if not waiting:
                return
            try:
                future = done.get(timeout=LOOK)
            except Empty:
                continue
            self._came = True
            key, name, _ = waiting.pop(future.key)
            yield key, partial(self._result, future, name)

    def _room(self) -> int:
        """How many pieces of work may be handed out; tells who is lost."""
        try:
            threads: Mapping[str, int] = self._cluster.client.nthreads()
        except (OSError, TimeoutError, CancelledError) as error:
            raise self._gone() from error
        lost, self._workers = self._workers - set(threads), set(threads)
        if lost:
            self._progress.note(
                f"{self.name}: {len(lost)} of the workers lost; the others do again what was theirs"
            )
        if not threads and not self._alone:
            self._progress.note(f"{self.name}: no worker is there; waiting for one")
            # Workers of which none has done anything would end at once again.
            self._renews, self._came = self._came, False
        self._alone = not threads
        if self._alone and self._renews:
            self._cluster.renew()
        return AHEAD * sum(threads.values()) + 1

    def _gone(self) -> StoppedError:
        return StoppedError(
            f"{self.name}: the scheduler is gone; give the same command again, and it goes on with "
            "what is done"
        )

    def _fetched(self, future: "Future") -> Any:
        """The result of work that is done; it is done again if its worker is lost meanwhile."""
        while True:
            try:
                return future.result(timeout=LOOK)
            except TimeoutError:
                if future.status == "error":  # of the work itself
                    raise
                self._room()

    def _result(self, future: "Future", name: str) -> Any:
        from distributed import KilledWorker

        try:
            return self._fetched(future)
        except KilledWorker as error:
            raise UnreadableError(
                f"{name}: {error.allowed_failures + 1} workers of {self.name} were lost with it, "
                "most likely for want of memory; use tile=512, or give workers more"
            ) from error
        except CancelledError as error:
            raise self._gone() from error
        except ModuleNotFoundError as error:
            raise StoppedError(
                f"{self.name}: a worker lacks {error.name}; {EXTRA} where the workers run"
            ) from error


def _raised(error: UserError) -> dict[str, Any]:
    raise error


def _there(image: Item) -> Item:
    """An image by the path that it has for processes that run in another folder."""
    return Item(image.path.absolute(), image.suffix)


def _absolute(begun: Begun) -> Begun:
    paths = {name: path.absolute() for name, path in begun.paths.items()}
    return Begun(_there(begun.image), paths, dict(begun.made_from), begun.work.absolute())
