"""Which labels of a training image are kept: the partial annotation of the PA Mask R-CNN paper.

Three ways to know only part of an image: a fraction of its nuclei (DH25), a few exemplars, or a
fully labelled rectangle of it (DH25crop). What is left out is unknown, not background. Which nuclei
come first is a policy (`nucleist.data.policies`); all choices are nested and the same on every
machine (`nucleist.data.choosing`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nucleist.data.choosing import check_count, check_share, crop_window, nucleus_ids, number_of
from nucleist.data.complete import both
from nucleist.data.formats.manifest import Choice, Entry, read_manifest
from nucleist.data.policies import POLICIES, in_order, quotas
from nucleist.types import Complete, Record, UserError, Window, one_of


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
        policy: Which nuclei come first, of `nucleist.data.policies.POLICIES`.

    Raises:
        UserError: If a value is out of range, two ways are asked for at once, the policy is unknown
            or not of nuclei, or the manifest cannot be read.
    """

    fraction: float = 1.0
    exemplars: int | None = None
    crop_fraction: float | None = None
    seed: int = 0
    manifest: str | Path | None = None
    policy: str = "random"
    _entries: dict[str, Entry] = field(default_factory=dict, init=False, repr=False, compare=False)
    _quotas: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_share("fraction", self.fraction)
        if self.exemplars is not None:
            check_count(self.exemplars)
        if self.crop_fraction is not None:
            check_share("crop_fraction", self.crop_fraction)
        asked = self.settings() | {"manifest": self.manifest}
        default = {"fraction": 1, "seed": self.seed, "policy": self.policy}
        given = [f"{key}={value}" for key, value in asked.items() if value != default.get(key)]
        if len(given) > 1:
            raise UserError(f"annotation: {' and '.join(given)} exclude each other; give one")
        one_of("data.policy", self.policy, POLICIES)
        if self.policy != "random" and (self.crop_fraction is not None or self.manifest):
            raise UserError(
                f"data.policy={self.policy} orders nuclei, and {given[0]} keeps others; give "
                "data.annotation_fraction or data.exemplars"
            )
        if self.manifest is not None:
            object.__setattr__(self, "_entries", read_manifest(self.manifest))

    def among(self, records: Iterable[Record]) -> "Annotation":
        """This annotation for some training images together.

        With `policy="per_image"` and a fraction all images share the labels that the fraction is,
        so their nuclei are counted here; anything else depends on each image alone.
        """
        if self.policy != "per_image" or self.exemplars is not None or self.fraction == 1:
            return self
        nuclei = {record.id: len(nucleus_ids(record.labels)) for record in records}
        total = sum(number_of(n, self.fraction) for n in nuclei.values())
        found = replace(self)
        found._quotas.update(quotas(nuclei, total, self.seed))
        return found

    def settings(self) -> dict[str, float | int | str | None]:
        """What is kept, in plain values: fraction, exemplars, crop_fraction, seed and policy."""
        names = ("fraction", "exemplars", "crop_fraction", "seed", "policy")
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
        return sorted(in_order(record, self.policy, self.seed)[: self._number(record.id, len(ids))])

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

    def apply(
        self, record: Record, image: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What training may see of an image: no label that is not kept.

        Args:
            record: The image as it is stored, with all its labels; it is not changed.
            image: `(H, W, 3)`, what is seen in place of the record's image: it, normalised.

        Returns:
            Image `(h, w, 3)`, of its dtype, and label map `(h, w)` `int32` as `visible`
            gives it. Both are the whole image, or are cut to the fully labelled window, in which
            a nucleus that its border cuts is kept with what is left of it.

        Raises:
            UserError: If a manifest does not fit the image.
        """
        image = record.image if image is None else image
        labels, choice = self.visible(record), self.choose(record)
        if isinstance(choice, Window):
            image, labels = (np.ascontiguousarray(a[choice.slices]) for a in (image, labels))
        return image, labels

    def _number(self, image_id: str, nuclei: int) -> int:
        """How many nuclei of an image are kept; of one that is not `among` others its share."""
        if self.exemplars is not None:
            return self.exemplars
        return self._quotas.get(image_id, number_of(nuclei, self.fraction))

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
