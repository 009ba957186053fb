"""Find and read corrected nuclei: files that `predict` wrote and a person edited, or their like.

Files belong to the image whose name they begin with: `a_rois.zip`, `a.zip`, `a_labels.geojson`,
`a_seg.npy`; those of COCO to the images that they name.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nucleist.data.corrections import shapes_of
from nucleist.data.formats.cellpose import read_cellpose
from nucleist.data.formats.coco import CocoImage, load_coco, read_corrected_coco
from nucleist.data.formats.geojson import read_corrected_geojson
from nucleist.data.formats.imagej import read_corrected_rois
from nucleist.data.formats.label_checks import check_label_map
from nucleist.data.formats.label_maps import check_instances, read_label_map
from nucleist.data.formats.traced import Corrected, Corrections
from nucleist.data.readers.names import LABEL_END, SEG_END, plain
from nucleist.types import UserError

SUFFIXES = {
    "imagej": (".zip", ".roi"),
    "geojson": (".geojson",),
    "splines": ("_splines.geojson",),
    "coco": (".json",),
    "labels": (".tif", ".tiff", ".png"),
    "cellpose": (SEG_END,),
}
"""What can be imported, and how its files end."""

Shape = tuple[int, int]
Read = Callable[[Shape], Corrections]
"""Reads the nuclei of an image of this height and width."""


def find_corrected(
    folder: Path, form: str, names: Mapping[str, str]
) -> dict[str, tuple[str, Read]]:
    """The corrected files of images.

    Args:
        folder: Where they lie; folders inside are not looked into.
        form: One of `SUFFIXES`.
        names: File names of the images by the names of their results.

    Returns:
        By the name of the results a file, and what reads it.

    Raises:
        UserError: If two files are of one image, or one is damaged.
    """
    found: dict[str, list[tuple[str, Read]]] = defaultdict(list)
    for path in sorted(_files(folder, form)):
        if form == "coco":
            for stem, one in _coco(path).items():
                for name in (n for n, image in names.items() if Path(image).stem == stem):
                    found[name].append((str(path), one))
            continue
        stem = path.name[: -len(SEG_END)] if form == "cellpose" else path.stem
        stem = stem.removesuffix("_splines") if form == "splines" else stem
        shorts = {stem, plain(stem), LABEL_END.sub("", plain(stem))}
        for name in names.keys() & shorts:
            found[name].append((str(path), _reader(form, path)))
    for name, files in found.items():
        if len(files) > 1:
            raise UserError(
                f"{files[0][0]} and {files[1][0]}: both are of {names[name]}; put the corrected "
                "files into a folder of their own, and add results=FOLDER"
            )
    return {name: files[0] for name, files in found.items()}


def _files(folder: Path, form: str) -> list[Path]:
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = [path for path in files if path.is_file()]
    own = [path for path in files if path.name.lower().endswith(SUFFIXES[form])]
    if form == "geojson":
        own = [path for path in own if not path.name.endswith(SUFFIXES["splines"])]
    return own


def _reader(form: str, path: Path) -> Read:
    def read(shape: Shape) -> Corrections:
        data, where = path.read_bytes(), str(path)
        if form == "imagej":
            return read_corrected_rois(data, where, shape)
        if form in ("geojson", "splines"):
            return read_corrected_geojson(data, where, shape)
        if form == "cellpose":
            return _of_label_map(read_cellpose(data, where), where, shape)
        return _of_label_map(read_label_map(data, where), where, shape)

    return read


def _coco(path: Path) -> dict[str, Read]:
    """What reads each image of a COCO file, by the stem of its name."""

    def reader(image: CocoImage) -> Read:
        return lambda shape: read_corrected_coco(image, str(path), shape)

    images = load_coco(path.read_bytes(), str(path))
    return {Path(image.file_name.replace("\\", "/")).stem: reader(image) for image in images}


def _of_label_map(labels: np.ndarray, where: str, shape: Shape) -> Corrections:
    if labels.shape != shape:
        raise UserError(
            f"{where}: labels of {labels.shape[0]} x {labels.shape[1]} pixels for an image of "
            f"{shape[0]} x {shape[1]}; give the labels of that image"
        )
    check_instances(labels, where)
    notes = check_label_map(labels, where)
    return Corrections([Corrected(one) for one in shapes_of(labels)], notes)
