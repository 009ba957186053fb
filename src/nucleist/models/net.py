"""The contract between a net and everything that trains, tests or uses it.

Torchvision's: `net(images, targets) -> losses` in training, `net(images) -> predictions` in
evaluation. What only some nets can do is declared in `Net.can`; whoever needs it looks there, not
for methods that happen to exist.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SUPERVISION = ("instances", "binary")
"""What a net may learn from, as `data.supervision` names it: `Target` or `BinaryTarget`."""


@dataclass(frozen=True)
class Capabilities:
    """What a net can do beyond the contract.

    Attributes:
        learns_from: Kinds of supervision it takes, the usual one first.
        centers: It finds nuclei by their centres: `center_map`, `found_boxes`, `center_target`
            and `center_losses` work.
        attention: `attention_map` works.
        canonical_shape: It has learned one shape of all nuclei: `canonical_shape`,
            `outline_radius` and `angular_deviation` work.
        shape_parameters: Names of the columns of `Prediction["parameters"]`; empty without.
        models_missing_labels: Its loss models that some nuclei are not labelled, so its scores
            are probabilities already and need no calibration.
        coco_weights: `weights=coco` fits it.
    """

    learns_from: tuple[str, ...] = ("instances",)
    centers: bool = False
    attention: bool = False
    canonical_shape: bool = False
    shape_parameters: tuple[str, ...] = ()
    models_missing_labels: bool = False
    coco_weights: bool = False


class Net(nn.Module, ABC):
    """A net that finds nuclei.

    Attributes:
        can: What it can do beyond the contract; a net sets its own.
        limits_reached: Number of images in which a limit at inference (`detections_per_img=1000`)
            cut what was found, by limit, since it was last cleared. A net that has limits counts.
    """

    can: Capabilities = Capabilities()

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.limits_reached: dict[str, int] = {}

    @abstractmethod
    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """Losses in training, predictions in evaluation.

        Args:
            images: `(3, H, W)` `float32` each, normalised to about [0, 1]; sizes may differ.
            targets: One `Target` (or `BinaryTarget`) for each image; in training only.

        Returns:
            In training a dict of scalar losses, whose names begin with `loss_`; in evaluation a
            list of `nucleist.types.Prediction`.
        """

    def set_score_floor(self, score: float) -> None:
        """Detections of at most this score need not be computed; a net may ignore it."""

    def step_counts(self) -> Mapping[str, Tensor]:
        """Numbers of the last training step for the log: `{"found_boxes": ...}`."""
        return {}

    def facts(self) -> Mapping[str, float]:
        """Numbers about the trained net for the run's summary; NaN where it has none."""
        return {}

    def box_weights(self) -> tuple[float, ...] | None:
        """Weights of the RPN's box coder, `(wx, wy, ww, wh)`; None without an RPN."""
        return None

    def center_losses(self, images: Sequence[Tensor], targets: Sequence[Any]) -> dict[str, Tensor]:
        """The centre head's losses alone; nothing else is computed or given a gradient."""
        raise self._cannot("centers")

    def center_map(self, image: Tensor) -> Tensor:
        """Centre scores `(h, w)` in [0, 1] of one `(3, H, W)` image; a cell is `H / h` pixels."""
        raise self._cannot("centers")

    def center_target(self, image: Tensor, label_map: Tensor) -> Tensor:
        """What the centre head should say, `(h, w)` `int64`: 1 centre, 0 not, -1 unknown.

        Args:
            image: `(3, H, W)`.
            label_map: `(H, W)` integer, positive inside labelled nuclei.
        """
        raise self._cannot("centers")

    def found_boxes(self, image: Tensor) -> Tensor:
        """Boxes `(K, 4)` found by their centres, xyxy in pixels, independent of the classifier."""
        raise self._cannot("centers")

    def attention_map(self, image: Tensor, label_map: Tensor) -> Tensor:
        """Where the labelled nuclei attend to, `(h, w)` in [0, 1].

        Args:
            image: `(3, H, W)`.
            label_map: `(H, W)` integer, positive inside labelled nuclei.
        """
        raise self._cannot("attention")

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
