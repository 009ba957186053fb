"""A trained model as one file that needs no run folder."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nucleist.config.targets import Trust
from nucleist.data.formats.manifest import read_manifest
from nucleist.files import make_folder, read_json_if_there
from nucleist.inference.bioimageio import write_bioimageio
from nucleist.inference.exchange import write_onnx, write_torchscript
from nucleist.inference.load import Model, load
from nucleist.models.weights.portable import read_about, write_portable
from nucleist.types import UserError, one_of

FORMATS = {
    "safetensors": ".safetensors",
    "torchscript": ".pt",
    "onnx": ".onnx",
    "bioimageio": ".zip",
}
"""Formats and the endings of their files."""


def export_model(
    model: str | Path | Model,
    output: str | Path,
    *,
    format: str = "safetensors",
    score_threshold: float | None = None,
    options: Mapping[str, Any] | None = None,
    trust: Trust = (),
) -> Path:
    """Write a model into one file, for other machines and other tools.

    Args:
        model: As for `nucleist.load`.
        output: The file; its folder is made if need be.
        format: `safetensors`: all that `nucleist.load` and `weights=` need, in half precision.
            `torchscript` and `onnx`, of a Mask R-CNN: see `nucleist.inference.exchange`;
            `bioimageio`: a package of the BioImage Model Zoo.
        score_threshold: The one that the file is to have, in [0, 1]; None for the calibrated one.
        options: As for `nucleist.load`.
        trust: As for `nucleist.load`.

    Returns:
        The file.

    Raises:
        UserError: If the model cannot be loaded or the file not written.
    """
    one_of("format", format, tuple(FORMATS))
    path = Path(output).expanduser()
    if path.suffix != FORMATS[format]:
        raise UserError(f"-o {output}: name a file that ends in {FORMATS[format]}")
    loaded = load(model, options=options, device="cpu", trust=trust)
    loaded = replace(loaded, threshold=loaded.score_threshold(score_threshold))
    make_folder(path.parent)
    WRITERS[format](path, loaded)
    return path


def write_safetensors(path: Path, model: Model) -> None:
    """Write the weights in half precision with all that is needed to use them."""
    write_portable(path, model.net.state_dict(), about(model))


def about(model: Model) -> dict[str, Any]:
    """What the file says beside the weights, see `nucleist.models.weights.portable`."""
    if model.path.suffix == ".safetensors":
        kept = {key: v for key, v in read_about(model.path).items() if key != "format"}
        return {**kept, "config": dict(model.config), "calibrated_threshold": model.threshold}
    run = model.path.absolute().parent.parent
    config = {key: value for key, value in model.config.items() if key != "data"}
    return {
        "config": config,
        "calibrated_threshold": model.threshold,
        "nucleus_diameter": model.trained.diameter,
        "pixel_size": model.trained.pixel_size,
        "trained_on": _trained_on(run),
        "provenance": _provenance(run),
    }


def _trained_on(run: Path) -> list[str]:
    """Hashes of the pixels of the images a run was trained on; empty if it does not say."""
    try:
        entries = read_manifest(run / "manifest.json").values()
    except UserError:
        return []
    return sorted({entry.pixels for entry in entries} - {""})


def _provenance(run: Path) -> dict[str, Any]:
    """Versions, images and length of a training, as far as its folder says."""
    environment = read_json_if_there(run / "environment.json")
    summary = read_json_if_there(run / "summary.json")
    known = ("nucleist", "torch", "images", "steps", "labelled_nuclei")
    return {key: value for key, value in (environment | summary).items() if key in known}


WRITERS: dict[str, Callable[[Path, Model], None]] = {
    "safetensors": write_safetensors,
    "torchscript": write_torchscript,
    "onnx": write_onnx,
    "bioimageio": write_bioimageio,
}
"""What writes each format."""
