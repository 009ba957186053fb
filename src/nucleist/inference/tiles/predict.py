"""Images of any size through a net: as arrays, or for files, with tiles kept for a next start.

`nucleist.inference.predict` and `Model.predict` come here.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nucleist.data.pictures.picture import Picture
from nucleist.files import holding, make_folder, read_json_if_there, write_json
from nucleist.inference.opened import Item
from nucleist.inference.result import Result
from nucleist.inference.structure import has_structure
from nucleist.inference.tiles.arrays import as_result
from nucleist.inference.tiles.cut import Cut
from nucleist.inference.tiles.outlines import Outlines
from nucleist.inference.tiles.run import Elsewhere, Job, outline_tiles, outlined
from nucleist.inference.tiles.sample import sample
from nucleist.types import Progress

VERSION = 2
"""Of the files of finished tiles: those of another one are done again."""


def predict_picture(job: Job, picture: Picture, cut: Cut, progress: Progress) -> Result:
    """Outline the nuclei of an image of any size.

    Args:
        job: What outlines them.
        picture: The image, rescaled or not; the result is on its own grid.
        cut: How it is cut.
        progress: Shows how far it is.

    Returns:
        Label map, boxes, scores and table; of an image in tiles `labels` is a memory map of a
        temporary file.

    Raises:
        UserError: See `outline_tiles`.
    """
    grid = cut.grid(picture, job.net.can.untileable)
    if grid is None:
        return outlined(job, picture)
    with TemporaryDirectory(prefix="nucleist_tiles_") as folder:
        return as_result(outline_tiles(job, picture, grid, Path(folder), progress))


@contextmanager
def outlining(
    job: Job,
    picture: Picture,
    cut: Cut,
    work: Path,
    origin: str,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> Iterator[Result | Outlines]:
    """The nuclei of an image, as long as they are needed.

    Tiles that are done are kept in a folder until all has ended well. If the work is cut, the next
    start goes on with them, and ends with the same results.

    Args:
        job: What outlines them.
        picture: The image, rescaled or not; the nuclei are on its own grid.
        cut: How it is cut.
        work: The folder for the tiles.
        origin: What the results depend on besides the grid: hashes of image and settings.
        progress: Shows how far it is.
        elsewhere: Does the tiles in place of this process.

    Raises:
        UserError: See `outline_tiles`; or if another process is at work on the same image.
    """
    grid = cut.grid(picture, job.net.can.untileable)
    if grid is None:
        yield outlined(job, picture)
        return
    make_folder(work)
    with holding(work):
        done = _resumed(work, {"origin": origin, "grid": list(astuple(grid)), "version": VERSION})
        size = f"{grid.height} x {grid.width} px in {len(grid)} tiles of {grid.tile}"
        progress.note(f"{picture.name}: {size}" + (f", {done} of them done" if done else ""))
        yield outline_tiles(job, picture, grid, work, progress, elsewhere)
    shutil.rmtree(work, ignore_errors=True)


def warn_of_nothing(picture: Picture, image: Item, threshold: float, progress: Progress) -> None:
    """Warn of an image without nuclei in which something stands out; nothing if nothing does.

    Args:
        picture: The image, large or small.
        image: Where it is from.
        threshold: The score threshold.
        progress: Gets the warning.
    """
    parts = sample(picture)
    if not any(has_structure(part) for part in parts):
        return
    gray = all((part == part[..., :1]).all() for part in parts)
    colors = "" if gray else "; if one colour shows the nuclei, write channel=1 (red), 2 or 3"
    progress.warn(
        f"{image}: no nucleus found, but the image has structure; look at "
        f"{image.stem}_overlay.png, and try score_threshold={threshold / 2:.2g} or train with "
        f"nuclei like these{colors}"
    )


def _resumed(work: Path, about: dict[str, Any]) -> int:
    """Number of tiles that are done; those of another image or with other settings are removed."""
    tiles = list(work.glob("*.npz"))
    if read_json_if_there(work / "about.json") == about:
        return sum(tile.stem.isdecimal() for tile in tiles)
    for tile in tiles:
        tile.unlink()
    write_json(work / "about.json", about)
    return 0
