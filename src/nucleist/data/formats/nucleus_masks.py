"""One mask file for each nucleus of an image, as in BBBC038: not 0 inside the nucleus."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.label_maps import check_shape, read_mask
from nucleist.data.outlines import compose, crop


def read_nucleus_masks(
    tree: FileTree, names: Sequence[str], image: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the nuclei of an image from one mask file each.

    Overlaps follow the rule of `nucleist.data.outlines`. Empty masks are left out, with a note.

    Args:
        tree: Holds the files.
        names: The mask files; their nuclei get the ids 1, 2, ... in this order.
        image: `(H, W, 3)`, the image that they are of.

    Returns:
        `(H, W)` `int32` label map, and the notes.

    Raises:
        UserError: If a file is damaged, or a mask has another size than the image.
    """
    nuclei, notes = [], []
    for number, name in enumerate(names, 1):
        mask = read_mask(tree.read(name), tree.describe(name))
        check_shape(mask, image, tree.describe(name))
        if nucleus := crop(mask, number):
            nuclei.append(nucleus)
        else:
            notes.append(f"mask {PurePosixPath(name).name} is empty and was left out")
    labels, overlaps = compose((image.shape[0], image.shape[1]), nuclei)
    return labels, (*notes, *overlaps)
