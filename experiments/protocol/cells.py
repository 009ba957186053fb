"""The cells of the protocol and their order: a cell is one training with its test."""

from collections.abc import Iterator
from typing import NamedTuple

GROUPS = {
    "360x360": ["data=bbbc360"],
    "520x696": ["data=bbbc038", "data.source.group=520x696"],
    "256x256": ["data=bbbc038", "data.source.group=256x256"],
    "kumar": ["data=kumar", "augment=stain"],
    "360x360_leak": ["data=bbbc360", "data.split_by=image"],
}
"""Settings that choose the images. Each group is split into 3 folds by field or patient, the last
by image, as if nothing were known of fields."""

LABELS = {
    "5": ["data.annotation_fraction=0.05"],
    "10": ["data.annotation_fraction=0.10"],
    "25": ["data.annotation_fraction=0.25"],
    "100": ["data.annotation_fraction=1.0"],
    "10_clustered": ["data.annotation_fraction=0.10", "data.policy=clustered"],
    "10_easy_first": ["data.annotation_fraction=0.10", "data.policy=easy_first"],
    "10_per_image": ["data.annotation_fraction=0.10", "data.policy=per_image"],
    "ten_each_of_26": ["data.exemplars=10", "data.train_images=26"],
    "crop_of_5_images": ["data.crop_fraction=0.25", "data.train_images=5"],
}
"""Settings that choose the labels, by the word for them: percent of the nuclei of each image, and
whom they come from. Five quarters of an image have about as many nuclei (27 to 43) as 5 % of all
images (31 to 35)."""

METHODS = {
    "pa": ["model=mask_rcnn_pa"],
    "plain": ["model=mask_rcnn"],
    "frequency": ["model=mask_rcnn_ablation", "model.label_frequency=0.14"],
    "near": ["model=mask_rcnn_ablation", "model.negatives=near"],
}
"""Settings that choose the net; everything else is the default of the commit. At 5 %, 0.14 of the
nuclei in the training windows, which lie around labelled ones, are labelled."""

COMMON = ["trainer=cpu", "data.workers=0", "test_best=false", "data.folds=3", "resume=auto"]
FOLDS = range(3)


class Cell(NamedTuple):
    """One training.

    Attributes:
        group: Of `GROUPS`.
        fold: Which of the 3 folds tests; the next one validates.
        seed: Of kept labels, order of images, augmentation and initial weights.
        labels: Of `LABELS`.
        method: Of `METHODS`.
        steps: Optimiser steps.
    """

    group: str
    fold: int
    seed: int
    labels: str
    method: str
    steps: int

    @property
    def name(self) -> str:
        """Such as `360x360-fold0-seed0-5-pa-1200`."""
        parts = (self.group, f"fold{self.fold}", f"seed{self.seed}", self.labels, self.method)
        return "-".join((*parts, str(self.steps)))

    @property
    def model(self) -> str | None:
        """A model that is measured as it is; None: one is trained."""
        return None

    def overrides(self) -> list[str]:
        """The words after `nucleist train`."""
        return [
            *(f"name={self.name}", *GROUPS[self.group], *METHODS[self.method]),
            *(*LABELS[self.labels], *COMMON, f"data.fold={self.fold}", f"seed={self.seed}"),
            *(f"steps={self.steps}", f"val_every={self.steps}"),
        ]


Arms = list[tuple[str, str]]

FIRST: Arms = [("5", "pa"), ("100", "plain"), ("5", "plain"), ("25", "pa")]
THEN: Arms = [("10", "pa"), ("10", "plain"), ("100", "pa"), ("25", "plain")]
REVIEWER: Arms = [("5", "frequency"), ("5", "near"), ("crop_of_5_images", "plain")]
POLICIES: Arms = [
    (labels, method)
    for labels in ("10_clustered", "10_easy_first", "ten_each_of_26", "10_per_image")
    for method in ("pa", "plain")
]
LEAK: Arms = [("100", "plain"), ("5", "pa")]


def block(group: str, seed: int, arms: Arms, steps: int) -> Iterator[Cell]:
    """All folds of some arms; each fold is finished before the next one."""
    for fold in FOLDS:
        for labels, method in arms:
            yield Cell(group, fold, seed, labels, method, steps)


def all_cells(steps: int = 1200) -> list[Cell]:
    """Every cell in the order in which they are run: seeds are cut before folds."""
    main = "360x360"
    blocks = [
        *((main, 0, arms) for arms in (FIRST, THEN, REVIEWER, POLICIES)),
        ("360x360_leak", 0, LEAK),
        *((main, seed, arms) for seed in (1, 2) for arms in (FIRST, THEN)),
        *((group, 0, FIRST) for group in ("520x696", "256x256", "kumar")),
        *((group, seed, FIRST) for seed in (1, 2) for group in ("520x696", "256x256", "kumar")),
    ]
    return [cell for group, seed, arms in blocks for cell in block(group, seed, arms, steps)]
