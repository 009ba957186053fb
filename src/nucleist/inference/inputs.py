"""Which images are meant by files and folders, and which of them are of this process."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from nucleist.data.pictures.ome_zarr import is_zarr
from nucleist.data.pictures.open import SUFFIXES
from nucleist.data.readers.names import IMAGE_SUFFIXES, is_annotation
from nucleist.distributed.place import place
from nucleist.inference.load import MODEL_FILES
from nucleist.types import Progress, UserError

Image = TypeVar("Image")


def find_images(given: Iterable[str | Path], progress: Progress) -> list[Path]:
    """Image files among files and folders, sorted inside each folder.

    Of a folder without images those in its `images/` are taken. Hidden files (`._a.tif`), folders
    whose names look like images, and labels and pictures beside the image that they belong to
    (`a_masks.png`, `a_overlay.png` beside `a.tif`) are left out.

    Args:
        given: Files and folders.
        progress: Gets a line on what is left out.

    Raises:
        UserError: If a path is missing or is a trained model, or no folder holds an image.
    """
    found: list[Path] = []
    empty: list[Path] = []
    for path in (Path(path).expanduser() for path in given):
        if _is_model(path):
            raise UserError(
                f"{path}: a trained model among the images; give one MODEL, then IMAGES, and run "
                "again for another model"
            )
        if is_zarr(path):
            found.append(path)
        elif path.is_dir():
            inside = _images_in(path, progress) or _images_in(path / "images", progress)
            found += inside
            empty += [] if inside else [path]
        elif path.is_file() or path.is_symlink():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; check the path")
    for folder in empty:
        line = f"{folder}: no image in this folder; give TIFF, PNG, JPEG or BMP"
        if not found:
            raise UserError(line)
        progress.note(line)
    return list(dict.fromkeys(found))


def _is_model(path: Path) -> bool:
    """Whether a path is a checkpoint or a run folder."""
    return path.suffix.lower() in MODEL_FILES or any((path / "checkpoints").glob("*.ckpt"))


def _images_in(folder: Path, progress: Progress) -> list[Path]:
    if not folder.is_dir():
        return []
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    zarrs = {path for path in inside if path.suffix.lower() == ".zarr" and is_zarr(path)}
    kinds = IMAGE_SUFFIXES | SUFFIXES
    named = sorted(path for path in inside if path.suffix.lower() in kinds or path in zarrs)
    files = [path for path in named if path in zarrs or not path.is_dir()]
    stems = {path.stem for path in files}
    others = [path for path in files if is_annotation(path.stem, stems)]
    if others:
        some = f"{len(others)} labels or pictures ({others[0].name}, ...)"
        progress.note(f"{folder}: left out {some}; give a file to outline it")
    for path in named:
        if path.is_dir() and path not in zarrs:
            progress.note(f"{path}: a folder with the name of an image, left out")
    return [path for path in files if not is_annotation(path.stem, stems)]


def share_of(images: Sequence[Image], share: str | None) -> list[Image]:
    """The images of one of several processes: each image belongs to one.

    Args:
        images: Those of all processes together.
        share: `I/N`, this process being the I-th (from 1) of N; None for its rank and the world
            size that torchrun or srun gave.

    Raises:
        UserError: If the share is not of this form.
    """
    here = place()
    part, whole = here.rank + 1, here.world
    if share is not None:
        numbers = re.fullmatch(r"(\d+)/(\d+)", share)
        part, whole = (int(n) for n in numbers.groups()) if numbers else (0, 0)
        if not 1 <= part <= whole:
            raise UserError(f"share={share} is not I/N with I from 1 to N; write e.g. share=1/4")
    return list(images[part - 1 :: whole])
