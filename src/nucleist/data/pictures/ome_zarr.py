"""An image in OME-Zarr 0.4 or 0.5: a folder of chunks with metadata in JSON.

Source: https://ngff.openmicroscopy.org/0.4 and 0.5.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.data.formats.axes import axes_of
from nucleist.data.formats.channels import CLEAR, Choice, Planes
from nucleist.data.formats.pixel_size import in_micrometres
from nucleist.data.pictures.volume import Volume
from nucleist.types import UserError, Window

_V2 = (".zattrs", ".zgroup", ".zarray")
_V3 = "zarr.json"
_NAME = 40
"""Longest name of a channel."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is an array or a group of Zarr."""
    return path.is_dir() and any((path / name).is_file() for name in (*_V2, _V3))


class ZarrVolume(Volume):
    """An image in OME-Zarr, at its full resolution."""

    separate = True

    def __init__(self, path: Path, choice: Choice = CLEAR):
        """Read the metadata.

        Args:
            path: The folder of the image.
            choice: Whether a time is chosen.

        Raises:
            UserError: If it is a plate, holds several images, or no image.
            Exception: Whatever zarr raises on damaged files.
        """
        import zarr  # takes a while to import, and other files need it not

        self.where = str(path)
        path, metadata = _image_in(path)
        image = metadata["multiscales"][0]
        dataset = image["datasets"][0]
        self._array = zarr.open_array(path / _inside(dataset["path"]), mode="r")
        letters = _letters(image, self._array.ndim)
        sizes = tuple(self._array.shape)
        self.shape = f"axes {letters}, {' x '.join(map(str, sizes))}"
        self.axes = axes_of(letters, sizes, self.where, self.shape, choice.t is not None)
        self.dtype = np.dtype(self._array.dtype)
        self.pixel_size = _pixel_size(image, dataset, letters)
        self._names = _names(metadata, self.axes.channels)

    def read(self, t: int, z: int, window: Window, channel: int | None = None) -> np.ndarray:
        """See `Volume.read`."""
        return self.axes.take(self._array, t, z, window, channel)

    def shown(self, pixels: np.ndarray) -> Planes:
        """See `Volume.shown`."""
        return Planes(pixels, False, self.shape, self._names)


def _image_in(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """The folder of the one image, and its metadata."""
    metadata = _metadata(path)
    if "multiscales" in metadata:
        return path, metadata
    if "plate" in metadata:
        wells = metadata["plate"].get("wells") or [{"path": "A/1"}]
        raise UserError(f"{path}: a plate; give one of its fields: {path}/{wells[0]['path']}/0")
    if "well" in metadata:
        fields = [one["path"] for one in metadata["well"]["images"]]
        raise UserError(f"{path}: a well of {len(fields)} fields; give one: {path}/{fields[0]}")
    if "bioformats2raw.layout" in metadata:
        images = sorted(one.name for one in path.iterdir() if one.name.isdecimal())
        if len(images) == 1:
            return path / images[0], _metadata(path / images[0])
        raise UserError(f"{path}: {len(images)} images; give one of them: {path}/{images[0]}")
    raise UserError(
        f"{path}: Zarr without an image in its metadata (multiscales); give the folder that has "
        "them, or save the image as OME-TIFF"
    )


def _metadata(path: Path) -> Mapping[str, Any]:
    """What OME's metadata say of a folder, of either version."""
    if (path / _V3).is_file():
        attributes = json.loads((path / _V3).read_text(encoding="utf-8")).get("attributes") or {}
        return dict(attributes.get("ome") or attributes)
    if (path / ".zattrs").is_file():
        attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
        return dict(attributes.get("ome") or attributes)
    return {}


def _inside(name: str) -> str:
    """The path of an array, if it is one below the image."""
    if not isinstance(name, str) or name.startswith("/") or ".." in Path(name).parts:
        raise ValueError(f"an array at {name!r}")
    return name


def _letters(image: Mapping[str, Any], count: int) -> str:
    """Axes, one letter each; version 0.1 and 0.2 have none and are TCZYX."""
    axes = image.get("axes") or list("tczyx"[-count:])
    names = [str(one["name"] if isinstance(one, Mapping) else one).upper() for one in axes]
    if len(names) != count or any(len(name) != 1 for name in names):
        raise ValueError(f"axes {names} of {count} dimensions")
    return "".join(names)


def _pixel_size(image: Mapping[str, Any], dataset: Mapping[str, Any], letters: str) -> float | None:
    """Scale along x in micrometres: of the array, times that of the image, if it has one."""
    axes, place = image.get("axes") or [], letters.index("X")
    unit = axes[place].get("unit", "") if axes and isinstance(axes[place], Mapping) else ""
    scale = 1.0
    found = False
    for part in (dataset, image):
        for transform in part.get("coordinateTransformations") or []:
            if transform.get("type") == "scale":
                scale, found = scale * float(transform["scale"][place]), True
    return in_micrometres(scale, str(unit)) if found else None


def _names(metadata: Mapping[str, Any], count: int) -> Sequence[str]:
    """Names of the channels; empty if there are not as many."""
    channels = (metadata.get("omero") or {}).get("channels") or []
    names = [str(one.get("label") or "")[:_NAME] for one in channels]
    return names if len(names) == count else ()
