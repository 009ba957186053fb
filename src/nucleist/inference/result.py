"""A prediction as plain arrays: label map, boxes, scores and a table of measurements."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.data.formats.images import read_image
from nucleist.files import replacing
from nucleist.ops.labels import at_threshold
from nucleist.ops.pieces import clean_pieces
from nucleist.types import Nucleus, Prediction, UserError, Window

COLUMNS = (
    "label", "score", "area_px", "centroid_x", "centroid_y",
    "box_left", "box_top", "box_right", "box_bottom",
)  # fmt: skip
"""Columns of every table. Pixels; the upper left corner of the image is (0, 0) and the middle of
its first pixel (0.5, 0.5)."""

Table = Mapping[str, np.ndarray]
"""Columns by name, each `(N,)`: a line for each nucleus."""


@dataclass(frozen=True)
class Result:
    """The nuclei of one image.

    Attributes:
        labels: `(H, W)` `int32` label map, 0 background, 1..N nuclei, best score first.
        boxes: `(N, 4)` `float32`, xyxy in pixels; row `i` belongs to label `i + 1`.
        scores: `(N,)` `float32` in [0, 1], likewise.
        table: Measurements of each nucleus that has a pixel, by the names of `COLUMNS` and, for a
            net with shape parameters, theirs. `pandas.DataFrame(result.table)` makes a data frame.
    """

    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    table: Table

    def __len__(self) -> int:
        """Number of nuclei that have a pixel, the rows of `table`."""
        return len(self.table["label"])

    def nuclei(self) -> Iterator[Nucleus]:
        """The nuclei one by one, in the order of the table."""
        boxes = ndimage.find_objects(self.labels)
        for label, score in zip(self.table["label"], self.table["score"], strict=True):
            rows, columns = boxes[label - 1]
            window = Window(rows.start, columns.start, rows.stop, columns.stop)
            yield Nucleus(int(label), window, self.labels[window.slices] == label, float(score))

    def paint(self, window: Window) -> np.ndarray:
        """The label map of a window, `(h, w)` `int32`."""
        return self.labels[window.slices]


def as_image(image: str | Path | np.ndarray, choice: Choice = CLEAR) -> np.ndarray:
    """An image in the form that the normalisation needs.

    Args:
        image: A file, or an array `(H, W)` or `(H, W, 3)` of integers or floats.
        choice: Which channel and plane of a file, where it has several.

    Returns:
        `(H, W, 3)` `uint8`, `uint16` or `float32`.

    Raises:
        UserError: If the file cannot be read, or the array has another shape or type.
    """
    if isinstance(image, str | Path):
        try:
            content = Path(image).expanduser().read_bytes()
        except OSError as error:
            raise UserError(f"{image}: cannot read ({error.strerror}); check the file") from error
        return read_image(content, str(image), choice)
    pixels = np.asarray(image)
    gray = pixels.ndim == 2
    if (not gray and not (pixels.ndim == 3 and pixels.shape[2] == 3)) or not pixels.size:
        raise UserError(
            f"an image of shape {pixels.shape}; give (H, W), or (H, W, 3) with one plane a colour"
        )
    if pixels.dtype.kind not in "uif":
        raise UserError(f"an image of {pixels.dtype}; give whole numbers or floats")
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
    return np.repeat(pixels[..., None], 3, 2) if gray else pixels


def to_result(
    prediction: Prediction,
    threshold: float,
    shape_parameters: Sequence[str] = (),
    pieces: float = 0,
) -> Result:
    """The detections of a prediction above a score threshold.

    Args:
        prediction: Of one image.
        threshold: Detections with a higher score count, in [0, 1].
        shape_parameters: Names of the columns of `prediction["parameters"]`.
        pieces: Pieces of a nucleus below this share of its largest one are dropped, in [0, 1].
    """
    labels = at_threshold(prediction, threshold).numpy()  # best first: the kept ones are 1..N
    labels = clean_pieces(labels, pieces) if pieces else labels
    scores = prediction["scores"].cpu().numpy()
    count = int((scores > threshold).sum())
    return Result(
        labels,
        prediction["boxes"].cpu().numpy()[:count],
        scores[:count],
        measured(prediction, labels, shape_parameters),
    )


def measured(
    prediction: Prediction, labels: np.ndarray, shape_parameters: Sequence[str] = ()
) -> Table:
    """Measure each nucleus of a label map.

    Args:
        prediction: The prediction that the label map is from.
        labels: `(H, W)` `int32`, the prediction's label map or a part of it.
        shape_parameters: Names of the columns of `prediction["parameters"]`.

    Returns:
        The columns `COLUMNS`, then the shape parameters; `label` is `int64`, the rest floats.
    """
    rows, cols = labels.nonzero()
    ids = labels[rows, cols]
    ends = len(prediction["scores"]) + 1
    area, x, y = (np.bincount(ids, weights=w, minlength=ends) for w in (None, cols, rows))
    found = area.nonzero()[0]
    middles = np.stack([x, y], 1)[found] / area[found, None] + 0.5
    scores = prediction["scores"].cpu().numpy()[found - 1]
    boxes = prediction["boxes"].cpu().numpy()[found - 1]
    columns = dict(zip(COLUMNS, (found, scores, area[found], *middles.T, *boxes.T), strict=True))
    if shape_parameters:
        parameters = prediction["parameters"].cpu().numpy()[found - 1]
        columns |= dict(zip(shape_parameters, parameters.T, strict=True))
    return columns


def write_table(path: Path, table: Table, digits: int = 6) -> None:
    """Write a table as CSV; what is not a number is an empty cell.

    Args:
        path: The file.
        table: Its columns.
        digits: Significant digits of a number.

    Raises:
        UserError: If the file cannot be written.
    """
    names = list(table)
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for label, *values in zip(*(table[name] for name in names), strict=True):
            cells = (f"{value:.{digits}g}" if value == value else "" for value in values)
            writer.writerow([label, *cells])
