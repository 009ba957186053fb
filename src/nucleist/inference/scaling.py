"""Images at the scale of a training: how much larger or smaller they are shown to a net."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.types import Progress, UserError

SAME = 0.02
"""Images whose scale differs by less are not resampled: nuclei differ more."""

ODD = 1.5
"""A difference of scale that is said, where nothing was asked for."""

_MOST = 20.0
"""Larger factors are mistakes: of units, or of a digit."""

_TOLD: WeakKeyDictionary[Progress, set[float]] = WeakKeyDictionary()
"""Differences of scale that somebody was told: once is enough for a folder of images."""

PixelSize = float | Literal["auto"]
Diameter = float | Literal["auto"]


@dataclass(frozen=True)
class Scaling:
    """What a user said of the scale of the images.

    Attributes:
        diameter: Typical diameter of their nuclei, pixels; `"auto"` for that of the nuclei that a
            first pass finds, None to leave the scale alone.
        pixel_size: Width of a pixel in micrometres, `"auto"` for what each file says, None to
            leave the scale alone. It is also what measurements use.

    Raises:
        UserError: If a number is not above 0.
    """

    diameter: Diameter | None = None
    pixel_size: PixelSize | None = None

    def __post_init__(self) -> None:
        for key, value in (("diameter", self.diameter), ("pixel_size", self.pixel_size)):
            wrong = isinstance(value, str) and value != "auto"
            if wrong or (isinstance(value, int | float) and not 0 < value < float("inf")):
                unit = "pixels" if key == "diameter" else "micrometres"
                raise UserError(f"{key}={value}: write a number above 0, in {unit}, or {key}=auto")

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
    if isinstance(asked.diameter, float | int):
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
    told = _TOLD.setdefault(progress, set())
    if not 1 / ODD <= ratio <= ODD and round(ratio, 2) not in told:
        told.add(round(ratio, 2))
        progress.warn(
            f"{picture.name}: {own:.4g} um a pixel, in training {trained.pixel_size:.4g}; "
            f"pixel_size=auto rescales it by {ratio:.3g}"
        )


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
