"""The records that every room shares, and the one error that a user is meant to read.

A label map is an integer image: 0 is background (or, where only some nuclei were outlined,
unknown) and each positive value is one nucleus. nucleist never builds a stack of masks, one plane
a nucleus, on the path of training or evaluation.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict, TypeVar

if TYPE_CHECKING:  # `import nucleist` and the help of its verbs load neither NumPy nor torch
    import numpy as np
    from torch import Tensor

T = TypeVar("T")

IGNORE = -1
"""Class of a box (anchor, proposal) that is neither nucleus nor background."""


class UserError(Exception):
    """Bad input, explained in one line: the file, the value found and the remedy.

    The command line prints the message without a traceback and exits with its `status`.
    """

    status: int = 2


class DivergedError(UserError):
    """The loss of a training became infinite or NaN."""


def one_of(option: str, value: object, allowed: tuple[object, ...]) -> None:
    """Check an option that has a few named values.

    Raises:
        UserError: If the value is none of them.
    """
    if value not in allowed:
        names = ", ".join(str(a) for a in allowed)
        raise UserError(f"{option}={value} is unknown; use one of {names}")


class Progress:
    """What people see while something runs. This one shows nothing.

    Warnings become Python's, so that they are not lost where nobody watches. A subclass overrides
    what it shows; `nucleist.progress.Console` prints to stderr.
    """

    def note(self, line: str) -> None:
        """A line about what was done."""

    def detail(self, line: str) -> None:
        """A technical line, for people who look for the cause of something."""

    def warn(self, line: str) -> None:
        """A line about what may make the result wrong or incomplete."""
        warnings.warn(line, stacklevel=3)

    def watch(self, items: Sequence[T], title: str) -> Iterable[T]:
        """The items one by one, while a bar may show how many are left.

        Args:
            items: What is worked through.
            title: What is done with them, in a word or two.
        """
        return items


Watch = Callable[[Sequence[str], str], Iterable[str]]
"""`Progress.watch`, for functions that need nothing else of it."""


class Window(NamedTuple):
    """A rectangle of an image, pixels, half-open: rows `y0:y1`, columns `x0:x1`."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an array of the image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True, eq=False)
class Nucleus:
    """One outlined nucleus, by itself: what measurements and exports work on.

    Attributes:
        label: Its number in the label map, from 1.
        window: The smallest one with all its pixels, in the image.
        mask: `(h, w)` `bool` of the window's size: its pixels.
        score: In [0, 1]; 1 for what a person outlined.
    """

    label: int
    window: Window
    mask: np.ndarray
    score: float = 1.0


Complete = bool | tuple[Window, ...]
"""Where every nucleus is labelled: everywhere (True), nowhere (False), or in some rectangles.

Elsewhere an unlabelled pixel may belong to a nucleus. The rectangles lie inside the image and do
not overlap; any area is a set of them, see `nucleist.data.complete`.
"""


@dataclass(frozen=True)
class Record:
    """One image of a data set with all the labels that were published for it.

    Attributes:
        id: Name of the image, unique in its data set, without folder or extension.
        image: `(H, W, 3)`, `uint8`, `uint16` or `float32`, as stored; gray is repeated.
        labels: `(H, W)` `int32` label map; ids need not be consecutive.
        notes: What the reader had to decide, one sentence each (overlaps, dropped shapes).
        complete: Where every nucleus is labelled.
    """

    id: str
    image: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = field(default=())
    complete: Complete = True


class Source(ABC):
    """A data set on disk (or drawn): which images it has, and how one is read.

    Attributes:
        grouped: Whether `groups` is what is known to belong together. False where nothing is.
        pixel_size: Width of a pixel of its images in micrometres; None if unknown or not the same.
    """

    grouped: bool = False
    pixel_size: float | None = None

    @abstractmethod
    def splits(self) -> Mapping[str, list[str]]:
        """Image ids of each split, in a fixed order: `{"train": [...], "test": [...]}`."""

    @abstractmethod
    def read(self, image_id: str) -> Record:
        """Read one image and its labels.

        Raises:
            UserError: If a file is missing, damaged or not what it should be.
        """

    def groups(self) -> Mapping[str, str]:
        """Group of each image: the field, patient or slide that a split should not cut.

        An image of which nothing is known is a group by itself, as all are here.
        """
        return {image_id: image_id for ids in self.splits().values() for image_id in ids}

    def kinds(self) -> Mapping[str, str]:
        """Kind of each image, such as its microscope or stain, as far as a data set has several.

        A split by group gives each part its share of each kind, and training can draw rare kinds
        more often (`data.balance`). Here all images are of one kind.
        """
        return dict.fromkeys(self.groups(), "")

    def problems(self) -> list[str]:
        """What is odd about the data set as a whole, one line each; empty if nothing is."""
        return []

    def describe_pairing(self) -> str:
        """Which image was paired with which labels, for people; empty where nothing is paired."""
        return ""


class Target(TypedDict):
    """What a net learns from, for one image with outlined nuclei.

    `boxes` `(N, 4)` `float32`, pixels, xyxy, half-open; `label_map` `(H, W)` `int32`, in which
    nucleus `i` of the boxes has the value `i + 1`. `known` `(H, W)` `bool`: False where a pixel
    that is in no labelled nucleus may be in one that nobody labelled; without it there are none.
    """

    boxes: Tensor
    label_map: Tensor
    known: NotRequired[Tensor]


class Truth(NamedTuple):
    """What an image is scored against.

    Attributes:
        labels: `(H, W)` `int32` label map, in evaluation of every labelled nucleus, in a validation
            on held-out nuclei of these.
        complete: `(H, W)` `bool`, where they are all that there are; None: everywhere.
        known: `(H, W)` `int32` label map of further labelled nuclei, which are not scored; None if
            there are none.
    """

    labels: Tensor
    complete: Tensor | None
    known: Tensor | None = None


class BinaryTarget(TypedDict):
    """What a net learns from, for one image of which only the foreground is known.

    `mask` `(H, W)` `uint8`, 1 inside any nucleus; `count` `()` `int64`, the number of nuclei of
    which at least one pixel is in the image; `known` as of `Target`.
    """

    mask: Tensor
    count: Tensor
    known: NotRequired[Tensor]


class Prediction(TypedDict):
    """What a net returns in eval mode, for one image, best score first.

    `boxes` `(N, 4)` `float32`, pixels, xyxy; `scores` `(N,)` `float32` in [0, 1]; `label_map`
    `(H, W)` `int32`, in which detection `i` has the value `i + 1`. Where masks overlap the higher
    score has the pixel, so the label map at a higher score threshold is this one with the lower
    scores erased. `parameters` `(N, P)` `float32`, if the net declares `shape_parameters`. `coarse`
    `(H, W)` `bool`, if it declares that: the nuclei that the first of two passes found.
    """

    boxes: Tensor
    scores: Tensor
    label_map: Tensor
    parameters: NotRequired[Tensor]
    coarse: NotRequired[Tensor]
