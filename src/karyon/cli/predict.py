"""`karyon predict`: label TIFFs and overlays for images that the net has not seen."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from karyon.cli.checkpoint import Trained, load
from karyon.data.images import read_image
from karyon.export import draw_contours, to_display, write_label_tiff
from karyon.ops.labels import at_threshold
from karyon.previews import predict_one
from karyon.types import UserError

SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}

EXAMPLES = """examples:
  karyon predict runs/demo/pa/checkpoints/last.ckpt slide.tif -o out
  karyon predict last.ckpt images/ more/*.png -o out --score-threshold 0.3

For every image NAME it writes NAME_labels.tif (0 background, 1..N nuclei, best score first,
16 bits, 32 where needed) and NAME_overlay.png.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = argparse.ArgumentParser(
        "karyon predict",
        description="Outline the nuclei in images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="a .ckpt that karyon train wrote")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the results")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    options = parser.parse_args(arguments)
    images = find_images(options.images)
    outputs = plan(images, options.output, options.overwrite)
    trained = load(options.checkpoint)
    threshold = trained.threshold if options.score_threshold is None else options.score_threshold
    only_above: Any = getattr(trained.net, "only_above", None)
    if only_above is not None:  # spares the masks that would be dropped afterwards
        only_above(threshold)
    trained.net.to(choose_device(options.device))
    console = Console(stderr=True)
    for image in track(images, "outlining", console=console, disable=not console.is_terminal):
        count = predict_file(trained, image, outputs[image], threshold)
        console.print(f"{image}: {count} nuclei", highlight=False)
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

    Raises:
        UserError: If a path is missing, or a folder holds no image.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UserError(f"{path}: no image in this folder; give TIFF, PNG, JPEG or BMP")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; check the path")
    return list(dict.fromkeys(found))


def plan(images: Sequence[Path], folder: Path, overwrite: bool) -> dict[Path, Path]:
    """Where each image's results go, without the ending.

    Raises:
        UserError: If two images share a name, or results are there already.
    """
    outputs = {image: folder / image.stem for image in images}
    by_output: dict[Path, Path] = {}
    for image, output in outputs.items():
        if output in by_output:
            raise UserError(
                f"{image}: has the name of {by_output[output]}, their results would be one file; "
                "predict them into two folders"
            )
        by_output[output] = image
        done = _label_file(output)
        if done.exists() and not overwrite:
            raise UserError(f"{done}: is there already; choose another -o, or add --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder ({error.strerror})") from error
    return outputs


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
    Image.fromarray(contours).save(output.with_name(output.name + "_overlay.png"))
    return int(labels.max(initial=0))
