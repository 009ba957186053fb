"""Image files of many planes and channels, made by public libraries."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from nucleist.data.pictures import volume

STACK = np.random.default_rng(0).integers(0, 60_000, (2, 3, 2, 50, 70)).astype(np.uint16)
"""Two times of three planes of two channels."""


def read_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every image for a large one."""
    monkeypatch.setattr(volume, "IN_MEMORY", 0)


def hyperstack(path: Path, **options: object) -> Path:
    """`STACK` as ImageJ writes it, 0.25 um a pixel."""
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(4, 4), metadata={"axes": "TZCYX", "unit": "um"},
        **options,
    )  # fmt: skip
    return path


def ome_tiff(path: Path, **options: object) -> Path:
    """`STACK` as OME-TIFF with names of channels, 0.5 um a pixel."""
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm"}
    metadata["Channel"] = {"Name": ["DAPI", "GFP"]}
    tifffile.imwrite(path, STACK, ome=True, metadata=metadata, **options)
    return path


def tiles(path: Path, side: int = 20_000, tile: int = 512, **options: object) -> Path:
    """A BigTIFF of `side` x `side` px in compressed tiles, each full of its number modulo 251."""
    count = -(-side // tile)
    parts = [
        zlib.compress(np.full((tile, tile), number, np.uint8).tobytes(), 1) for number in range(251)
    ]
    numbers = (row * count + column for row in range(count) for column in range(count))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            (parts[number % 251] for number in numbers),
            shape=(side, side), dtype=np.uint8, tile=(tile, tile), compression="zlib", **options,
        )  # fmt: skip
    return path


def ome_zarr(path: Path, version: str = "0.4", letters: str = "tczyx", **extra: object) -> Path:
    """`STACK` in OME-Zarr, 0.2 um a pixel, with a smaller copy; channels DAPI and GFP."""
    pixels = STACK.transpose(0, 2, 1, 3, 4)[
        tuple(slice(None) if a in letters else 0 for a in "tczyx")
    ]
    units = {"x": {"unit": "micrometer"}, "y": {"unit": "micrometer"}}
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": a, "type": kinds.get(a, "space"), **units.get(a, {})} for a in letters]
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in (0, 1):
        step = 2**level
        part = np.ascontiguousarray(pixels[..., ::step, ::step])
        chunks = (*(1,) * (part.ndim - 2), 16, 16)
        array = group.create_array(str(level), shape=part.shape, dtype=part.dtype, chunks=chunks)
        array[...] = part
        scale = [0.1 * step if a in "yx" else 1.0 for a in letters]
        transform = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transform})
    whole = [{"type": "scale", "scale": [2.0 if a in "yx" else 1.0 for a in letters]}]
    image = {"axes": axes, "datasets": datasets, "coordinateTransformations": whole}
    said = {"multiscales": [image], "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}}
    said |= extra
    group.attrs.update(said if version == "0.4" else {"ome": {"version": "0.5", **said}})
    return path
