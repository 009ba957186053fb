"""The nuclei of an image in tiles as arrays: the label map is a memory map of a temporary file."""

import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from nucleist.inference.overlay import windows
from nucleist.inference.result import Result
from nucleist.inference.tiles.outlines import Outlines

BLOCK = 1024
"""Side of the windows in which the label map is painted, pixels."""


def as_result(outlines: Outlines) -> Result:
    """The nuclei as arrays. The label map is a memory map of a temporary file.

    The file is deleted when the label map is not used any more.

    Args:
        outlines: The nuclei.
    """
    shape = outlines.height, outlines.width
    folder = Path(mkdtemp(prefix="nucleist_labels_"))
    path = folder / "labels"
    np.memmap(path, np.int32, "w+", shape=shape).flush()  # a sparse file of zeros
    for window in windows(*shape, BLOCK):
        part = np.memmap(path, np.int32, "r+", shape=shape)
        part[window.slices] = outlines.paint(window)
        del part  # what is mapped counts as memory of this process
    labels = np.memmap(path, np.int32, "r", shape=shape)
    weakref.finalize(labels, shutil.rmtree, folder, ignore_errors=True)
    table = outlines.table
    sides = [table[f"box_{side}"] for side in ("left", "top", "right", "bottom")]
    boxes = np.stack(sides, 1).astype(np.float32)
    return Result(labels, boxes, table["score"].astype(np.float32), table)
