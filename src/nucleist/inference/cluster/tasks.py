"""What a worker of a cluster does: it loads the model itself, and opens the images itself.

Only plain data reaches a worker, never a net: the path of the model, whose file is read as
everywhere, without running what is in it.
"""

import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nucleist import __version__
from nucleist.config.targets import Trust
from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference import earlier
from nucleist.inference.each import (
    Begun,
    StoppedError,
    UnreadableError,
    Way,
    named,
    opened,
    write_one,
)
from nucleist.inference.load import Model, load
from nucleist.inference.opened import Item
from nucleist.inference.own_grid import own_of
from nucleist.inference.scaling import Scaling
from nucleist.inference.tiles.cut import Cut
from nucleist.inference.tiles.found import Found
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.run import Job, Measured, Reader, found_of, measured
from nucleist.types import Progress, UserError

VERSIONS = f"nucleist {__version__}, torch {torch.__version__}"
"""Of what results depend on: workers have the same."""


@dataclass(frozen=True)
class Recipe:
    """How images are outlined, as data.

    Attributes:
        model: Path or name of the model; see `nucleist.load`, as for the next three.
        options: Options that differ from the training.
        device: Where the net runs.
        trust: Packages whose nets may be built.
        threshold: The score threshold.
        pieces: See `nucleist.inference.tiles.run.Job`, as for the next.
        symmetries: Positions that each image is outlined in.
        choice: Which channel, plane and time.
        scaling: What was said of the scale.
        cut: How large images are cut.
        settings: Hash of all that results depend on, of the model's weights too.
        versions: `VERSIONS` of who hands it out.
    """

    model: str
    options: Mapping[str, Any]
    device: str
    trust: Trust
    threshold: float
    pieces: float
    symmetries: int
    choice: Choice
    scaling: Scaling
    cut: Cut
    settings: str
    versions: str = VERSIONS


class Sight(NamedTuple):
    """A large image, whose windows a worker reads.

    Attributes:
        image: Where it is from.
        scale: Pixels that a net is shown for one of its own, along a side; None if it is not
            rescaled.
        grid: Its tiles.
    """

    image: Item
    scale: float | None
    grid: Grid


class Done(NamedTuple):
    """An image whose results are written.

    Attributes:
        about: What to record about it.
        limits: Limits of the net that were reached.
        said: Lines for the user; True before a warning.
    """

    about: dict[str, Any]
    limits: tuple[str, ...]
    said: tuple[tuple[bool, str], ...]


class Said(Progress):
    """Keeps the lines for the user."""

    def __init__(self) -> None:
        """Begin without any."""
        self.lines: list[tuple[bool, str]] = []

    def note(self, line: str) -> None:
        """Keep a line."""
        self.lines.append((False, line))

    def warn(self, line: str) -> None:
        """Keep a warning."""
        self.lines.append((True, line))


class _Kept:
    """The latest model and the latest large image of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # a net does one image at a time
        self.recipe: Recipe | None = None
        self.way: Way | None = None
        self.sight: Sight | None = None
        self.picture: Picture | None = None

    def close(self) -> None:
        """Close the image and let the model go."""
        self.close_picture()
        self.recipe = self.way = None

    def close_picture(self) -> None:
        """Close the image."""
        if self.picture is not None:
            self.picture.close()
        self.sight = self.picture = None


_KEPT = _Kept()


def outline_file(recipe: Recipe, begun: Begun) -> Done | None:
    """Outline an image and write its results.

    Args:
        recipe: How.
        begun: The image, and where its results go; the folder exists, or this is not the file
            system that the results are meant for.

    Returns:
        What to record about it; None, and nothing is written, of one that is outlined in tiles.

    Raises:
        UserError: See `nucleist.inference.each.outline_one`.
    """
    with _KEPT.lock:
        way, said = _way(recipe), Said()
        folder = begun.work.parent
        if not folder.is_dir():
            raise StoppedError(
                f"{folder}: not there for the worker on {platform.node()}; results of files need a "
                "folder that all workers see"
            )
        way.job.net.limits_reached.clear()
        with opened(way, begun.image, said) as picture:
            with named(begun.image):
                grid = way.cut.grid(picture, way.job.net.can.untileable)
            if grid is not None:
                return None
            about = write_one(way, begun, picture, said)
        return Done(about, tuple(way.job.net.limits_reached), tuple(said.lines))


def measure(recipe: Recipe, sight: Sight) -> Measured:
    """What is measured on a large image before its tiles are outlined.

    Args:
        recipe: How it is outlined.
        sight: The image.
    """
    with _KEPT.lock:
        return measured(_way(recipe).job, _picture(sight, recipe.choice), sight.grid)


def outline_tile(recipe: Recipe, sight: Sight, known: Measured, tile: int) -> Found:
    """What a tile of a large image shows.

    Args:
        recipe: How it is outlined.
        sight: The image.
        known: From `measure`.
        tile: Number of the tile.
    """
    with _KEPT.lock:
        job, picture = _way(recipe).job, _picture(sight, recipe.choice)
        image = Reader(picture, sight.grid, known.normalize).tile(tile)
        return found_of(job, picture, image, known, sight.grid, tile)


def forget() -> None:
    """Close what this process has open."""
    with _KEPT.lock:
        _KEPT.close()


def _way(recipe: Recipe) -> Way:
    """The way of a recipe, with the model that it names."""
    if _KEPT.way is None or _KEPT.recipe != recipe:
        _KEPT.close()
        _KEPT.way, _KEPT.recipe = _made(recipe), recipe
    return _KEPT.way


def _made(recipe: Recipe) -> Way:
    where = f"the worker on {platform.node()}"
    if recipe.versions != VERSIONS:
        raise StoppedError(
            f"{where} has {VERSIONS}, this process {recipe.versions}; install the same on both"
        )
    given: dict[str, Any] = {
        "options": recipe.options,
        "device": recipe.device,
        "trust": recipe.trust,
    }
    try:
        model = load(recipe.model, **given)
    except UserError as error:
        raise StoppedError(f"{where}: {error}") from error
    asked = recipe.threshold, recipe.choice, recipe.pieces, recipe.cut, recipe.scaling
    if earlier.settings_hash(model, *asked, recipe.symmetries) != recipe.settings:
        raise StoppedError(
            f"{recipe.model}: is another model for {where}; give nucleist.predict the path of one "
            "that all see, and its options as options="
        )
    job = Job(model.net, model.normalize, recipe.threshold, recipe.pieces, recipe.symmetries)
    return Way(job, recipe.choice, recipe.scaling, model.trained, recipe.cut)


def _picture(sight: Sight, choice: Choice) -> Picture:
    """The image, which stays open for its next tile."""
    if _KEPT.picture is None or _KEPT.sight != sight:
        _KEPT.close_picture()
        picture = sight.image.open(choice)
        scaled = picture if sight.scale is None else Rescaled(picture, sight.scale)
        own, grid = own_of(scaled), sight.grid
        if (own.height, own.width) != (grid.height, grid.width):
            picture.close()
            raise UnreadableError(f"{sight.image}: is another file on {platform.node()}")
        _KEPT.picture, _KEPT.sight = scaled, sight
    return _KEPT.picture


def recipe_of(given: str | Path | Model, loaded: Model, *rest: Any) -> Recipe:
    """The recipe for a model that is loaded here.

    Args:
        given: As the user gave it.
        loaded: The model.
        *rest: Of the recipe, from `options` on.
    """
    there = not isinstance(given, str) or Path(given).expanduser().exists()
    return Recipe(str(loaded.path.absolute() if there else given), *rest)
