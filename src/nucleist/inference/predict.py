"""Many images through a trained model: label TIFFs, tables and overlays in a folder."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nucleist.config.targets import Trust
from nucleist.data.formats.label_maps import write_label_map
from nucleist.data.readers.pairing import is_annotation
from nucleist.distributed.place import place
from nucleist.files import make_folder, replacing
from nucleist.inference.load import Model, load
from nucleist.inference.result import Result, as_image, write_table
from nucleist.plots import draw_contours, to_display
from nucleist.progress import shown
from nucleist.types import Progress, UserError

SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}


def predict(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    score_threshold: float | None = None,
    device: str = "auto",
    share: str | None = None,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
    trust: Trust = (),
    progress: bool | Progress = False,
) -> dict[Path, int]:
    """Outline the nuclei of image files and write the results into a folder.

    For every image `NAME` it writes `NAME_labels.tif` (0 background, 1..N nuclei, best score
    first, 16 bits, 32 where needed), `NAME_overlay.png` and `NAME_nuclei.csv`, a line for each
    nucleus (`nucleist.inference.result.COLUMNS`).

    Args:
        model: A run folder, a checkpoint or a loaded model; see `nucleist.load`.
        images: Files, or folders of them.
        output: Folder for the results; made if it is not there.
        score_threshold: Detections with a higher score count, in [0, 1]; None for the threshold
            that was calibrated in training.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        share: `I/N`: only each N-th image, from the I-th on (from 1), so that N processes share
            the work; None for what torchrun or srun has started, else `1/1`.
        overwrite: Replace earlier results.
        options: Options of the model that differ from the training; see `nucleist.load`.
        trust: See `nucleist.load`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        Number of nuclei of each image.

    Raises:
        UserError: If an image or the model cannot be read, two images share a name, or results
            are there already. What was written before stays.
    """
    watcher = shown(progress)
    given = [images] if isinstance(images, str | Path) else images
    every = find_images(given, watcher)
    own = share_of(every, share)
    outputs = plan_outputs(every, own, Path(output), overwrite)
    loaded = load(model, options=options, device=device, trust=trust)
    threshold = loaded.score_threshold(score_threshold)
    make_folder(output)
    loaded.net.limits_reached.clear()
    counts: dict[Path, int] = {}
    for image in watcher.watch(own, "outlining"):
        pixels = as_image(image)
        result = loaded.predict(pixels, threshold)
        write_result(result, pixels, outputs[image])
        counts[image] = len(result)
        watcher.note(f"{image}: {len(result)} nuclei")
    warn_of_limits(loaded.net.limits_reached, len(own), watcher)
    return counts


def warn_of_limits(reached: Mapping[str, int], images: int, progress: Progress) -> None:
    """Warn that limits cut what was found; nothing if none did.

    Args:
        reached: Number of images by limit, as `Net.limits_reached`.
        images: Number of all images.
        progress: Gets the warning.
    """
    if reached:
        words = ", ".join(f"{name} in {n} of {images} images" for name, n in reached.items())
        progress.warn(f"a limit cut what was found: {words}; raise it")


def find_images(given: Iterable[str | Path], progress: Progress) -> list[Path]:
    """Image files among files and folders, sorted inside each folder.

    Of a folder without images those in its `images/` are taken. Labels and pictures beside the
    image that they belong to (`a_masks.png`, `a_overlay.png` beside `a.tif`) are left out.

    Args:
        given: Files and folders.
        progress: Gets a line on files that are left out.

    Raises:
        UserError: If a path is missing, or a folder holds no image.
    """
    found: list[Path] = []
    for path in (Path(path).expanduser() for path in given):
        if path.is_dir():
            inside = _images_in(path, progress) or _images_in(path / "images", progress)
            if not inside:
                raise UserError(f"{path}: no image in this folder; give TIFF, PNG, JPEG or BMP")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; check the path")
    return list(dict.fromkeys(found))


def _images_in(folder: Path, progress: Progress) -> list[Path]:
    if not folder.is_dir():
        return []
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    stems = {path.stem for path in files}
    others = [path for path in files if is_annotation(path.stem, stems)]
    if others:
        some = f"{len(others)} labels or pictures ({others[0].name}, ...)"
        progress.note(f"{folder}: left out {some}; give a file to outline it")
    return [path for path in files if not is_annotation(path.stem, stems)]


def share_of(images: Sequence[Path], share: str | None) -> list[Path]:
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


def plan_outputs(
    every: Sequence[Path], own: Sequence[Path], folder: Path, overwrite: bool
) -> dict[Path, Path]:
    """Where each image's results go, without the ending.

    Args:
        every: The images of all processes.
        own: Those of this one.
        folder: Folder of the results.
        overwrite: Whether earlier results may be replaced.

    Raises:
        UserError: If two images share a name, or results are there already.
    """
    outputs = {image: folder / image.stem for image in every}
    by_output: dict[Path, Path] = {}
    mine = set(own)
    for image, output in outputs.items():
        if output in by_output:
            raise UserError(
                f"{image}: has the name of {by_output[output]}, their results would be one file; "
                "predict them into two folders"
            )
        by_output[output] = image
        done = _beside(output, "_labels.tif")
        if image in mine and done.exists() and not overwrite:
            raise UserError(f"{done}: is there already; choose another -o, or add overwrite=true")
    return outputs


def write_result(result: Result, pixels: Any, output: Path) -> None:
    """Write label map, overlay and table of one image.

    Args:
        result: Its nuclei.
        pixels: `(H, W, 3)`, the image as it was read.
        output: Where the results go, without the ending.

    Raises:
        UserError: If a file cannot be written.
    """
    write_label_map(_beside(output, "_labels.tif"), result.labels)
    contours = draw_contours(to_display(pixels), result.labels)
    with replacing(_beside(output, "_overlay.png")) as part:
        Image.fromarray(contours).save(part, format="png")
    write_table(_beside(output, "_nuclei.csv"), result.table)


def _beside(output: Path, end: str) -> Path:
    return output.with_name(output.name + end)
