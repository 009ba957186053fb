"""One image of many through a model: opened, outlined, its results written."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.picture import Picture
from nucleist.inference import earlier
from nucleist.inference.first_pass import settled
from nucleist.inference.opened import Item
from nucleist.inference.outputs import describe
from nucleist.inference.own_grid import own_of
from nucleist.inference.save import write_result
from nucleist.inference.scaling import Scaling, Trained, at_scale
from nucleist.inference.tiles.cut import Cut
from nucleist.inference.tiles.predict import outlining, warn_of_nothing
from nucleist.inference.tiles.run import Elsewhere, Job
from nucleist.types import Progress, UserError


class UnreadableError(UserError):
    """An image that cannot be outlined, while others may be."""


class StoppedError(UserError):
    """What ends the work on all images, even where it is met at one."""


@dataclass(frozen=True)
class Way:
    """How every image is outlined.

    Attributes:
        job: What outlines it.
        choice: Which channel, plane and time.
        scaling: What was said of the scale.
        trained: How large nuclei and pixels were in training.
        cut: How large images are cut.
    """

    job: Job
    choice: Choice
    scaling: Scaling
    trained: Trained
    cut: Cut


class Begun(NamedTuple):
    """An image whose turn it is.

    Attributes:
        image: Where it is from.
        paths: What to write, and where.
        made_from: `image` and `settings`, hashes of what the results depend on.
        work: Folder for tiles that are done.
    """

    image: Item
    paths: Mapping[str, Path]
    made_from: Mapping[str, str]
    work: Path


def outline_one(
    way: Way, begun: Begun, progress: Progress, elsewhere: Elsewhere | None = None
) -> dict[str, Any]:
    """Outline an image and write its results.

    Args:
        way: How.
        begun: The image, and where its results go.
        progress: Shows how far it is.
        elsewhere: Does the tiles of a large image in place of this process.

    Returns:
        What to record about it.

    Raises:
        UnreadableError: If it cannot be outlined.
        UserError: If its results cannot be written.
    """
    with opened(way, begun.image, progress) as picture:
        return write_one(way, begun, picture, progress, elsewhere)


def write_one(
    way: Way,
    begun: Begun,
    picture: Picture,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Outline a picture that is open and write its results; see `outline_one`.

    Args:
        way: How.
        begun: The image, and where its results go.
        picture: From `opened`.
        progress: Shows how far it is.
        elsewhere: Does the tiles of a large image in place of this process.
    """
    image, origin = begun.image, earlier.origin_of(begun.made_from)
    with ExitStack() as stack:
        with named(image):
            where = begun.work, origin, progress, elsewhere
            found = stack.enter_context(outlining(way.job, picture, way.cut, *where))
        own = own_of(picture)
        notes = write_result(found, own, begun.paths, origin, image.title)
    count = len(found.table["label"])
    progress.note(f"{image}: {count} nuclei")
    for line in notes:
        progress.note(line)
    if not count:
        warn_of_nothing(own, image, way.job.threshold, progress)
    return {"nuclei": count, **describe(found, own, image)}


@contextmanager
def opened(way: Way, image: Item, progress: Progress) -> Iterator[Picture]:
    """A picture at the scale of the training.

    Args:
        way: How it is outlined.
        image: The picture.
        progress: Gets what is said of the scale.

    Raises:
        UnreadableError: If it cannot be read.
    """
    job = way.job
    with named(image):
        picture = image.open(way.choice, progress)
    with picture:
        with named(image):
            scaling = settled(job.net, job.normalize, picture, way.scaling, job.threshold, progress)
            scaled = at_scale(picture, scaling, way.trained, progress)
        yield scaled


@contextmanager
def named(image: Item) -> Iterator[None]:
    """Tell what is wrong with an image, or with reading it, from what ends the work on all.

    Args:
        image: The image.
    """
    try:
        yield
    except StoppedError:
        raise
    except UserError as error:
        raise UnreadableError(str(error)) from error
    except MemoryError as error:
        raise UnreadableError(f"{image}: does not fit into memory; use tile=512") from error
