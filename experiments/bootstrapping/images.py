"""The images of a group as a folder without labels, and their truth apart."""

import pickle
import shutil
from itertools import chain
from pathlib import Path

import numpy as np

from experiments.bootstrapping.cells import IMAGES, SHIPPED
from experiments.bootstrapping.truth import Truth, truth_of
from nucleist.data.catalog import open_annotated
from nucleist.data.formats.images import write_image
from nucleist.files import make_folder, replacing
from nucleist.types import Source

LETTERS = 10
"""Of an image's id that are its name."""

SPLIT_OF_SHIPPED = ["data.fractions={train: 0.8, val: 0.1, test: 0.1}"]
"""As in `experiment=nuclei`."""


def chosen(group: str, count: int = IMAGES) -> tuple[Source, list[str]]:
    """The source and ids of the images: one of each of so many fields, the same for all cells.

    Of the shipped weights the first test images of a size.
    """
    if group.startswith(SHIPPED):
        source = open_annotated("bbbc038", SPLIT_OF_SHIPPED)[0]
        kinds, size = source.kinds(), group.removeprefix(SHIPPED)
        return source, [one for one in source.splits()["test"] if kinds[one] == size][:count]
    source = open_annotated("bbbc038", [f"data.source.group={group}"])[0]
    field, ids = source.groups(), sorted(chain(*source.splits().values()))
    fields: dict[str, list[str]] = {}
    for one in np.random.default_rng(0).permutation(ids):
        fields.setdefault(field[one], []).append(str(one))
    # The first image of every field, then the second: no field twice before all were had once.
    rounds = max(map(len, fields.values()))
    order = [some[n] for n in range(rounds) for some in fields.values() if n < len(some)]
    return source, sorted(order[:count])


def prepared(group: str, folder: Path, count: int = IMAGES) -> dict[str, Truth]:
    """Write the images of a group into a new folder.

    Their truth is kept beside the folder's parent, as it takes a minute of fitting outlines.

    Returns:
        Truth by name of the image.
    """
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    source, ids = chosen(group, count)
    kept = folder.parent.with_name(f"truth-{group}-{count}.pickle")
    found = pickle.loads(kept.read_bytes()) if kept.exists() else {}
    for image_id in ids:
        record, name = source.read(image_id), image_id[:LETTERS]
        write_image(folder / name, record.image)
        if name not in found:
            found[name] = truth_of(record.labels)
    with replacing(kept) as part:
        part.write_bytes(pickle.dumps(found))
    return found
