"""The contract between a net and everything that trains, tests or uses it.

It is torchvision's: `net(images, targets) -> losses` in training, `net(images) -> predictions` in
evaluation. What only some nets can do is declared in `Net.can`; callers look there, not for
methods that happen to exist.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from nucleist.types import Window

SUPERVISION = ("instances", "binary")
"""What a net may learn from, as `data.supervision` names it: `Target` or `BinaryTarget`."""

Surveyed = Mapping[str, Any]
"""What a net measured on an image as a whole: numbers, or nested lists of numbers, by name."""

T = TypeVar("T")


@dataclass(frozen=True)
class Capabilities:
    """What a net can do beyond the contract.

    Attributes:
        learns_from: Kinds of supervision it takes, of `SUPERVISION`, the usual one first.
        centers: It finds nuclei by their centres: `center_losses`, `center_map`, `center_target`
            and `found_boxes` work.
        attention: `attention_map` works.
        canonical_shape: It learns one shape of all nuclei: `canonical_shape`, `outline_radius` and
            `angular_deviation` work.
        shape_parameters: Names of the columns of `Prediction["parameters"]`; empty without. Those
            that end in `_x` and `_y` are positions, pixels.
        models_missing_labels: Its loss models that some nuclei are not labelled, so that its
            scores are probabilities of nuclei and need no calibration.
        coarse: It has two passes, and predictions have `Prediction["coarse"]`.
        coco_weights: `weights=coco` fits it.
        trains: It has parameters. One without is not trained: its losses are empty, and a training
            only measures it.
        surveys: It measures something on the whole image (a threshold, a mean), so that the tiles
            of one must not be outlined each by itself: `survey` works.
        untileable: Why its tiles do not show what the image shows, the option and its value;
            empty if they do.
    """

    learns_from: tuple[str, ...] = ("instances",)
    centers: bool = False
    attention: bool = False
    canonical_shape: bool = False
    shape_parameters: tuple[str, ...] = ()
    models_missing_labels: bool = False
    coarse: bool = False
    coco_weights: bool = False
    trains: bool = True
    surveys: bool = False
    untileable: str = ""


class Part(NamedTuple):
    """A window of an image that is surveyed.

    Attributes:
        image: `(3, h, w)`, normalised as the image is.
        core: The pixels of it that count. Each pixel of the image counts once at most; the rest
            of the window shows how the nuclei of the core go on.
    """

    image: Tensor
    core: Window


class Parts(Sequence[Part]):  # type: ignore[misc]  # slices are not needed
    """Windows of an image, each made when it is looked at, so that one is in memory at a time."""

    def __init__(self, count: int, read: Callable[[int], Part]) -> None:
        """Name them.

        Args:
            count: How many there are.
            read: Makes the one of a number from 0.
        """
        self._count, self._read = count, read

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __getitem__(self, index: int) -> Part:  # type: ignore[override]
        """Make one."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._read(index)


