"""Write the images and labels of a cell of few labels as TIFFs, for any tool.

    NUCLEIST_DATA=FOLDER python -m experiments.peers.export LABELS FOLDER

LABELS are of `experiments/few_labels/cells.py`. The images are those of the cell: gray ones as they
are stored, `labels` with 0 where nothing is labelled, and for training images `known`: 0 where an
unlabelled pixel may be a nucleus. Known background is what `model.background=similar` takes for it.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile

from experiments.few_labels.cells import MAIN, SCRATCH, Cell
from nucleist.config.compose import compose
from nucleist.data.module import NucleiData
from nucleist.data.targets import to_target, to_tensor
from nucleist.files import make_folder, write_json
from nucleist.models.pixel_targets import known_pixels, with_background
from nucleist.training.train import build_data

BAND = 4


def put(folder: Path, kind: str, name: str, pixels: np.ndarray) -> None:
    tifffile.imwrite(make_folder(folder / kind) / f"{name}.tif", pixels, compression="zlib")


def known_of(data: NucleiData, image_id: str) -> np.ndarray:
    """Where a training image is nucleus or background for certain, `uint8`."""
    image, target = data.train_set.partial(image_id)[0], data.train_set.with_unknown(image_id)
    return known_pixels(
        with_background(to_tensor(image), to_target(target), "similar", BAND)
    ).astype(np.uint8)


def export(data: NucleiData, folder: Path) -> None:
    for use in ("train", "val", "test"):
        for image_id in data.ids(use):
            record = data.record(image_id)
            labels = record.labels
            if use == "train":
                labels = data.train_set.partial(image_id)[1]
                put(folder / use, "known", image_id, known_of(data, image_id))
            put(folder / use, "images", image_id, record.image[..., 0])
            put(folder / use, "labels", image_id, labels.astype(np.uint16))
    groups = data.source.groups()
    fields = {image_id: groups[image_id] for use in ("val", "test") for image_id in data.ids(use)}
    about = {"fields": fields, "labelled_nuclei": data.labelled_nuclei()}
    write_json(folder / "about.json", about)


def main(labels: str, folder: str) -> None:
    cell = Cell(MAIN, 0, labels, "scratch", "pa", SCRATCH)
    export(build_data(compose("train", cell.overrides())), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
