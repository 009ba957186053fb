"""Images of which tiles are outlined: nuclei on every seam, and nets that need no training."""

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nucleist.data.pictures.picture import Picture
from nucleist.inference.load import Model
from nucleist.inference.tiles.cut import Cut, Overlap, Tile
from nucleist.inference.tiles.grid import Grid
from nucleist.models.map_net import to_prediction
from nucleist.models.net import Net
from nucleist.ops.normalize import FullRange
from nucleist.types import Prediction, Window

DARK, BRIGHT = 30, 200


def on_seams(grid: Grid, radius: int = 9, step: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Discs everywhere, with some right on each seam and on each corner of four tiles.

    Returns:
        The image `(H, W, 3)` `uint8` and the label map `(H, W)` `int32`.
    """
    seams = [grid.core(i) for i in range(len(grid))]
    rows = _line({core.y0 for core in seams}, grid.height, step)
    cols = _line({core.x0 for core in seams}, grid.width, step)
    labels = np.zeros((grid.height, grid.width), np.int32)
    ys, xs = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = ys**2 + xs**2 <= radius**2
    for number, (y, x) in enumerate(((y, x) for y in rows for x in cols), 1):
        own = labels[y - radius : y + radius + 1, x - radius : x + radius + 1]
        own[disc] = number
    image = np.where(labels > 0, BRIGHT, DARK)[..., None].repeat(3, 2)
    return image.astype(np.uint8), labels


class Blank(Picture):
    """A picture of any size without pixels."""

    def __init__(self, height: int, width: int):
        self.name, self.height, self.width, self.pixel_size = "blank", height, width, None
        self.dtype, self.channels = np.dtype(np.uint8), ("",)

    def read(self, window: Window) -> np.ndarray:
        return np.zeros((window.y1 - window.y0, window.x1 - window.x0, 3), np.uint8)

    def read_channels(self, window: Window) -> np.ndarray:
        return self.read(window)[..., :1]


def grid_of(height: int, width: int, tile: Tile = "auto", overlap: Overlap = "auto") -> Grid | None:
    """The tiles of an image that is shown as it is."""
    return Cut(tile, overlap).grid(Blank(height, width))


def _line(seams: set[int], side: int, step: int) -> list[int]:
    """Middles of discs: on the seams, and between them where there is room."""
    middles = sorted(seam for seam in seams if seam)
    for place in range(step, side - step, step):
        if all(abs(place - other) >= step for other in middles):
            middles.append(place)
    return sorted(middles)


class Bright(Net):
    """Each bright piece is a nucleus, with a score by its place in the window.

    Args:
        wobble: Pixels by which masks may be shifted, by what else the window shows: so two tiles
            see a nucleus differently.
        blind: Share of the nuclei that a window does not show, by what else it shows.
    """

    def __init__(self, wobble: int = 0, blind: float = 0.0):
        super().__init__()
        self.wobble, self.blind = wobble, blind
        self.seen: list[tuple[int, int]] = []

    def forward(self, images, targets=None) -> list[Prediction]:
        self.seen += [(image.shape[1], image.shape[2]) for image in images]
        return [self._found(image) for image in images]

    def _found(self, image: Tensor) -> Prediction:
        chance = np.random.default_rng(int(image.sum() * 1000) % 2**32)
        mask = image[0].numpy() > 0.5
        labels = ndimage.label(mask, output=np.int32)[0]
        count = int(labels.max())
        if self.wobble:
            labels = self._shifted(labels, count, chance)
        hidden = np.flatnonzero(chance.random(count) < self.blind) + 1
        labels[np.isin(labels, hidden)] = 0
        ids, labels = np.unique(labels, return_inverse=True)
        labels = labels.reshape(mask.shape).astype(np.int32)
        scores = chance.uniform(0.6, 1, len(ids) - 1 if ids[0] == 0 else len(ids))
        return to_prediction(labels, scores, torch.device("cpu"))

    def _shifted(self, labels: np.ndarray, count: int, chance: np.random.Generator) -> np.ndarray:
        out = np.zeros_like(labels)
        moves = chance.integers(-self.wobble, self.wobble + 1, (count + 1, 2))
        rows, cols = labels.nonzero()
        ids = labels[rows, cols]
        rows = (rows + moves[ids, 0]).clip(0, labels.shape[0] - 1)
        cols = (cols + moves[ids, 1]).clip(0, labels.shape[1] - 1)
        out[rows, cols] = ids
        return out


def model_of(net: Net, threshold: float = 0.5) -> Model:
    """A net that needs no training, as a loaded model."""
    return Model(net.eval(), FullRange(), threshold, {"model": {}, "normalize": {}}, Path("none"))


def ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest IoU of each nucleus of a label map with one of another, `(N,)`."""
    both = (one > 0) & (other > 0)
    pairs, shared = np.unique(np.stack([one[both], other[both]]), axis=1, return_counts=True)
    area, area_of_other = np.bincount(one.ravel()), np.bincount(other.ravel())
    best = np.zeros(len(area))
    union = area[pairs[0]] + area_of_other[pairs[1]] - shared
    np.maximum.at(best, pairs[0], shared / union)
    return best[1:][area[1:] > 0]
