"""What napari shows of nuclei: a label layer with a table of features, from files or from a model.

`nucleist/napari.yaml` tells napari of the functions here. None of them needs napari, so that they
work, and are tested, without a screen.
"""

import csv
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nucleist.data.formats.label_maps import load_label_map
from nucleist.data.formats.label_zarr import read_label_zarr
from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference.load import Model, load
from nucleist.inference.result import as_image
from nucleist.inference.save import ENDS, measured_table

if TYPE_CHECKING:
    import napari.layers
    import napari.types

Layer = tuple[Any, dict[str, Any], str]
"""Data, settings and kind of a layer."""

Paths = str | Path | Sequence[str | Path]


def get_reader(path: Paths) -> Callable[[Paths], list[Layer]] | None:
    """What reads a label map that `predict` wrote; None for other files.

    Args:
        path: A file or folder, or several.
    """
    paths = _list(path)
    ends = (ENDS["labels"], ENDS["zarr"])
    return read_layers if paths and all(one.name.endswith(ends) for one in paths) else None


def read_layers(path: Paths) -> list[Layer]:
    """A layer for each label map, with the columns of `NAME_nuclei.csv` beside it as features.

    Args:
        path: A file or folder, or several.

    Raises:
        UserError: If one is damaged.
    """
    return [_read(one) for one in _list(path)]


def outline_layer(
    image: "napari.layers.Image",
    model: Path,
    calibrated: bool = True,
    score_threshold: float = 0.5,
) -> "napari.types.LayerDataTuple":
    """Outline the nuclei of an image layer.

    Args:
        image: One plane, gray or in colours. Of a pyramid the full size is taken.
        model: A run folder or checkpoint.
        calibrated: Whether the score threshold is the one that was calibrated in training.
        score_threshold: Else detections with a higher score count, in [0, 1].

    Returns:
        A label layer with measurements as features.

    Raises:
        UserError: If the model cannot be read, or the image has another shape.
    """
    data = image.data[0] if getattr(image, "multiscale", False) else image.data
    pixels = np.asarray(data)
    pixels = as_image(pixels[..., :3] if getattr(image, "rgb", False) else pixels)
    result = _loaded(str(model)).predict(pixels, None if calibrated else score_threshold)
    table = measured_table(result, ArrayPicture(pixels, image.name))
    return _layer(result.labels, f"{image.name} nuclei", dict(table))


def _read(path: Path) -> Layer:
    if path.name.endswith(ENDS["zarr"]):
        labels, name = read_label_zarr(path), path.name.removesuffix(ENDS["zarr"])
    else:
        labels, name = load_label_map(path), path.name.removesuffix(ENDS["labels"])
    return _layer(labels, f"{name} nuclei", _features(path.with_name(name + ENDS["csv"])))


def _layer(labels: np.ndarray, name: str, table: dict[str, Any]) -> Layer:
    # napari finds the row of a label by the column `index`.
    features = {"index": table["label"], **table} if table else {}
    return labels, {"name": name, "features": features}, "labels"


def _features(path: Path) -> dict[str, Any]:
    """Columns of a table; empty if there is none. Empty cells are NaN."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    columns = {
        name: np.array([float(cell or "nan") for cell in column])
        for name, column in zip(names, cells, strict=True)
    }
    return {**columns, "label": columns["label"].astype(np.int64)}


@lru_cache(maxsize=1)
def _loaded(path: str) -> Model:
    return load(path)


def _list(path: Paths) -> list[Path]:
    return [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
