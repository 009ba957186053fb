"""Write what was found in an image: which files, by what names, whole or not at all each."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from nucleist.data.formats.coco_writer import writing_coco
from nucleist.data.formats.geojson_writer import writing_geojson
from nucleist.data.formats.imagej_writer import writing_rois
from nucleist.data.formats.label_maps import write_label_blocks, write_label_map
from nucleist.data.formats.label_zarr import write_label_zarr
from nucleist.data.formats.traced import NucleusWriter, Traced
from nucleist.data.pictures.picture import ArrayPicture, Picture
from nucleist.files import checksum, replacing
from nucleist.inference.measurements import Measurements
from nucleist.inference.overlay import overlay
from nucleist.inference.result import Result, Table, as_image, write_table
from nucleist.types import Nucleus, UserError, Window

ENDS = {
    "overlay": "_overlay.png",
    "csv": "_nuclei.csv",
    "coco": "_coco.json",
    "geojson": "_labels.geojson",
    "imagej": "_rois.zip",
    "splines": "_splines.geojson",
    "zarr": "_labels.zarr",
    "labels": "_labels.tif",
}
"""What can be saved, and the end of its name; in the order of writing."""

DEFAULT = ("labels", "overlay", "csv")
OF_NUCLEI = ("csv", "coco", "geojson", "imagej", "splines", "zarr")
"""Those that `write_nuclei` writes; the others are pictures."""


LARGE = 10_000
"""Sides of images (pixels) from which on six digits do not name a hundredth of a pixel."""


class Outlined(Protocol):
    """The nuclei of an image, in memory or not.

    Attributes:
        table: A line for each nucleus, by label; see `nucleist.inference.result.Result`.
    """

    @property
    def table(self) -> Table:
        """See above."""

    def nuclei(self) -> Iterator[Nucleus]:
        """The nuclei one by one, in any order; no two share a pixel."""

    def paint(self, window: Window) -> np.ndarray:
        """The label map of a window of the image, `(h, w)` `int32`."""


def chosen(save: str | Sequence[str]) -> tuple[str, ...]:
    """What is to be saved, each once, in the order of writing.

    Args:
        save: Names of `ENDS`; a text may have several with commas between them.

    Raises:
        UserError: If one is unknown, or none is given.
    """
    names = save.split(",") if isinstance(save, str) else list(save)
    asked = {str(name).strip() for name in names} - {""}
    for name in sorted(asked):
        if name not in ENDS:
            raise UserError(f"save={name}: unknown; use some of {','.join(ENDS)}")
    if not asked:
        raise UserError(f"save: names nothing; use some of {','.join(ENDS)}")
    return tuple(name for name in ENDS if name in asked)


def paths_of(output: Path, save: Sequence[str]) -> dict[str, Path]:
    """The files that are written, by what they are.

    Args:
        output: Where the results of an image go, without the ending.
        save: As from `chosen`.
    """
    return {name: output.with_name(output.name + ENDS[name]) for name in save}


def save_result(
    result: Result,
    image: str | Path | np.ndarray,
    output: str | Path,
    save: str | Sequence[str] = DEFAULT,
    *,
    pixel_size: float | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the nuclei of one image, as `predict` does: for instance `save="geojson,imagej"`.

    Args:
        result: Its nuclei, from `Model.predict`.
        image: The image that was outlined.
        output: Where the files go, without the ending that each gets: `results/a`.
        save: Some of `labels`, `overlay`, `csv`, `coco`, `geojson`, `imagej`, `splines` and `zarr`;
            see docs/predict.md.
        pixel_size: Width of a pixel, micrometres; None if it is not known.
        overwrite: Replace files that are there.

    Returns:
        The files by what they are. What a format cannot hold is a Python warning.

    Raises:
        UserError: If the image cannot be read, or a file is there already or cannot be written.
    """
    paths = paths_of(Path(output).expanduser(), chosen(save))
    for path in paths.values() if not overwrite else ():
        if path.exists():
            raise UserError(f"{path}: is there already; choose another place, or overwrite=True")
    pixels = as_image(image)
    name = image if isinstance(image, str | Path) else output
    picture = ArrayPicture(pixels, Path(name).name, pixel_size=pixel_size)
    origin = checksum([("labels", [result.labels])])
    for line in write_result(result, picture, paths, origin):
        warnings.warn(line, stacklevel=2)
    return paths


