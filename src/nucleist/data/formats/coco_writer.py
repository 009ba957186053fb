"""Write nuclei as COCO annotations with column-major RLE; `nucleist.data.formats.coco` reads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nucleist.data.formats.coco import compress
from nucleist.data.formats.traced import NucleusWriter, Traced
from nucleist.files import replacing
from nucleist.types import Window

CATEGORY = {"id": 1, "name": "nucleus", "supercategory": "cell"}


class CocoWriter(NucleusWriter):
    """Writes the annotations of one image into an open file, one a line."""

    def __init__(self, file: TextIO, name: str, shape: tuple[int, int]):
        """Begin the file.

        Args:
            file: To write to.
            name: File name of the image.
            shape: Its height and width, pixels.
        """
        self._file, self._shape, self._count = file, shape, 0
        image = {"id": 1, "file_name": name, "height": shape[0], "width": shape[1]}
        head = {"info": {"description": "nucleist"}, "images": [image], "categories": [CATEGORY]}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')

    def add(self, nucleus: Traced) -> None:
        """See `NucleusWriter.add`."""
        self._count += 1
        one = nucleus.nucleus
        y0, x0, y1, x1 = one.window
        annotation: dict[str, Any] = {
            "id": self._count,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": int(np.count_nonzero(one.mask)),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": encode_part(one.mask, one.window, self._shape),
            "score": round(float(one.score), 4),
            "attributes": {"label": one.label, "uuid": nucleus.id},
        }
        self._file.write(("," if self._count > 1 else "") + "\n" + json.dumps(annotation))

    def end(self) -> None:
        """Write the end of the file."""
        self._file.write("\n]}\n")


@contextmanager
def writing_coco(path: Path, name: str, shape: tuple[int, int]) -> Iterator[CocoWriter]:
    """Write a COCO file of one image whole or not at all.

    Args:
        path: The file.
        name: File name of the image.
        shape: Its height and width, pixels.

    Raises:
        UserError: If it cannot be written.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        writer = CocoWriter(file, name, shape)
        yield writer
        writer.end()


def encode_part(mask: np.ndarray, window: Window, shape: tuple[int, int]) -> dict[str, Any]:
    """Encode a mask in a window of an image as COCO's RLE, without a mask of the image.

    Args:
        mask: `(h, w)` `bool` of the window's size.
        window: In the image.
        shape: Height and width of the image, pixels.

    Returns:
        `{"size": [H, W], "counts": text}`.
    """
    edges = np.diff(np.pad(mask, ((1, 1), (0, 0))).astype(np.int8), axis=0).T
    columns, rows = np.nonzero(edges == 1)
    starts = (columns + window.x0) * shape[0] + rows + window.y0
    columns, rows = np.nonzero(edges == -1)
    ends = (columns + window.x0) * shape[0] + rows + window.y0
    # A run to the foot of the image goes on at the head of the next column.
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    bounds = np.stack([starts, ends], 1).ravel()
    total = shape[0] * shape[1]
    counts = np.diff(bounds, prepend=0, append=total).tolist()
    if len(bounds) and bounds[-1] == total:
        counts.pop()
    return {"size": [int(shape[0]), int(shape[1])], "counts": compress(counts)}
