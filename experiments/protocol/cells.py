"""The cells of the protocol and their order: a cell is one training with its test."""

from collections.abc import Iterator
from typing import NamedTuple

GROUPS = {
    "360x360": ["data=bbbc360"],
    "520x696": ["data=bbbc038", "data.source.group=520x696"],
    "256x256": ["data=bbbc038", "data.source.group=256x256"],
    "kumar": ["data=kumar", "augment=stain"],
}
"""Settings that choose the images; every group is split into 3 folds by field or patient."""

LABELS = {
    "5": ["data.annotation_fraction=0.05"],
    "10": ["data.annotation_fraction=0.10"],
    "25": ["data.annotation_fraction=0.25"],
    "100": ["data.annotation_fraction=1.0"],
}
"""Settings that choose the labels, by the word for them: percent of the nuclei of each image."""

METHODS = {
    "pa": ["model=mask_rcnn_pa"],
    "plain": ["model=mask_rcnn"],
}
"""Settings that choose the net; everything else is the default of the commit."""

COMMON = ["trainer=cpu", "data.workers=0", "test_best=false", "data.folds=3", "resume=auto"]
FOLDS, SEEDS = range(3), range(3)


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

    def overrides(self) -> list[str]:
        """The words after `nucleist train`."""
        return [
            *(f"name={self.name}", *GROUPS[self.group], *METHODS[self.method]),
            *(*LABELS[self.labels], *COMMON, f"data.fold={self.fold}", f"seed={self.seed}"),
            *(f"steps={self.steps}", f"val_every={self.steps}"),
        ]


def main_group(steps: int) -> Iterator[Cell]:
    """The main table, the most valuable first: seeds are cut before folds."""
    first = [("5", "pa"), ("100", "plain"), ("5", "plain"), ("25", "pa")]
    then = [("10", "pa"), ("10", "plain"), ("100", "pa"), ("25", "plain")]
    for seed in SEEDS:
        for arms in (first, then):
            for fold in FOLDS:
                for labels, method in arms:
                    yield Cell("360x360", fold, seed, labels, method, steps)


def all_cells(steps: int = 1200) -> list[Cell]:
    """Every cell in the order in which they are run."""
    return list(main_group(steps))
