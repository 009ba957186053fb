"""Results of many images in one folder: what is there already, and one table of all of them."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from nucleist.data.pictures.picture import Picture
from nucleist.files import checksum, in_turn, replacing
from nucleist.inference import earlier
from nucleist.inference.opened import Item
from nucleist.inference.result import Result
from nucleist.inference.save import ENDS, Outlined, paths_of
from nucleist.types import UserError

NUCLEI, IMAGES = "nuclei.csv", "images.csv"
"""The tables of a folder: a line for each nucleus of all images, and one for each image."""

PER_IMAGE = (
    "image", "nuclei", "height_px", "width_px", "nuclei_per_megapixel", "nuclei_area_px",
    "covered", "mean_area_px", "pixel_size_um", "image_area_mm2", "nuclei_per_mm2",
)  # fmt: skip
"""Columns of `images.csv`. `covered` is the share of the image's area that is nuclei; the last
three are empty where the width of a pixel is not known."""

Line = Mapping[str, Any]
"""What is recorded about an image; see `nucleist.inference.earlier`."""


Named = TypeVar("Named", Path, Item)
"""An image: its file, or what of it is outlined by itself."""


def plan_outputs(images: Sequence[Named], folder: Path) -> dict[Named, Path]:
    """Where each image's results go, without the ending.

    Args:
        images: The images of all processes.
        folder: Folder of the results.

    Raises:
        UserError: If two images share a name.
    """
    by_output: dict[Path, Named] = {}
    for image in images:
        output = folder / image.stem
        if output in by_output:
            raise UserError(
                f"{image}: has the name of {by_output[output]}, their results would be one file; "
                "predict them into two folders"
            )
        by_output[output] = image
    return {image: output for output, image in by_output.items()}


def done_before(
    images: Sequence[Named], outputs: Mapping[Named, Path], save: Sequence[str], folder: Path
) -> dict[Named, dict[str, Any]]:
    """The images of which results are there, with what is recorded about them.

    Args:
        images: The images of this process.
        outputs: Where the results of each go, without the ending.
        save: What is to be saved; other files do not matter.
        folder: Folder of the results.

    Raises:
        UserError: If results are there that are not recorded, or were made of another image.
    """
    there = {image: existing(outputs[image], save) for image in images}
    recorded = earlier.read(folder) if any(there.values()) else {}
    found: dict[Named, dict[str, Any]] = {}
    for image, files in there.items():
        if not files:
            continue
        line = recorded.get(outputs[image].name)
        if line is None or line["image"] != earlier.image_hash(image):
            raise there_already(files)
        own = {ENDS[name] for name in line["saved"]}
        if other := [path for path in files if not path.name.endswith(tuple(own))]:
            raise there_already(other)
        found[image] = line
    return found


def existing(output: Path, save: Sequence[str]) -> list[Path]:
    """The files of an image that are there, of those to be saved; the last is written last."""
    return [path for path in paths_of(output, save).values() if path.exists()]


def missing(line: Line | None, output: Path, save: Sequence[str]) -> tuple[str, ...]:
    """What is still to be saved of an image: all of one that was not finished.

    Args:
        line: What is recorded about it; None if it is to be done anew.
        output: Where its results go, without the ending.
        save: What is to be saved.
    """
    if line is None or line["nuclei"] is None:
        return tuple(save)
    return tuple(name for name, path in paths_of(output, save).items() if not path.exists())


def there_already(files: Sequence[Path]) -> UserError:
    """The error about results that would be overwritten."""
    return UserError(f"{files[-1]}: is there already; choose another -o, or add overwrite=true")


def describe(outlined: Outlined, picture: Picture, image: PathLike[str]) -> dict[str, Any]:
    """What the tables need to know about an image besides its nuclei, for the record."""
    return {
        "file": str(Path(image).absolute()),
        "part": picture.suffix,
        "height": picture.height,
        "width": picture.width,
        "pixel_size": picture.pixel_size,
        "labels": checksum([("labels", [outlined.labels])])
        if isinstance(outlined, Result)
        else None,
        "area": float(outlined.table["area_px"].sum()),
    }


def check_tables(folder: Path) -> None:
    """Refuse to replace tables of other origin.

    Args:
        folder: Where `write_tables` will write.

    Raises:
        UserError: If there is one.
    """
    for name, begin in ((NUCLEI, "image,label,score"), (IMAGES, "image,nuclei,")):
        path = folder / name
        try:
            head = path.read_bytes()[: len(begin)]
        except OSError:
            continue
        if head != begin.encode():
            raise there_already([path])


def tables_there(folder: Path) -> bool:
    """Whether the tables of the whole folder have been written, perhaps not with all images."""
    return all((folder / name).is_file() for name in (IMAGES, NUCLEI))


def write_tables(folder: Path) -> None:
    """Join the tables of all images of a folder that are recorded there.

    Every process that writes into the folder does this when its images are done, one at a time: the
    last one finds all of them. Each table is written whole or not at all.

    Args:
        folder: Of the results.

    Raises:
        UserError: If a table cannot be written.
    """
    with in_turn(folder):
        lines = sorted(earlier.read(folder).items())
        tables = {name: folder / f"{name}_nuclei.csv" for name, _ in lines}
        done = [(name, line) for name, line in lines if tables[name].is_file()]
        done = [(name, line) for name, line in done if line["nuclei"] is not None]
        _write(folder / IMAGES, PER_IMAGE, (_per_image(*one) for one in done))
        files = [(_file(*one), tables[one[0]]) for one in done]
        columns = ["image"]
        for _, path in files:
            columns += [name for name in _header(path) if name not in columns]
        _write(folder / NUCLEI, columns, _per_nucleus(files))


def _per_nucleus(files: Iterable[tuple[str, Path]]) -> Iterator[dict[str, Any]]:
    for image, path in files:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield {"image": image, **row}


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _per_image(name: str, line: Line) -> dict[str, Any]:
    """The cells of an image; those of results of earlier releases are mostly empty."""
    row: dict[str, Any] = {"image": _file(name, line), "nuclei": line["nuclei"]}
    count, pixels = line["nuclei"], line.get("height", 0) * line.get("width", 0)
    if not pixels:
        return row
    row |= {"height_px": line["height"], "width_px": line["width"]}
    row |= {"nuclei_per_megapixel": _digits(count / pixels * 1e6)}
    row |= {"nuclei_area_px": _digits(line["area"]), "covered": _digits(line["area"] / pixels)}
    row |= {"mean_area_px": _digits(line["area"] / count) if count else ""}
    if (size := line["pixel_size"]) is not None:
        area = pixels * size**2 / 1e6
        row |= {"pixel_size_um": _digits(size), "image_area_mm2": _digits(area)}
        row |= {"nuclei_per_mm2": _digits(count / area)}
    return row


def _digits(value: float) -> str:
    return f"{value:.8g}"


def _file(name: str, line: Line) -> str:
    return title_of(Path(line["file"]), line) if "file" in line else name


def title_of(file: Path, line: Line) -> str:
    """Name of an image in tables: its file's, or that of a part that was outlined: `a_z2.tif`.

    Args:
        file: The file.
        line: What is recorded about it.
    """
    return f"{file.stem}{line.get('part', '')}{file.suffix}"


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
