"""An image through a net in the eight positions of the square, and what they agree on.

A net that learned with flips and quarter turns is not exactly symmetric; the mean over the eight
is better than any of them, at eight times the cost.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from nucleist.inference.outline import outline
from nucleist.models.net import Net, Surveyed
from nucleist.ops.votes import Votes, vote
from nucleist.types import Prediction, UserError


class Symmetry(NamedTuple):
    """A flip from left to right, if any, and then quarter turns to the left."""

    flip: bool
    turns: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """An `(H, W, ...)` image in this position."""
        return np.rot90(image[:, ::-1] if self.flip else image, self.turns)

    def undo(self, labels: np.ndarray) -> np.ndarray:
        """An `(h, w)` map of the image in this position, as the image was."""
        back = np.rot90(labels, -self.turns)
        return back[:, ::-1] if self.flip else back

    def undo_boxes(self, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Boxes of the image in this position, as the image was.

        Args:
            boxes: `(N, 4)` xyxy, pixels.
            shape: Height and width of the image as it was.
        """
        x0, y0, x1, y1 = boxes.T
        height, width = shape if self.turns % 2 == 0 else shape[::-1]
        for _ in range(self.turns):
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
            height, width = width, height
        if self.flip:
            x0, x1 = width - x1, width - x0
        return np.stack([x0, y0, x1, y1], 1)


SYMMETRIES = tuple(Symmetry(flip, turns) for flip in (False, True) for turns in range(4))
"""The eight of the square; the first changes nothing."""


def outlined_eightfold(
    net: Net,
    image: np.ndarray,
    floor: float = 0.0,
    surveyed: Surveyed | None = None,
) -> tuple[Prediction, Votes]:
    """What a net finds in the eight positions of an image, merged by votes.

    The floor holds for the mean score over the eight, so what single positions find above half of
    it is looked at.

    Args:
        net: In any mode, which it has again afterwards.
        image: `(H, W, 3)` `float32`, normalised as the net was trained.
        floor: Nuclei of at most this score are not needed, in [0, 1].
        surveyed: See `nucleist.inference.outline.outline`.

    Returns:
        The prediction, best score first, and what it is made of; `votes` is of 8.

    Raises:
        UserError: If the net has parameters of shapes, which turn with the image.
    """
    if net.can.shape_parameters:
        raise UserError(
            "symmetries=8: the shape parameters of this net turn with the image; use symmetries=1"
        )
    votes = vote(*zip(*_eight(net, image, floor / 2, surveyed), strict=True))
    return _prediction(votes), votes


def _eight(
    net: Net, image: np.ndarray, floor: float, surveyed: Surveyed | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Label map, scores and boxes of each position, as the image was."""
    shape = image.shape[:2]
    for symmetry in SYMMETRIES:
        found = outline(net, np.ascontiguousarray(symmetry.of(image)), floor, surveyed)
        labels = symmetry.undo(found["label_map"].cpu().numpy())
        boxes = symmetry.undo_boxes(found["boxes"].cpu().numpy(), (shape[0], shape[1]))
        yield labels, found["scores"].cpu().numpy(), boxes


def _prediction(votes: Votes) -> Prediction:
    return {
        "boxes": torch.from_numpy(votes.boxes),
        "scores": torch.from_numpy(votes.scores),
        "label_map": torch.from_numpy(votes.labels),
    }
