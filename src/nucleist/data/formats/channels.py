"""Which channel, plane and time of an image shows the nuclei: chosen, clear, or asked for.

An image of several channels is used as it is if they are red, green and blue. Of other channels
one has to be named, unless a single one has content. A picture in one hue on black (a fluorescence
channel shown in blue, green or cyan) is one channel as well: its colour means nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """What a user chose of images of several channels, planes or times.

    Attributes:
        channel: Number of the channel, from 1, or its name, in any case; `"rgb"` if the first
            three are red, green and blue; None if it should be clear.
        z: Number of the plane of a stack, from 1; `"project"` for the largest value of each pixel
            over all planes; `"each"` for every plane by itself; None if there is one plane.
        t: Number of the time, from 1; `"each"` for every time by itself; None if there is one.

    Raises:
        UserError: If a value is none of these.
    """

    channel: int | str | None = None
    z: int | Literal["project", "each"] | None = None
    t: int | Literal["each"] | None = field(default=None, repr=False)  # earlier hashes have none

    def __post_init__(self) -> None:
        named = isinstance(self.channel, str) and self.channel.strip()
        self._check("channel", self.channel, ("rgb", self.channel if named else "rgb"))
        self._check("z", self.z, ("project", "each"))
        self._check("t", self.t, ("each",))

    @staticmethod
    def _check(key: str, value: object, words: tuple[object, ...]) -> None:
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if value is not None and value not in words and not number:
            others = " or ".join(f"{key}={word}" for word in dict.fromkeys(words))
            raise UserError(f"{key}={value}: write a number from 1, or {others}")


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


COLORS = ("red", "green", "blue")
"""Names of the channels of a picture in colours."""

_SEVERAL = {
    "z": (
        "planes",
        "a stack of {0}; write z=project (the largest value of each pixel) or z=N (1 to {0}) in "
        "predict, data.source.z=... in training; predict takes z=each too",
    ),
    "t": (
        "times",
        "{0} of them; write t=N (1 to {0}) or t=each in predict, data.source.t=N in training",
    ),
}
"""What there are several of, by the key that chooses, and the remedy."""


def chosen_of(
    count: int, value: int | str | None, where: str, shape: str, key: str = "z"
) -> list[tuple[int, ...]]:
    """The chosen planes (or times) of a stack.

    Args:
        count: How many there are.
        value: `z` (or `t`) of a `Choice`.
        where: The file, for messages.
        shape: What the file holds, for messages.
        key: `"z"` or `"t"`.

    Returns:
        For each picture the numbers, from 0, of the planes it is the largest value of: one, but
        for `"project"`.

    Raises:
        UserError: If there are several and none is chosen, or there is no such plane.
    """
    if value == "project":
        return [tuple(range(count))]
    if value == "each":
        return [(index,) for index in range(count)]
    many, remedy = _SEVERAL[key]
    if value is None and count > 1:
        raise UserError(f"{where}: several {many} ({shape}): {remedy.format(count)}")
    if value is not None and int(value) > count:
        raise UserError(
            f"{where}: {key}={value}, but it has {count} {many}; write {key}=1 to {key}={count}"
        )
    return [(int(value or 1) - 1,)]


def one_of_each(
    counts: tuple[int, int], choice: Choice, where: str, shape: str
) -> tuple[int, tuple[int, ...]]:
    """The one chosen time and the planes of the one chosen picture.

    Args:
        counts: Number of times and of planes.
        choice: What was chosen.
        where: The file, for messages.
        shape: What the file holds, for messages.

    Returns:
        Number of the time, from 0, and those of the planes that it is the largest value of.

    Raises:
        UserError: If several pictures are chosen, and as `chosen_of`.
    """
    for key, value in (("z", choice.z), ("t", choice.t)):
        if value == "each":
            raise UserError(
                f"{where}: {key}=each, where one picture is needed; write a number from 1"
            )
    (time,) = chosen_of(counts[0], choice.t, where, shape, "t")
    (planes,) = chosen_of(counts[1], choice.z, where, shape)
    return time[0], planes


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
    number = channel_of(planes, channel, where)
    return pixels[..., :3] if number is None else pixels[..., number]


def channel_of(planes: Planes, channel: int | str | None, where: str) -> int | None:
    """Number of the channel that is used, from 0; None for colours, or the only one.

    Args:
        planes: The image, without alpha, or a sample of its pixels.
        channel: See `Choice`.
        where: The file, for messages.

    Raises:
        UserError: As `one_channel`.
    """
    pixels = planes.pixels if planes.pixels.ndim == 3 else planes.pixels[..., None]
    count = pixels.shape[2]
    if channel == "rgb" and count == 2:
        raise UserError(f"{where}: channel=rgb, but it has 2 channels; write channel=1 or 2")
    if channel is not None and channel != "rgb":
        return _numbered(planes, channel, count, where)
    if count == 1 or channel == "rgb":
        return None
    single = with_content(pixels, planes.colors)
    if single is not None or (planes.colors and count == 3):
        return single
    colours = ", or channel=rgb if the first 3 are red, green and blue" if count > 2 else ""
    named = " or its name" if any(planes.names) else ""
    raise UserError(
        f"{where}: several channels ({planes.shape}): {described(pixels, planes.names)}; write "
        f"channel=N{named} for the one that shows the nuclei{colours} (data.source.channel=N in "
        "training)"
    )


def _numbered(planes: Planes, channel: int | str, count: int, where: str) -> int:
    """Number of a channel, from 0, of its number from 1 or its name."""
    if isinstance(channel, int):
        if channel > count:
            raise UserError(
                f"{where}: channel={channel}, but it has {count}; write channel=1 to {count}"
            )
        return channel - 1
    names = list(planes.names) or (list(COLORS) if planes.colors and count == 3 else [])
    same = [i for i, name in enumerate(names) if name.casefold() == channel.strip().casefold()]
    if len(same) == 1:
        return same[0]
    if same:
        numbers = " or ".join(str(index + 1) for index in same)
        raise UserError(
            f"{where}: channel={channel}: {len(same)} channels have this name; write "
            f"channel={numbers}"
        )
    listed = ", ".join(f"{i} {name}" for i, name in enumerate(names[:_LISTED], 1) if name)
    there = f"it has {listed}" if listed else f"its channels (1 to {count}) have no names"
    raise UserError(f"{where}: channel={channel}: write a number from 1, or channel=rgb; {there}")


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
