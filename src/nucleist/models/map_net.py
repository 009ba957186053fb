"""What nets share that predict one number a pixel: batches of images, and nuclei out of maps.

A subclass of `MapNet` defines what its map means (distance, probability), which losses it has, and
how nuclei are cut out of it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nucleist.models.net import Net, given
from nucleist.ops.cleaning import pieces_from
from nucleist.ops.labels import boxes_of
from nucleist.types import Prediction, UserError, Window


def at_least(option: str, value: float, least: float) -> None:
    """Check an option that is a number with a lower bound.

    Raises:
        UserError: If it is below.
    """
    if not value >= least:  # NaN too
        raise UserError(f"{option}={value} is too small; use {least} or more")


def reflected(length: int, total: int, before: int = 0) -> Tensor:
    """Positions that continue a line of pixels as between two mirrors, ends not repeated.

    Unlike in `torch.nn.functional.pad`, what is added may be longer than the line itself.

    Args:
        length: Pixels of the line, at least 1.
        total: Pixels of the result, at least `before + length`.
        before: How many of them come before the line's first.

    Returns:
        `(total,)` `int64` in 0..length-1.
    """
    place = torch.arange(-before, total - before) % max(2 * length - 2, 1)
    return torch.minimum(place, (2 * length - 2 - place).clamp(min=0))


def stack(images: Sequence[Tensor], multiple: int, rest: int = 0, margin: int = 0) -> Tensor:
    """Batch images of different sizes, filled up with mirrored pixels to the right and below.

    Args:
        images: `(C, H, W)` each, at least one.
        multiple: Height and width of the batch are a multiple of it, plus `rest`, and at least
            two multiples: batch normalisation of one image needs more than one cell.
        rest: See `multiple`.
        margin: Mirrored pixels added around the whole, for convolutions without padding.

    Returns:
        `(B, C, height + 2 margin, width + 2 margin)`; pixel `(y, x)` of an image is at
        `(y + margin, x + margin)`.
    """

    def side(axis: int) -> int:
        largest = max(image.shape[axis] for image in images)
        return max(-(-(largest - rest) // multiple), 2) * multiple + rest

    height, width = (side(axis) + 2 * margin for axis in (-2, -1))
    return torch.stack(
        [
            image[:, reflected(image.shape[-2], height, margin).to(image.device)][
                :, :, reflected(image.shape[-1], width, margin).to(image.device)
            ]
            for image in images
        ]
    )


class TargetMaps(NamedTuple):
    """Target maps of a batch.

    Attributes:
        values: `(B, H, W)` `float32`, 0 where they are unknown.
        known: `(B, H, W)` bool, pixels that the losses count; padding is not known.
    """

    values: Tensor
    known: Tensor


def stack_target_maps(
    values: Sequence[Tensor], known: Sequence[Tensor] | None, size: Sequence[int]
) -> TargetMaps:
    """Batch the target maps of images of different sizes.

    Args:
        values: `(H, W)` each.
        known: `(H, W)` bool each, pixels that the losses count; None for all.
        size: Height and width of the batch.
    """
    shape = (len(values), int(size[0]), int(size[1]))
    batch = values[0].new_zeros(shape, dtype=torch.float32)
    counts = values[0].new_zeros(shape, dtype=torch.bool)
    for i, value in enumerate(values):
        rows, cols = value.shape
        batch[i, :rows, :cols] = value
        counts[i, :rows, :cols] = True if known is None else known[i]
    return TargetMaps(batch, counts)


def mean_in(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of a map in each nucleus.

    Args:
        labels: `(H, W)` integer with values 0..N, all present.
        values: `(H, W)` float.

    Returns:
        `(N,)` `float64`.
    """
    flat = labels.ravel()
    return np.bincount(flat, values.ravel())[1:] / np.bincount(flat)[1:]


