"""Which labels of a training image are kept: the partial annotation of the PA Mask R-CNN paper.

Three ways to know only part of an image: a fraction of its nuclei (DH25), a few exemplars, or a
fully labelled rectangle of it (DH25crop). What is left out is unknown, not background.

How it works: every choice comes from SHA-256 of the seed, the image id and (for a nucleus) the
nucleus id, so it is the same in every process, on every machine, with every version of NumPy,
and does not depend on the model or on the order in which images are read. Nuclei are ranked by
their hash and the first of them are kept, so a larger fraction contains the smaller one.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

import numpy as np

from nucleist.data.complete import both
from nucleist.data.formats.manifest import Choice, Entry, read_manifest
from nucleist.types import Complete, Record, UserError, Window


def keep_fraction(ids: Sequence[int], fraction: float, seed: int, image_id: str) -> list[int]:
    """Keep a fraction of the nuclei of an image, at least one.

    Args:
        ids: Ids of all nuclei of the image, in any order.
        fraction: Share to keep, in (0, 1].
        seed: Seed of the order in which nuclei are kept.
        image_id: Name of the image.

    Returns:
        `max(1, round(fraction * n))` ids, ascending; none if there are none. Nested: a larger
        fraction, like a larger count in `keep_exemplars`, contains the smaller.

    Raises:
        UserError: If the fraction is not in (0, 1].

    >>> keep_fraction([1, 2, 3, 4], 0.5, seed=0, image_id="a") == keep_exemplars(
    ...     [4, 3, 2, 1], 2, seed=0, image_id="a")
    True
    """
    _check_share("fraction", fraction)
    ranked = _ranked(ids, seed, image_id)
    return sorted(ranked[: max(1, round(fraction * len(ranked)))])


def keep_exemplars(ids: Sequence[int], count: int, seed: int, image_id: str) -> list[int]:
    """Keep a number of nuclei of an image, all of them if there are fewer.

    Args:
        ids: Ids of all nuclei of the image, in any order.
        count: How many to keep, 1 or more.
        seed: Seed of the order in which nuclei are kept.
        image_id: Name of the image.

    Returns:
        The first `count` ids in the order `keep_fraction` uses, ascending.

    Raises:
        UserError: If the count is not a whole number of 1 or more.
    """
    _check_count(count)
    return sorted(_ranked(ids, seed, image_id)[:count])


def crop_window(shape: tuple[int, int], crop_fraction: float, seed: int, image_id: str) -> Window:
    """Place a rectangle with a share of the area of an image, uniformly.

    Each side is the image's side times `sqrt(crop_fraction)`, rounded, at least one pixel.

    How it nests: the offset along a side of length `L` is `floor(u * (L - l + 1))`, `l` the side
    of the window and `u` in [0, 1) the same for every fraction. That is uniform over all
    offsets, and for `l + 1` the offset is the same or one less, so the longer side begins no
    later and ends no earlier: a larger window contains the smaller.

    Args:
        shape: Height and width of the image, pixels; more than these two are ignored.
        crop_fraction: Share of the area, in (0, 1]; 0.25 is half the height and half the width.
        seed: Seed of the position.
        image_id: Name of the image.

    Raises:
        UserError: If the share is not in (0, 1].
    """
    _check_share("crop_fraction", crop_fraction)
    height, width = (max(1, round(side * math.sqrt(crop_fraction))) for side in shape[:2])
    y0 = int(_uniform(seed, image_id, "y") * (shape[0] - height + 1))
    x0 = int(_uniform(seed, image_id, "x") * (shape[1] - width + 1))
    return Window(y0, x0, y0 + height, x0 + width)


@dataclass(frozen=True)
class Annotation:
    """How much of each training image is annotated; the default keeps everything.

    At most one of `fraction` below 1, `exemplars`, `crop_fraction` and `manifest` is given.

    Attributes:
        fraction: Share of the nuclei kept in each image, in (0, 1], at least one nucleus.
        exemplars: Number of nuclei kept in each image, 1 or more.
        crop_fraction: Share of the area kept as one fully labelled rectangle, in (0, 1].
        seed: Seed of the choice.
        manifest: File written by `write_manifest`; its choice is repeated exactly.

    Raises:
        UserError: If a value is out of range, two ways are asked for at once, or the manifest
            cannot be read.
    """

    fraction: float = 1.0
    exemplars: int | None = None
    crop_fraction: float | None = None
    seed: int = 0
    manifest: str | Path | None = None
    _entries: dict[str, Entry] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_share("fraction", self.fraction)
        if self.exemplars is not None:
            _check_count(self.exemplars)
        if self.crop_fraction is not None:
            _check_share("crop_fraction", self.crop_fraction)
        asked = self.settings() | {"manifest": self.manifest}
        default = {"fraction": 1, "seed": self.seed}
        given = [f"{key}={value}" for key, value in asked.items() if value != default.get(key)]
        if len(given) > 1:
            raise UserError(f"annotation: {' and '.join(given)} exclude each other; give one")
        if self.manifest is not None:
            object.__setattr__(self, "_entries", read_manifest(self.manifest))

    def settings(self) -> dict[str, float | int | None]:
        """What is kept, in plain numbers: fraction, exemplars, crop_fraction and seed."""
        names = ("fraction", "exemplars", "crop_fraction", "seed")
        return {name: getattr(self, name) for name in names}

    def check_images(self, image_ids: Iterable[str]) -> None:
        """Check that a manifest and the training images name the same images.

        Raises:
            UserError: If either names an image that the other does not.
        """
        if self.manifest is None:
            return
        known = set(image_ids)
        for image_id in sorted(known - self._entries.keys()):
            raise self._missing(image_id)
        for image_id in sorted(self._entries.keys() - known):
            raise UserError(
                f"{self.manifest}: image {image_id!r} is not in the training split; "
                "use the data set and split the manifest was written for"
            )

    def held_out(self) -> dict[str, list[int]] | None:
        """Held-out nuclei of each image, as a manifest has them; None without a manifest."""
        if self.manifest is None:
            return None
        return {image_id: list(entry.held_out) for image_id, entry in self._entries.items()}

    def choose(self, record: Record) -> Choice:
        """Choose what of an image is annotated: its entry in a manifest.

        Returns:
            Ids of the kept nuclei, ascending, or the fully labelled window.

        Raises:
            UserError: If a manifest does not fit the image.
        """
        ids = nucleus_ids(record.labels)
        if self.manifest is not None:
            return self._repeated(record, ids)
        if self.crop_fraction is not None:
            height, width = record.labels.shape
            return crop_window((height, width), self.crop_fraction, self.seed, record.id)
        if self.exemplars is not None:
            return keep_exemplars(ids, self.exemplars, self.seed, record.id)
        return keep_fraction(ids, self.fraction, self.seed, record.id)

    def visible(self, record: Record) -> np.ndarray:
        """The label map of a whole image in which only the annotated nuclei remain.

        Args:
            record: The image with all its labels; it is not changed.

        Returns:
            `(H, W)` `int32`: `record.labels`, set to 0 at every nucleus that is not kept, or
            everywhere outside the fully labelled window.

        Raises:
            UserError: If a manifest does not fit the image.
        """
        choice = self.choose(record)
        if not isinstance(choice, Window):
            return np.where(np.isin(record.labels, choice), record.labels, 0)
        labels = np.zeros_like(record.labels)
        labels[choice.slices] = record.labels[choice.slices]
        return labels

    def complete(self, record: Record) -> Complete:
        """Where the annotated nuclei are all that there are.

        In the fully labelled window as far as the record is complete there; of kept nuclei
        wherever the record is, if none was left out, else nowhere.

        Raises:
            UserError: If a manifest does not fit the image.
        """
        choice = self.choose(record)
        if isinstance(choice, Window):
            height, width = record.labels.shape
            return both((choice,), record.complete, (height, width))
        return record.complete if len(choice) == len(nucleus_ids(record.labels)) else False

    def apply(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """What training may see of an image: no label that is not kept.

        Args:
            record: The image with all its labels; it is not changed.

        Returns:
            Image `(h, w, 3)`, of the record's dtype, and label map `(h, w)` `int32` as `visible`
            gives it. Both are the whole image, or are cut to the fully labelled window, in which
            a nucleus that its border cuts is kept with what is left of it.

        Raises:
            UserError: If a manifest does not fit the image.
        """
        image, labels, choice = record.image, self.visible(record), self.choose(record)
        if isinstance(choice, Window):
            image, labels = (np.ascontiguousarray(a[choice.slices]) for a in (image, labels))
        return image, labels

    def _missing(self, image_id: str) -> UserError:
        return UserError(
            f"{self.manifest}: has no entry for image {image_id!r}; "
            "use the data set and split the manifest was written for"
        )

    def _repeated(self, record: Record, ids: list[int]) -> Choice:
        if record.id not in self._entries:
            raise self._missing(record.id)
        choice = self._entries[record.id].choice
        if isinstance(choice, Window):
            height, width = record.labels.shape
            if choice.y1 > height or choice.x1 > width:
                raise UserError(
                    f"{self.manifest}: the window {list(choice)} of image {record.id!r} is "
                    f"outside its {height} x {width} pixels; use the images it was written for"
                )
            return choice
        unknown = sorted(set(choice) - set(ids))
        if unknown:
            raise UserError(
                f"{self.manifest}: nucleus {unknown[0]} is not among the labels of image "
                f"{record.id!r}; use the labels the manifest was written for"
            )
        return list(choice)


def nucleus_ids(labels: np.ndarray) -> list[int]:
    """Ids of the nuclei of a label map `(H, W)`, ascending."""
    return [int(value) for value in np.unique(labels) if value > 0]


def _ranked(ids: Iterable[int], seed: int, image_id: str) -> list[int]:
    unique = {int(value) for value in ids}
    return sorted(unique, key=lambda value: (digest(seed, image_id, value), value))


def digest(*key: object) -> bytes:
    """SHA-256 of the parts of a key, each as text: the same on every machine."""
    # JSON keeps apart what concatenation would mix up: ("a1", 2) and ("a", 12).
    return hashlib.sha256(json.dumps([str(part) for part in key]).encode()).digest()


def _uniform(*key: object) -> float:
    return (int.from_bytes(digest(*key)[:8], "big") >> 11) / 2**53  # [0, 1), 53 bits


def _check_share(name: str, value: object) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) <= 1:  # type: ignore[arg-type]
        name = {"fraction": "data.annotation_fraction"}.get(name, f"data.{name}")
        raise UserError(f"{name}={value} is not a share; give a number above 0 and at most 1")


def _check_count(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"data.exemplars={value} is not a count; give a whole number of 1 or more")
