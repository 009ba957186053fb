"""The records that every layer shares, and the one error a user is meant to read.

A label map is an integer image in which 0 is background (or, where only some nuclei were
outlined, unknown) and each positive value is one nucleus. nucleist never builds a stack of
masks, one plane a nucleus, on the path of training or evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

import numpy as np
from torch import Tensor

IGNORE = -1
"""Label of a box (anchor, proposal) that is neither nucleus nor background."""


class UserError(Exception):
    """Bad input, told in one line: the file, the value found and the remedy.

    The command line prints the message without a traceback and exits with status 2.
    """


class DivergedError(UserError):
    """A training whose loss is no number any more."""


def one_of(option: str, value: object, allowed: tuple[object, ...]) -> None:
    """Check an option that has a few named values.

    Raises:
        UserError: If the value is none of them.
    """
    if value not in allowed:
        names = ", ".join(str(a) for a in allowed)
        raise UserError(f"{option}={value} is unknown; use one of {names}")


@dataclass(frozen=True)
class Record:
    """One image of a data set with all the labels that were published for it.

    Attributes:
        id: Name of the image, unique in its data set, without folder or extension.
        image: `(H, W, 3)`, `uint8`, `uint16` or `float32`, as stored; gray is repeated.
        labels: `(H, W)` `int32` label map; ids need not be consecutive.
        notes: What the reader had to decide, one sentence each (overlaps, dropped shapes).
    """

    id: str
    image: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = field(default=())


class Source(Protocol):
    """A data set on disk (or generated): which images there are, and how to read one."""

    def splits(self) -> Mapping[str, list[str]]:
        """Image ids of each split, in a fixed order: `{"train": [...], "test": [...]}`."""
        ...

    def read(self, image_id: str) -> Record:
        """Read one image and its labels.

        Raises:
            UserError: If a file is missing, damaged or not what it should be.
        """
        ...


class Target(TypedDict):
    """What a net is trained on, for one image.

    `boxes` `(N, 4)` `float32`, pixels, xyxy, half-open; `labels` `(N,)` `int64`, 1 nucleus;
    `label_map` `(H, W)` `int32` in which nucleus `i` of the lists has the value `i + 1`.
    """

    boxes: Tensor
    labels: Tensor
    label_map: Tensor


class BinaryTarget(TypedDict):
    """What a net is trained on that may know where nuclei are, but not which is which.

    `mask` `(H, W)` `uint8`, 1 inside any nucleus; `count` `()` `int64`, the number of nuclei of
    which at least one pixel is in the image.
    """

    mask: Tensor
    count: Tensor


class Prediction(TypedDict):
    """What a net returns in eval mode, for one image, best score first.

    `boxes` `(N, 4)` `float32`, pixels, xyxy; `labels` `(N,)` `int64`, 1 nucleus; `scores`
    `(N,)` `float32` in [0, 1]; `label_map` `(H, W)` `int32` in which detection `i` has the value
    `i + 1`. Where masks overlap the higher score has the pixel, so the label map at a higher
    score threshold is this one with the lower scores erased.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    label_map: Tensor