class Net(nn.Module, ABC):
    """A net that finds nuclei. Images are `(3, H, W)` `float32`, normalised to about [0, 1].

    Attributes:
        title: Its name in tables and curves, as its paper writes it; empty for the name of what
            built it.
        can: What it can do beyond the contract. A class declares it; an instance may replace it
            if its options decide.
        score_floor: Detections of at most this score, in [0, 1], need not be computed. Whoever
            sets it sets it back; a net may ignore it.
        limits_reached: For each limit at inference by which nuclei were lost, the number of images
            since `limits_reached.clear()`. Its name is the option of the net and its value:
            `roi.detections_per_img=1000`.
        surveyed: What `survey` measured on the image of which the next ones are tiles; None where
            they are images. Whoever sets it sets it back.
    """

    title: str = ""
    can: Capabilities = Capabilities()
    score_floor: float = 0.0
    surveyed: Surveyed | None = None
    limits_reached: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.limits_reached = {}

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        first = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    @abstractmethod
    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """Losses in training, predictions in evaluation.

        Args:
            images: `(3, H, W)` each; sizes may differ.
            targets: One `Target` (or `BinaryTarget`) for each image, in training; it is left as
                it is.

        Returns:
            In training a dict of scalar losses, whose names begin with `loss_`, empty without
            `can.trains`; in evaluation a list of `nucleist.types.Prediction`.

        Raises:
            ValueError: If targets are missing in training, or one lacks an entry.
        """

    def step_counts(self) -> Mapping[str, Tensor]:
        """Numbers of the last training step for the log, scalars by name; none by default."""
        return {}

    def facts(self) -> Mapping[str, float]:
        """Numbers about the trained net for the run's summary; NaN where one is undefined."""
        return {}

    def box_weights(self) -> tuple[float, ...] | None:
        """Weights of the RPN's box coder for `(dx, dy, dw, dh)`; None without an RPN."""
        return None

    def center_losses(self, images: Sequence[Tensor], targets: Sequence[Any]) -> dict[str, Tensor]:
        """The centre head's losses alone; the rest of the net is not run and gets no gradient.

        Args:
            images: As of `forward`.
            targets: As of `forward`.
        """
        raise self._cannot("centers")

    def center_map(self, image: Tensor) -> Tensor:
        """Centre scores `(H, W)` in [0, 1] of one image: at each pixel the score of its cell."""
        raise self._cannot("centers")

    def center_target(self, image: Tensor, label_map: Tensor) -> Tensor:
        """What the centre head should predict, `(H, W)` `int64`: 1 centre, 0 none, -1 unknown.

        Args:
            image: `(3, H, W)`.
            label_map: `(H, W)` integer, 0 unlabelled, any positive ids.
        """
        raise self._cannot("centers")

    def found_boxes(self, image: Tensor) -> Tensor:
        """Boxes `(K, 4)` found by their centres, xyxy in pixels, independent of the classifier."""
        raise self._cannot("centers")

    def attention_map(self, image: Tensor, label_map: Tensor) -> Tensor:
        """Where the labelled nuclei attend to, `(H, W)` in [0, 1]: at each pixel that of its cell.

        Args:
            image: `(3, H, W)`.
            label_map: `(H, W)` integer, positive inside labelled nuclei.
        """
        raise self._cannot("attention")

    def survey(self, parts: Sequence[Part]) -> Surveyed:
        """What the net measures on an image as a whole, from windows of it; in eval mode.

        Args:
            parts: All of the image, or a sample. They may be read from a file each time.

        Returns:
            For `surveyed`. Of all of the image what the net itself would measure on it, as long as
            no nucleus is larger than what surrounds the cores.
        """
        raise self._cannot("surveys")

    def canonical_shape(self, size: int) -> Tensor:
        """Probability of the learned shape on `[-1, 1]^2`, `(size, size)`."""
        raise self._cannot("canonical_shape")

    def outline_radius(self) -> float:
        """Mean radius of the learned shape's outline, in its own frame; NaN without an outline."""
        raise self._cannot("canonical_shape")

    def angular_deviation(self) -> float:
        """Standard deviation of the outline's radius over the angle, divided by its mean."""
        raise self._cannot("canonical_shape")

    def _cannot(self, capability: str) -> TypeError:
        return TypeError(f"{type(self).__name__} does not declare can.{capability}")


@contextmanager
def knowing(net: Net, surveyed: Surveyed | None) -> Iterator[None]:
    """Let a net take what was surveyed instead of measuring each image, as long as this lasts.

    Args:
        net: Any net.
        surveyed: From its `survey`; None lets it measure.
    """
    before = net.surveyed
    net.surveyed = surveyed
    try:
        yield
    finally:
        net.surveyed = before


def given(targets: Sequence[T] | None) -> Sequence[T]:
    """The targets of a training step.

    Raises:
        ValueError: If there are none.
    """
    if targets is None:
        raise ValueError("targets are needed in training; call net.eval() to predict")
    return targets
