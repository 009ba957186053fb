"""Which channel and which plane of an image shows the nuclei: chosen, clear, or asked for.

An image of several channels is used as it is if they are red, green and blue. Of other channels
one has to be named, unless a single one has content. A picture in one hue on black (a fluorescence
channel shown in blue, green or cyan) is one channel as well: its colour means nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nucleist.types import UserError

_EMPTY = 0.1
"""Mean of a channel without content, relative to the fullest."""

_DARK = 0.5
"""Where colours are in one hue, some channel is at most this much of the fullest. White
background, as of stained tissue, has 1."""

_SAME_HUE, _SAME_HUE_BESIDE_EMPTY = 0.05, 0.1
"""Mean distance of a channel from being a multiple of the fullest, relative to its own mean. Up
to twice that if a third is empty: JPEG blurs hues. Stained tissue without any white has 0.12."""

_LISTED = 8
"""Channels that a message describes."""


@dataclass(frozen=True)
class Choice:
    """What a user chose of images of several channels or planes.

    Attributes:
        channel: Number of the channel, from 1; `"rgb"` if the first three are red, green and
            blue; None if it should be clear.
        z: Number of the plane of a stack, from 1; `"project"` for the largest value of each pixel
            over all planes; None if there is one plane.

    Raises:
        UserError: If a value is none of these.
    """

    channel: int | Literal["rgb"] | None = None
    z: int | Literal["project"] | None = None

    def __post_init__(self) -> None:
        for key, value, word in (("channel", self.channel, "rgb"), ("z", self.z, "project")):
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if value is not None and value != word and not number:
                raise UserError(f"{key}={value}: write a number from 1, or {key}={word}")


CLEAR = Choice()
"""Nothing is chosen."""


@dataclass(frozen=True)
class Planes:
    """The pixels of an image and what its file says of them.

    Attributes:
        pixels: `(H, W)` or `(H, W, S)`, any number type.
        colors: Whether three samples are red, green and blue.
        shape: What the file holds, for messages: `axes CYX, 2 x 64 x 64`.
        names: Names of the channels, as far as the file has them.
    """

    pixels: np.ndarray
    colors: bool = True
    shape: str = ""
    names: Sequence[str] = ()


def one_plane(stack: np.ndarray, z: int | str | None, where: str, shape: str) -> np.ndarray:
    """The chosen plane of a stack.

    Args:
        stack: `(Z, ...)`.
        z: See `Choice`.
        where: The file, for messages.
        shape: What the file holds, for messages.

    Raises:
        UserError: If there are several and none is chosen, or it has no such plane.
    """
    count = len(stack)
    if z == "project":
        return np.asarray(stack.max(axis=0))
    if z is None and count > 1:
        raise UserError(
            f"{where}: several planes ({shape}): a stack of {count}; write z=project (the largest "
            f"value of each pixel) or z=N (1 to {count}) in predict, data.source.z=... in training"
        )
    if z is not None and int(z) > count:
        raise UserError(f"{where}: z={z}, but it has {count} planes; write z=1 to z={count}")
    return np.asarray(stack[int(z or 1) - 1])


def one_channel(planes: Planes, channel: int | str | None, where: str) -> np.ndarray:
    """What of an image's channels is used: the chosen, the only one with content, or colours.

    Args:
        planes: The image, without alpha.
        channel: See `Choice`.
        where: The file, for messages.

    Returns:
        `(H, W)`, `(H, W, 1)` or, of colours, `(H, W, 3)`.

    Raises:
        UserError: If it is not clear which channel shows the nuclei, or there is no such channel.
    """
    pixels = planes.pixels if planes.pixels.ndim == 3 else planes.pixels[..., None]
    count = pixels.shape[2]
    if channel == "rgb" and count == 2:
        raise UserError(f"{where}: channel=rgb, but it has 2 channels; write channel=1 or 2")
    if channel is not None and channel != "rgb":
        if int(channel) > count:
            raise UserError(
                f"{where}: channel={channel}, but it has {count}; write channel=1 to {count}"
            )
        return pixels[..., int(channel) - 1]
    if count == 1 or channel == "rgb":
        return pixels[..., :3]
    single = with_content(pixels, planes.colors)
    if single is not None:
        return pixels[..., single]
    if planes.colors and count == 3:
        return pixels
    colours = ", or channel=rgb if the first 3 are red, green and blue" if count > 2 else ""
    raise UserError(
        f"{where}: several channels ({planes.shape}): {described(pixels, planes.names)}; write "
        f"channel=N for the one that shows the nuclei{colours} (data.source.channel=N in training)"
    )


def with_content(pixels: np.ndarray, colors: bool) -> int | None:
    """The channel that has all the content of an image, from 0; None if several have their own.

    That is the only one that is not constant. Of colours it is the fullest, if each other one is
    constant, nearly empty or, where there is no white background, a multiple of it.

    Args:
        pixels: `(H, W, S)` of any number type.
        colors: Whether the channels are red, green and blue.
    """
    if (pixels == pixels[..., :1]).all():
        return 0
    channels = range(pixels.shape[2])
    means = [float(pixels[..., index].mean(dtype=np.float64)) for index in channels]
    first = pixels[0, 0].astype(np.float64)  # a constant channel has this mean, but for rounding
    near = [
        abs(mean - value) <= 1e-6 * abs(value) for mean, value in zip(means, first, strict=True)
    ]
    others = [
        index
        for index in channels
        if not near[index] or (pixels[..., index] != pixels[0, 0, index]).any()
    ]
    if len(others) < 2:
        return others[0] if others else None
    signed = pixels.dtype.kind in "if"
    if not colors or (signed and (pixels.min() < 0 or not np.isfinite(pixels).all())):
        return None
    fullest = max(others, key=lambda index: means[index])
    if min(means) > _DARK * means[fullest]:
        return None
    filled = [index for index in others if means[index] > _EMPTY * means[fullest]]
    limit = _SAME_HUE if len(filled) == len(channels) else _SAME_HUE_BESIDE_EMPTY
    own = pixels[..., fullest].astype(np.float32)
    for index in set(filled) - {fullest}:
        other = pixels[..., index].astype(np.float32)
        share = np.vdot(own, other) / np.vdot(own, own)
        if np.abs(other - share * own).mean() > limit * means[index]:
            return None
    return fullest


def described(pixels: np.ndarray, names: Sequence[str] = ()) -> str:
    """Name and range of each channel: `1 DAPI has 3 to 250, 2 has 0 to 9`.

    Args:
        pixels: `(H, W, S)`.
        names: Of the channels, as far as they are known.
    """
    words = []
    for index in range(min(pixels.shape[2], _LISTED)):
        low, high = np.percentile(pixels[..., index].astype(np.float64), (0.2, 99.8))
        name = f" {names[index]}" if index < len(names) and names[index] else ""
        words.append(f"{index + 1}{name} has {low:.4g} to {high:.4g}")
    return ", ".join(words) + (", ..." if pixels.shape[2] > _LISTED else "")