def write_result(
    result: Outlined,
    picture: Picture,
    paths: Mapping[str, Path],
    origin: str = "",
    image_file: str = "",
) -> list[str]:
    """Write the results of one image.

    Args:
        result: Its nuclei.
        picture: The image as it was read.
        paths: What to write, and where; see `nucleist.inference.save.paths_of`.
        origin: What the labels were made from; see `nucleist.data.formats.traced.nucleus_id`.
        image_file: File name of the image, for COCO; empty for the picture's name.

    Returns:
        What a format cannot hold, counted, a sentence each.

    Raises:
        UserError: If a file cannot be written.
    """
    if "overlay" in paths:
        with replacing(paths["overlay"]) as part:
            Image.fromarray(overlay(picture, result.paint)).save(part, format="png")
    notes = write_nuclei(result, picture, paths, origin, image_file)
    if "labels" in paths:  # last: then all are there
        if isinstance(result, Result):
            write_label_map(paths["labels"], result.labels)
        else:
            shape, highest = (picture.height, picture.width), len(result.table["label"])
            write_label_blocks(paths["labels"], shape, highest, result.paint)
    return notes


def write_nuclei(
    outlined: Outlined,
    picture: Picture,
    paths: Mapping[str, Path],
    origin: str = "",
    image_file: str = "",
) -> list[str]:
    """Write tables and outlines, with the memory of one nucleus, and the label map as OME-Zarr.

    Each file is written whole or not at all.

    Args:
        outlined: The nuclei.
        picture: The image.
        paths: What to write; names that are not in `OF_NUCLEI` are passed over.
        origin: What the labels were made from; see `nucleist.data.formats.traced.nucleus_id`.
        image_file: File name of the image, for COCO; empty for the picture's name.

    Returns:
        What a format cannot hold, counted, a sentence each.

    Raises:
        UserError: If a file cannot be written.
    """
    shape = picture.height, picture.width
    if "zarr" in paths:
        write_label_zarr(paths["zarr"], shape, outlined.paint, picture.pixel_size)
    open_one: dict[str, Callable[[Path], AbstractContextManager[NucleusWriter]]] = {
        "coco": lambda path: writing_coco(path, image_file or picture.name, shape),
        "geojson": writing_geojson,
        "splines": lambda path: writing_geojson(path, splines=True),
        "imagej": writing_rois,
    }
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(open_one[name](path))
            for name, path in paths.items()
            if name in open_one
        }
        measured = Measurements(picture, len(outlined.table["label"]))
        every = [*writers.values(), *([measured] if "csv" in paths else [])]
        _add_all(outlined, every, origin)
    if "csv" in paths:
        columns = {**outlined.table, **measured.columns(outlined.table)}
        write_table(paths["csv"], columns, 6 if max(shape) < LARGE else 8)
    return [
        f"{paths[name].name}: {note}" for name, writer in writers.items() for note in writer.notes()
    ]


def measured_table(outlined: Outlined, picture: Picture) -> Table:
    """The table of an image with all measurements; see `nucleist.inference.measurements`.

    Args:
        outlined: The nuclei.
        picture: The image.
    """
    measured = Measurements(picture, len(outlined.table["label"]))
    _add_all(outlined, [measured])
    return {**outlined.table, **measured.columns(outlined.table)}


def _add_all(outlined: Outlined, writers: Sequence[NucleusWriter], origin: str = "") -> None:
    for nucleus in outlined.nuclei() if writers else ():
        traced = Traced(nucleus, origin)
        for writer in writers:
            writer.add(traced)
