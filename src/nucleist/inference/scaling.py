"""Images at the scale of a training: how much larger or smaller, and nuclei back on their grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.outline import outline
from nucleist.models.net import Net
from nucleist.types import Prediction, Progress, UserError, Window

SAME = 0.02
"""Images whose scale differs by less are not resampled: nuclei differ more."""

ODD = 1.5
"""A difference of scale that is said, where nothing was asked for."""

_MOST = 20.0
"""Larger factors are mistakes: of units, or of a digit."""

_MULTIPLE = 64
"""Windows of rescaled pictures begin at multiples of it, the stride of the coarsest level of our
nets, so that a window is outlined as in the whole picture."""

PixelSize = float | Literal["auto"]


@dataclass(frozen=True)
class Scaling:
    """What a user said of the scale of the images.

    Attributes:
        diameter: Typical diameter of their nuclei, pixels; None to leave the scale alone.
        pixel_size: Width of a pixel in micrometres, `"auto"` for what each file says, None to
            leave the scale alone. It is also what measurements use.

    Raises:
        UserError: If a number is not above 0.
    """

    diameter: float | None = None
    pixel_size: PixelSize | None = None

    def __post_init__(self) -> None:
        for key, value in (("diameter", self.diameter), ("pixel_size", self.pixel_size)):
            wrong = isinstance(value, str) and not (key == "pixel_size" and value == "auto")
            if wrong or (isinstance(value, int | float) and not 0 < value < float("inf")):
                unit = "pixels" if key == "diameter" else "micrometres, or pixel_size=auto"
                raise UserError(f"{key}={value}: write a number above 0, in {unit}")

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return self.diameter is not None or self.pixel_size is not None


AS_IT_IS = Scaling()
"""Nothing was said."""


@dataclass(frozen=True)
class Trained:
    """What a checkpoint says of the scale of its training.

    Attributes:
        diameter: Typical diameter of a nucleus, pixels; None of checkpoints of earlier releases.
        pixel_size: Width of a pixel, micrometres; None if unknown.
        side: Short side that the net itself resizes every image to, pixels; None if it does not.
    """

    diameter: float | None = None
    pixel_size: float | None = None
    side: int | None = None


UNKNOWN = Trained()
"""Of a checkpoint of an earlier release."""


def at_scale(picture: Picture, asked: Scaling, trained: Trained, progress: Progress) -> Picture:
    """A picture at the scale of the training: itself, or a `Rescaled`; what was done is said.

    Args:
        picture: As it was opened; its `pixel_size` becomes the one that was given.
        asked: What the user said.
        trained: What the checkpoint says.
        progress: Gets the line.

    Raises:
        UserError: If it cannot be told how the scales compare.
    """
    if isinstance(asked.pixel_size, float | int):
        picture.pixel_size = float(asked.pixel_size)
    if not asked:
        _hint(picture, trained, progress)
        return picture
    scale, reason = _factor(picture, asked, trained)
    if trained.side is not None:
        raise UserError(
            f"{picture.name}: this net resizes every image to a short side of {trained.side} px, "
            "whatever the diameter; leave diameter and pixel_size out, or give "
            "model.transform.min_size=null"
        )
    if not 1 / _MOST <= scale <= _MOST:
        raise UserError(
            f"{picture.name}: would be rescaled by {scale:.3g} ({reason}); check the unit"
        )
    if abs(scale - 1) < SAME:
        progress.note(f"{picture.name}: not rescaled, as its scale is the training's ({reason})")
        return picture
    found = Rescaled(picture, scale)
    progress.note(
        f"{picture.name}: rescaled by {scale:.3g} ({reason}), from {picture.height} x "
        f"{picture.width} px to {found.height} x {found.width}; labels come back in its own size"
    )
    return found


def _factor(picture: Picture, asked: Scaling, trained: Trained) -> tuple[float, str]:
    """How many times larger the picture has to become, and why."""
    if asked.diameter is not None:
        if trained.diameter is None:
            raise UserError(
                f"diameter={asked.diameter:g}: the model does not say how large its nuclei were "
                "(trained by an earlier release, or without nuclei); train again, or rescale the "
                "images yourself"
            )
        reason = f"nuclei of {asked.diameter:g} px, in training {trained.diameter:.3g}"
        return trained.diameter / asked.diameter, reason
    own = picture.pixel_size
    if own is None:
        raise UserError(
            f"{picture.name}: does not say how wide its pixels are; write pixel_size=N in "
            "micrometres, or diameter=N, the pixels of a typical nucleus"
        )
    if trained.pixel_size is None:
        raise UserError(
            f"pixel_size={asked.pixel_size}: the pixel size of the training is not known; write "
            "diameter=N (pixels of a typical nucleus) besides, or train with "
            "data.source.pixel_size=N"
        )
    return own / trained.pixel_size, f"{own:.4g} um a pixel, in training {trained.pixel_size:.4g}"


def _hint(picture: Picture, trained: Trained, progress: Progress) -> None:
    """Say that a picture has another scale than the training, where both are known."""
    own = picture.pixel_size
    if own is None or trained.pixel_size is None or trained.side is not None:
        return
    ratio = own / trained.pixel_size
    if not 1 / ODD <= ratio <= ODD:
        progress.warn(
            f"{picture.name}: {own:.4g} um a pixel, in training {trained.pixel_size:.4g}; "
            f"pixel_size=auto rescales it by {ratio:.3g}"
        )


Normalize = Callable[[np.ndarray], np.ndarray]


def outline_window(
    net: Net,
    normalize: Normalize,
    picture: Picture,
    window: Window,
    parameters: Sequence[str] = (),
    floor: float = 0.0,
) -> Prediction:
    """What a net finds in a window of a picture, in pixels of the picture's own grid.

    Args:
        net: In any mode.
        normalize: Of the picture as a whole.
        picture: From `at_scale`: rescaled or not.
        window: Of the picture's own grid.
        parameters: Names of the net's shape parameters.
        floor: Detections of at most this score are not needed.

    Returns:
        Of the window's size; coordinates begin at its upper left corner.
    """
    if not isinstance(picture, Rescaled):
        return outline(net, normalize(picture.read(window)), floor)
    around = covering(picture, window)
    found = outline(net, normalize(picture.read(around)), floor)
    return on_own_grid(found, picture, around, window, parameters)


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


def trained_scale(stored: Mapping[str, object], model: Mapping[str, object]) -> Trained:
    """What a checkpoint says of the scale of its training.

    Args:
        stored: What it holds besides the weights.
        model: Configuration of the net.
    """
    transform = model.get("transform")
    side = transform.get("min_size") if isinstance(transform, Mapping) else None
    sizes = [stored.get(key) for key in ("nucleus_diameter", "pixel_size")]
    diameter, width = (
        float(size) if isinstance(size, int | float) and size > 0 else None for size in sizes
    )
    return Trained(diameter, width, int(side) if isinstance(side, int) else None)
