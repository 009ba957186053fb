"""`nucleist predict`: label TIFFs, tables and overlays for images that the net has not seen."""

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from nucleist.cli.parser import Parser
from nucleist.data.formats.images import read_image
from nucleist.data.formats.label_tiff import write_label_tiff
from nucleist.data.readers.pairing import is_annotation
from nucleist.distributed.processes import place
from nucleist.files import replacing
from nucleist.inference.load import Trained, load, model_options
from nucleist.inference.pictures import predict_one
from nucleist.ops.labels import at_threshold
from nucleist.plots import draw_contours, to_display
from nucleist.training.limits import caps_reached, warn_of_caps
from nucleist.types import Prediction, UserError

SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}

EXAMPLES = """examples:
  nucleist predict runs/NAME/ID/checkpoints/last.ckpt slide.tif -o out
  nucleist predict last.ckpt images/ more/*.png -o out --score-threshold 0.3
  nucleist predict last.ckpt slides/ -o out --share 2/4    the second of four processes
  nucleist predict last.ckpt a.tif -o out model.grid=32    another option of the net than in training

For every image NAME it writes NAME_labels.tif (0 background, 1..N nuclei, best score first,
16 bits, 32 where needed), NAME_overlay.png and NAME_nuclei.csv: a line for each nucleus with its
label, score, area, centroid and box, and for canonical_shape the shape behind it. Pixels; the
upper left corner of the image is 0, 0, and the first pixel's middle 0.5, 0.5.
model.KEY=VALUE changes an option of the net that has no weights, as in nucleist evaluate.
"""

COLUMNS = (
    "label", "score", "area_px", "centroid_x", "centroid_y",
    "box_left", "box_top", "box_right", "box_bottom",
)  # fmt: skip
SHAPE_COLUMNS = (
    "shape_x", "shape_y", "semi_major_px", "semi_minor_px", "angle_rad", "shape_area_px",
)  # fmt: skip
"""`parameters` of a prediction; the angle is the major axis', from x towards y (downwards)."""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = Parser(
        "nucleist predict",
        description="Outline the nuclei in images.",
        epilog=EXAMPLES,
    )
    parser.add_argument("checkpoint", help="a .ckpt that nucleist train wrote")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the results")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    default = "default: what torchrun or srun has started, else 1/1"
    parser.add_argument(
        "--share", metavar="I/N", help=f"only each N-th image, from I on; {default}"
    )
    changes, words = model_options(arguments)
    options = parser.parse_args(words)
    every = find_images(options.images)
    images = share(every, options.share)
    outputs = plan(every, images, options.output, options.overwrite)
    trained = load(options.checkpoint, changes)
    device = choose_device(options.device)
    make_folder(options.output)
    threshold = trained.threshold if options.score_threshold is None else options.score_threshold
    only_above: Any = getattr(trained.net, "only_above", None)
    if only_above is not None:  # spares the masks that would be dropped afterwards
        only_above(threshold)
    trained.net.to(device)
    console = Console(stderr=True)
    for image in track(images, "outlining", console=console, disable=not console.is_terminal):
        count = predict_file(trained, image, outputs[image], threshold)
        console.print(f"{image}: {count} nuclei", highlight=False)
    warn_of_caps(caps_reached(trained.net), len(images))
    print(options.output)
    return 0


