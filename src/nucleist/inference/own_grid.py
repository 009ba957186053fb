"""Rescaled pictures through a net, and what it finds on the pictures' own grid."""

from collections.abc import Sequence

import numpy as np
import torch

from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.outline import outline
from nucleist.inference.symmetries import outlined_eightfold
from nucleist.models.net import Net, Surveyed
from nucleist.types import Prediction, Window

_MULTIPLE = 64
"""Windows of rescaled pictures begin at multiples of it, the stride of the coarsest level of our
nets, so that a window is outlined as in the whole picture."""


def outline_window(
    net: Net,
    image: np.ndarray,
    picture: Picture,
    window: Window,
    parameters: Sequence[str] = (),
    floor: float = 0.0,
    surveyed: Surveyed | None = None,
    symmetries: int = 1,
) -> Prediction:
    """What a net finds in a window of a picture, in pixels of the picture's own grid.

    Args:
        net: In any mode.
        image: `(h, w, 3)` `float32`, the normalised pixels of `seen_of(picture, window)`.
        picture: From `at_scale`: rescaled or not.
        window: Of the picture's own grid.
        parameters: Names of the net's shape parameters.
        floor: Detections of at most this score are not needed.
        surveyed: What the net measured on the picture as a whole; see `outline`.
        symmetries: 1, or 8 for what the net finds in all positions of the square.

    Returns:
        Of the window's size; coordinates begin at its upper left corner.
    """
    if symmetries == 8:
        found, _ = outlined_eightfold(net, image, floor, surveyed)
    else:
        found = outline(net, image, floor, surveyed)
    if not isinstance(picture, Rescaled):
        return found
    return on_own_grid(found, picture, covering(picture, window), window, parameters)


def own_of(picture: Picture) -> Picture:
    """A picture on its own grid, whether it is rescaled or not."""
    return picture.picture if isinstance(picture, Rescaled) else picture


def seen_of(picture: Picture, window: Window) -> Window:
    """The window of a picture that a net is shown for one of its own grid."""
    return covering(picture, window) if isinstance(picture, Rescaled) else window


def covering(picture: Rescaled, window: Window) -> Window:
    """The window of a rescaled picture that shows one of its own grid.

    Args:
        picture: The picture.
        window: Of its own grid.
    """
    tall = picture.height / picture.picture.height
    wide = picture.width / picture.picture.width
    ends = []
    for start, stop, factor, side in (
        (window.y0, window.y1, tall, picture.height),
        (window.x0, window.x1, wide, picture.width),
    ):
        first = int(start * factor) // _MULTIPLE * _MULTIPLE
        last = -(-int(np.ceil(stop * factor)) // _MULTIPLE) * _MULTIPLE
        ends.append((first, min(last, side)))
    (y0, y1), (x0, x1) = ends
    return Window(y0, x0, y1, x1)


def on_own_grid(
    found: Prediction,
    picture: Rescaled,
    around: Window,
    window: Window,
    parameters: Sequence[str] = (),
) -> Prediction:
    """What was found in a window of a rescaled picture, in pixels of the picture's own grid.

    A label has the pixels whose middles it covers. A nucleus that covers none has no label.

    Args:
        found: Of the window `around`.
        picture: The picture.
        around: Of the rescaled grid, see `covering`.
        window: Of the own grid.
        parameters: Names of the columns of `found["parameters"]`.
    """
    factors = (picture.picture.height / picture.height, picture.picture.width / picture.width)
    labels = picture.own_labels(_Placed(found["label_map"].cpu().numpy(), around), window)
    moved: Prediction = {
        "label_map": torch.from_numpy(np.ascontiguousarray(labels)),
        "scores": found["scores"].cpu(),
        "boxes": _moved(found["boxes"].cpu(), factors, around, window),
    }
    if "parameters" in found:
        table = found["parameters"].cpu().clone()
        for column, name in enumerate(parameters):
            table[:, column] = _converted(name, table[:, column], factors, around, window)
        moved["parameters"] = table
    return moved


def _moved(
    boxes: torch.Tensor, factors: tuple[float, float], around: Window, window: Window
) -> torch.Tensor:
    begin = boxes.new_tensor([around.x0, around.y0] * 2)
    factor = boxes.new_tensor([factors[1], factors[0]] * 2)
    return (boxes + begin) * factor - boxes.new_tensor([window.x0, window.y0] * 2)


def _converted(
    name: str,
    values: torch.Tensor,
    factors: tuple[float, float],
    around: Window,
    window: Window,
) -> torch.Tensor:
    """A shape parameter in pixels of the own grid, by its name and its unit."""
    tall, wide = factors
    if name.endswith("_x"):
        return (values + around.x0) * wide - window.x0
    if name.endswith("_y"):
        return (values + around.y0) * tall - window.y0
    if name.endswith("area_px"):
        return values * (tall * wide)
    return values * (tall * wide) ** 0.5 if name.endswith("_px") else values


class _Placed:
    """Labels of a window, indexed as those of the whole picture."""

    def __init__(self, labels: np.ndarray, window: Window) -> None:
        self._labels, self._window = labels, window

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        rows, columns = index
        top, left = self._window.y0, self._window.x0
        return self._labels[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
