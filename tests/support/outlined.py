"""Label maps with all that nuclei may look like, and results made from them without a net."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference import earlier
from nucleist.inference.outputs import describe
from nucleist.inference.result import COLUMNS, Result
from nucleist.inference.save import paths_of, write_result
from nucleist.ops.labels import boxes_of

KINDS = {
    "large": 1, "touching": 2, "hole": 3, "two parts": 4, "corner": 5, "one pixel": 6,
    "line": 7, "border": 8, "diagonal": 9,
}  # fmt: skip
"""Labels of `odd`."""


def odd(shape: tuple[int, int] = (72, 64)) -> np.ndarray:
    """Nuclei of every kind; the ids are those of `KINDS`."""
    labels = np.zeros(shape, np.int32)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    labels[ellipse(y, x, (18, 16), (12, 8))] = 1
    labels[ellipse(y, x, (18, 33), (11, 9)) & (labels == 0)] = 2
    labels[ellipse(y, x, (46, 20), (10, 10))] = 3
    labels[ellipse(y, x, (46, 20), (3, 3))] = 0
    labels[ellipse(y, x, (42, 42), (6, 5)) | ellipse(y, x, (57, 42), (5, 5))] = 4
    labels[ellipse(y, x, (0, 0), (7, 6))] = 5
    labels[30, 55] = 6
    labels[36, 50:58] = 7
    labels[ellipse(y, x, (50, 64), (9, 7))] = 8
    labels[62:65, 10:13] = labels[65:69, 13:17] = 9
    return labels


def ellipse(
    y: np.ndarray, x: np.ndarray, center: tuple[float, float], axes: tuple[float, float]
) -> np.ndarray:
    """Pixels of an ellipse, rows first."""
    return ((y - center[0]) / axes[0]) ** 2 + ((x - center[1]) / axes[1]) ** 2 < 1


def blobs(count: int, seed: int = 0, radius: float = 11) -> np.ndarray:
    """A label map of smooth nuclei side by side, `radius` px large about."""
    rng = np.random.default_rng(seed)
    step, columns = int(3 * radius), 12
    rows = -(-count // columns)
    labels = np.zeros((rows * step, columns * step), np.int32)
    y, x = np.mgrid[:step, :step] + 0.5
    angles = np.arange(2, 5)
    for i in range(count):
        center = step / 2 + rng.uniform(-1, 1, 2)
        angle = np.arctan2(y - center[0], x - center[1])
        wave = rng.normal(0, 0.12 / angles)[:, None, None] * np.cos(
            angles[:, None, None] * angle + rng.uniform(0, 6, 3)[:, None, None]
        )
        edge = radius * rng.uniform(0.8, 1.1) * (1 + wave.sum(0))
        top, left = i // columns * step, i % columns * step
        inside = np.hypot(y - center[0], x - center[1]) < edge
        labels[top : top + step, left : left + step][inside] = i + 1
    return labels


def result(labels: np.ndarray) -> Result:
    """The result of a net that found exactly this label map, ids 1..N."""
    count = int(labels.max())
    ids = np.arange(1, count + 1)
    scores = np.linspace(0.95, 0.55, count).astype(np.float32)
    rows, columns = labels.nonzero()
    found = labels[rows, columns]
    area, x, y = (np.bincount(found, w, count + 1)[1:] for w in (None, columns, rows))
    boxes = boxes_of(torch.from_numpy(labels), count).numpy()
    cells = (ids, scores, area, x / area + 0.5, y / area + 0.5, *boxes.T)
    return Result(labels, boxes, scores, dict(zip(COLUMNS, cells, strict=True)))


def predicted(
    folder: Path, name: str, labels: np.ndarray, save: tuple[str, ...], pixels: np.ndarray
) -> Path:
    """Write an image and the results of a net that found this label map, as `predict` does.

    Returns the image's file, in `folder/images`; the results are in `folder/out`.
    """
    image = folder / "images" / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(image)
    output = folder / "out" / name
    output.parent.mkdir(exist_ok=True)
    about = {"image": earlier.image_hash(image), "settings": "0123456789ab", "saved": list(save)}
    found, picture = result(labels), ArrayPicture(pixels, image.name)
    write_result(found, picture, paths_of(output, save), earlier.origin_of(about))
    line = {**about, "nuclei": len(found), **describe(found, picture, image)}
    earlier.add(output.parent, name, line)
    return image