def add_net_options(parser: argparse.ArgumentParser) -> None:
    """What every verb takes that runs a trained net: `--score-threshold` and `--device`."""
    threshold = "in [0, 1]; default: calibrated in training"
    parser.add_argument("--score-threshold", type=_score, help=threshold)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def _score(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise UserError(f"--score-threshold {value} is not in [0, 1]")
    return value


def find_images(arguments: Iterable[str]) -> list[Path]:
    """Image files among files and folders, sorted inside each folder.

    Of a folder without images, those in its `images/` are meant; labels and pictures beside the
    image that they are about (`a_masks.png`, `a_overlay.png` beside `a.tif`) are left out.

    Raises:
        UserError: If a path is missing, or a folder holds no image.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = _images_in(path) or _images_in(path / "images")
            if not inside:
                raise UserError(f"{path}: no image in this folder; give TIFF, PNG, JPEG or BMP")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; check the path")
    return list(dict.fromkeys(found))


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    stems = {path.stem for path in files}
    others = [path for path in files if is_annotation(path.stem, stems)]
    if others:
        some = f"{len(others)} labels or pictures ({others[0].name}, ...)"
        print(f"{folder}: left out {some}; give a file to outline it", file=sys.stderr)
    return [path for path in files if not is_annotation(path.stem, stems)]


def share(images: Sequence[Path], text: str | None) -> list[Path]:
    """The images of one of several processes: each image belongs to one.

    Args:
        images: Those of all processes together.
        text: `I/N`, this process being the I-th (from 1) of N; None asks the environment.
    """
    here = place()
    part, whole = here.rank + 1, here.world
    if text is not None:
        numbers = re.fullmatch(r"(\d+)/(\d+)", text)
        part, whole = (int(n) for n in numbers.groups()) if numbers else (0, 0)
        if not 1 <= part <= whole:
            raise UserError(f"--share {text} is not I/N with I from 1 to N; write e.g. 1/4")
    return list(images[part - 1 :: whole])


def plan(
    every: Sequence[Path], images: Sequence[Path], folder: Path, overwrite: bool
) -> dict[Path, Path]:
    """Where each image's results go, without the ending.

    Args:
        every: The images of all processes.
        images: Those of this one.
        folder: Folder of the results.
        overwrite: Whether earlier results may be replaced.

    Raises:
        UserError: If two images share a name, or results are there already.
    """
    outputs = {image: folder / image.stem for image in every}
    by_output: dict[Path, Path] = {}
    mine = set(images)
    for image, output in outputs.items():
        if output in by_output:
            raise UserError(
                f"{image}: has the name of {by_output[output]}, their results would be one file; "
                "predict them into two folders"
            )
        by_output[output] = image
        done = _label_file(output)
        if image in mine and done.exists() and not overwrite:
            raise UserError(f"{done}: is there already; choose another -o, or add --overwrite")
    return outputs


def make_folder(folder: Path) -> None:
    """Make the folder of the results.

    Raises:
        UserError: If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder ({error.strerror})") from error


def _label_file(output: Path) -> Path:
    return output.with_name(output.name + "_labels.tif")


def choose_device(name: str) -> torch.device:
    """A device by name; `auto` takes a GPU where there is one.

    Raises:
        UserError: If the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not available here; use auto or cpu") from error
    return device


def predict_file(trained: Trained, image: Path, output: Path, threshold: float) -> int:
    """Predict one image and write its results; returns the number of nuclei."""
    try:
        content = image.read_bytes()
    except OSError as error:
        raise UserError(f"{image}: cannot read ({error.strerror}); check the file") from error
    pixels = read_image(content, str(image))
    prediction = predict_one(trained.net, trained.normalize(pixels))
    labels = at_threshold(prediction, threshold).numpy()  # best first, so the kept ones are 1..N
    write_label_tiff(_label_file(output), labels)
    contours = draw_contours(to_display(pixels), labels)
    with replacing(output.with_name(output.name + "_overlay.png")) as part:
        Image.fromarray(contours).save(part, format="png")
    write_nuclei(output.with_name(output.name + "_nuclei.csv"), prediction, labels)
    return int(labels.max(initial=0))


def write_nuclei(path: Path, prediction: Prediction, labels: np.ndarray) -> None:
    """Write a table with a line for each nucleus of a label map.

    Args:
        path: The CSV.
        prediction: Where the nuclei come from; with `parameters` the table has their columns.
        labels: `(H, W)` `int32`, the prediction's label map or a part of it.

    Raises:
        UserError: If the file cannot be written.
    """
    rows, cols = labels.nonzero()
    ids = labels[rows, cols]
    ends = len(prediction["scores"]) + 1
    area, x, y = (np.bincount(ids, weights=w, minlength=ends) for w in (None, cols, rows))
    found = area.nonzero()[0]
    middles = np.stack([x, y], 1)[found] / area[found, None] + 0.5
    scores, boxes = (prediction[key].cpu().numpy()[found - 1] for key in ("scores", "boxes"))
    columns: tuple[str, ...] = COLUMNS
    parts = [scores[:, None], area[found, None], middles, boxes]
    parameters: Any = prediction.get("parameters")
    if parameters is not None:
        columns += SHAPE_COLUMNS
        parts.append(parameters.cpu().numpy()[found - 1])
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for label, values in zip(found, np.hstack(parts), strict=True):
            writer.writerow([label, *(f"{value:.6g}" for value in values)])
