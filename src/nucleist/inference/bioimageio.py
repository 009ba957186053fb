"""A trained Mask R-CNN as a package of the BioImage Model Zoo: TorchScript, description, test.

The tools that run such packages stretch the image between two percentiles before the net and get a
label map. Nothing here asks the network.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucleist.inference.exchange import example, quiet, write_torchscript
from nucleist.inference.load import Model
from nucleist.types import UserError

FORMAT = "0.5.12"
AUTHORS = [{"name": "the nucleist authors"}]
CITE = [
    {
        "text": "Feng et al., Partial annotation Mask R-CNN, IEEE Access 2019",
        "url": "https://arxiv.org/abs/1907.09738",
    },
    {
        "text": "Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data "
        "Science Bowl, Nature Methods 2019",
        "doi": "10.1038/s41592-019-0612-7",
    },
]


def write_bioimageio(path: Path, model: Model) -> None:
    """Write a package, a `.zip`.

    Args:
        path: The file.
        model: A Mask R-CNN that keeps the images' scale, normalised by percentiles.

    Raises:
        UserError: If `bioimageio.core` is missing, or the model is another one.
    """
    try:
        from bioimageio.spec import save_bioimageio_package
        from bioimageio.spec.model.v0_5 import ModelDescr
    except ImportError as error:
        remedy = "pip install 'nucleist[bioimageio]'"
        raise UserError(f"format=bioimageio needs bioimageio.core: {remedy}") from error
    normalize = model.config["normalize"]
    if not {"low", "high"} <= set(normalize):
        raise UserError(f"{model.path}: format=bioimageio is for normalize=percentile")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_torchscript(place / "weights.pt", model)
        image, labels = tested(place / "weights.pt", normalize)
        np.save(place / "input.npy", image)
        np.save(place / "output.npy", labels)
        (place / "README.md").write_text(readme(model), encoding="utf-8")
        described = ModelDescr.model_validate(description(model, place))
        save_bioimageio_package(described, output_path=path)


def tested(weights: Path, normalize: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """An image `(1, 3, H, W)` `float32` of 0 to 255, and the label map that the file gives."""
    image = 255 * smooth(example()).numpy()[None]
    low, high = np.percentile(image, [normalize["low"], normalize["high"]])
    scaled = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    with quiet():
        labels = torch.jit.load(str(weights))(torch.from_numpy(scaled)).numpy()
    return image.astype(np.float32), labels


def smooth(noise: torch.Tensor) -> torch.Tensor:
    """Blobs of a size that nuclei have, gray, in [0, 1]."""
    kernel = torch.exp(-((torch.arange(-24, 25) / 8.0) ** 2) / 2)
    rows = torch.nn.functional.conv2d(noise[:1, None], kernel[None, None, :, None], padding="same")
    both = torch.nn.functional.conv2d(rows, kernel[None, None, None], padding="same")[0]
    return (((both - both.mean()) / both.std()).clamp(0, 2) / 2).expand(3, -1, -1)


def description(model: Model, place: Path) -> dict[str, Any]:
    """The description of the package, whose files are in a folder."""
    version = torch.__version__.partition("+")[0]
    return {
        "type": "model",
        "format_version": FORMAT,
        "name": f"nucleist {model.config.get('name', 'nuclei')}",
        "description": "Outlines of cell nuclei by a compact Mask R-CNN",
        "authors": AUTHORS,
        "maintainers": [],
        "cite": CITE,
        "license": "MIT",
        "documentation": {"source": place / "README.md"},
        "tags": ["nuclei", "instance-segmentation", "fluorescence", "2d", "mask-rcnn"],
        "inputs": [_input(model.config["normalize"], place)],
        "outputs": [_output(place)],
        "weights": {"torchscript": {"source": place / "weights.pt", "pytorch_version": version}},
    }


ONE = {"type": "batch", "size": 1}
"""One image at a time."""


def _input(normalize: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """An image of any range and size, which the tools stretch as the net was trained."""
    stretch = {
        "axes": ["channel", "y", "x"],
        "min_percentile": normalize["low"],
        "max_percentile": normalize["high"],
        "eps": 1e-6,
    }
    size = {"min": 64, "step": 1}
    colours = {"type": "channel", "channel_names": ["red", "green", "blue"]}
    return {
        "id": "image",
        "description": "red, green, blue; gray images three times",
        "axes": [ONE, colours, *({"type": "space", "id": axis, "size": size} for axis in "yx")],
        "test_tensor": {"source": place / "input.npy"},
        "data": {"type": "float32"},
        "preprocessing": [
            {"id": "scale_range", "kwargs": stretch},
            {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}},
        ],
    }


def _output(place: Path) -> dict[str, Any]:
    """A label map of the size of the image."""
    sizes = {axis: {"tensor_id": "image", "axis_id": axis} for axis in "yx"}
    spaces = [{"type": "space", "id": axis, "size": size} for axis, size in sizes.items()]
    return {
        "id": "labels",
        "description": "0 background, 1 to N nuclei, the best first",
        "axes": [ONE, {"type": "channel", "channel_names": ["label"]}, *spaces],
        "test_tensor": {"source": place / "output.npy"},
        "data": {"type": "int32"},
    }


def readme(model: Model) -> str:
    """The documentation of the package."""
    return f"""# nucleist {model.config.get("name", "nuclei")}

A compact Mask R-CNN that outlines cell nuclei, written by `nucleist export`. Detections with a
score above {model.threshold:.3f} are in the label map, the best first.

## Validation

`nucleist models` has the scores of the model that comes with the package. Look at the outlines of
some of your own images before you count.
"""