def foreground_scores(labels: np.ndarray, values: np.ndarray, threshold: float) -> np.ndarray:
    """Score of each nucleus that was cut out of a map of probabilities: its mean in the nucleus.

    The mean is above the foreground's threshold t. The scores are the means stretched from [t, 1]
    to [0.5, 1], so that every nucleus counts at a score threshold of 0.5, whatever t; with t = 0.5
    the score is the mean itself. (Holes that were filled may pull it below; it is then 0.5.)

    Args:
        labels: `(H, W)` integer with values 0..N, all present.
        values: `(H, W)` in [0, 1].
        threshold: Of the foreground, in [0, 1).

    Returns:
        `(N,)` `float64` in [0.5, 1].
    """
    above = (mean_in(labels, values) - threshold) / (1 - threshold)
    return 0.5 + 0.5 * above.clip(0, 1)


def surveyed_area(masks: Iterable[tuple[np.ndarray, Window]]) -> float:
    """Mean area of the pieces of a foreground that is seen in windows; 0 without any.

    Args:
        masks: `(h, w)` bool of each window, and the pixels of it that count: of a piece its first.
    """
    areas = [pieces_from(ndimage.label(mask)[0], core.slices)[1] for mask, core in masks]
    count = sum(map(len, areas))
    return float(sum(int(own.sum()) for own in areas)) / count if count else 0.0


def to_prediction(labels: np.ndarray, scores: np.ndarray, device: torch.device) -> Prediction:
    """A `Prediction` from a label map and its scores.

    Args:
        labels: `(H, W)` integer with values 0..N, all present.
        scores: `(N,)` in [0, 1], entry `i` about the value `i + 1`. Of equals the lower number
            comes first.
        device: Of the result.
    """
    order = np.argsort(-scores, kind="stable")
    numbers = np.zeros(len(scores) + 1, np.int32)
    numbers[order + 1] = np.arange(1, len(scores) + 1)
    label_map = torch.from_numpy(numbers[labels])
    return {
        "boxes": boxes_of(label_map, len(scores)).to(device),
        "scores": torch.from_numpy(scores[order].astype(np.float32)).to(device),
        "label_map": label_map.to(device),
    }


class MapNet(Net):
    """A net with one number a pixel: losses in training, nuclei in evaluation.

    Args:
        image_mean: Mean of each channel, images being in [0, 1].
        image_std: Standard deviation of each channel.
        multiple: See `stack`.
        rest: See `stack`.
        margin: See `stack`; `raw` takes it off again.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        multiple: int,
        rest: int = 0,
        margin: int = 0,
    ):
        super().__init__()
        # Not stored with the weights: they are options, stored with the configuration.
        for name, values in (("image_mean", image_mean), ("image_std", image_std)):
            column = torch.tensor(list(values), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, column, persistent=False)
        self.padding: dict[str, int] = {"multiple": multiple, "rest": rest, "margin": margin}

    @abstractmethod
    def raw(self, batch: Tensor) -> Tensor:
        """The net: `(B, 3, H + 2 margin, W + 2 margin)` to `(B, H, W)`."""

    @abstractmethod
    def losses(self, raw: Tensor, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of a batch's maps, `(B, H, W)` `float32`, by name."""

    def readable(self, raw: Tensor) -> Tensor:
        """A map in its unit (pixels, probability), from what the net computes."""
        return raw

    @abstractmethod
    def instances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Label map `(H, W)` 0..N and scores `(N,)` from one readable map `(H, W)`."""

    def _batch(self, images: Sequence[Tensor]) -> Tensor:
        scaled = [(image - self.image_mean) / self.image_std for image in images]
        # Half precision of autocast ends here: losses are sums over many pixels.
        return self.raw(stack(scaled, **self.padding)).float()

    def maps(self, images: Sequence[Tensor]) -> list[Tensor]:
        """The readable map of each image, `(H, W)` `float32`, before nuclei are cut out of it."""
        batch = self.readable(self._batch(images))
        return [
            values[: image.shape[-2], : image.shape[-1]]
            for values, image in zip(batch, images, strict=True)
        ]

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`."""
        if self.training:
            return self.losses(self._batch(images), given(targets))
        found = (self.instances(values.detach().cpu().numpy()) for values in self.maps(images))
        return [to_prediction(*result, images[0].device) for result in found]
