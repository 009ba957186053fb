"""The cells of few labels and their order: a cell is one training, or none, with its test."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RUNS = Path("runs") / "few_labels"
WITHOUT = RUNS / "nuclei_without_520x696.safetensors"
"""Weights that were trained without the group of 520 x 696 px, made by `weights.py`."""

GROUPS = {
    "520x696": [
        *("data=bbbc038", "data.source.group=520x696"),
        "data.fractions={train: 0.8, val: 0.1, test: 0.1}",
    ],
    "kumar": ["data=kumar", "data.fractions={train: 0.4, val: 0.2, test: 0.4}"],
}
"""Settings that choose the images. With these fractions the images of 520 x 696 px train, validate
and test that do so in `experiment=nuclei`, because each kind of images is split by itself."""

TRAINING = {"520x696": [], "kumar": ["augment=stain"]}
"""Further settings of trainings."""

LABELS = {
    "0": [],
    **{f"{k}_of_5": [f"data.exemplars={k}", "data.train_images=5"] for k in (1, 3, 10)},
    **{str(p): [f"data.annotation_fraction={p / 100}"] for p in (5, 25, 100)},
}
"""Settings that choose the labels, by the word for them: none at all; so many nuclei in each of 5
images; percent of the nuclei of each training image."""

STARTS = {
    "scratch": [],
    "nuclei": ["weights=nuclei"],
    "without": [f"weights={WITHOUT}", "+recipe=finetune"],
}
"""Settings that choose the first weights; those without the group are given the recipe of
`weights=nuclei` by its name."""

METHODS = {"pa": ["model=mask_rcnn_pa"], "plain": ["model=mask_rcnn"]}

RATES = ("0.0001", "0.0003", "0.001")
RECIPES = {
    f"lr{rate}{'_frozen' if frozen else ''}": [
        f"optim.optimizer.lr={rate}",
        *(["frozen=[backbone.body]"] if frozen else []),
    ]
    for rate in RATES
    for frozen in (False, True)
}
"""What the study of `recipe=finetune` varies besides the steps: learning rate, and whether the body
of the backbone is trained."""

COMMON = [
    *("trainer=cpu", "data.workers=0", "test_best=false", "resume=auto"),
    f"data.cache={RUNS / 'cache'}",
]
SCRATCH, FINETUNE = 1200, 150
"""Steps from scratch, as in the protocol, and of `recipe=finetune`."""

ON_VALIDATION = "data.splits={train: train, val: val, test: val}"
"""No test image is read."""


class Cell(NamedTuple):
    """One training.

    Attributes:
        group: Of `GROUPS`.
        seed: Of kept labels, order of images, augmentation and initial weights.
        labels: Of `LABELS`.
        start: Of `STARTS`.
        method: Of `METHODS`.
        steps: Optimiser steps.
        recipe: Of `RECIPES`, for the study on validation images; empty for what the package has.
    """

    group: str
    seed: int
    labels: str
    start: str
    method: str
    steps: int
    recipe: str = ""

    @property
    def name(self) -> str:
        """Such as `520x696-seed0-10_of_5-nuclei-pa-150`."""
        parts = [self.group, f"seed{self.seed}", self.labels, self.start, self.method]
        return "-".join([*parts, *([self.recipe] if self.recipe else []), str(self.steps)])

    @property
    def model(self) -> str | None:
        """The weights themselves, where there is nothing to train on."""
        if self.labels != "0":
            return None
        return str(WITHOUT) if self.start == "without" else self.start

    def overrides(self) -> list[str]:
        """The words after `nucleist train`."""
        return [
            *(f"name={self.name}", *GROUPS[self.group], *TRAINING[self.group]),
            *(*METHODS[self.method], *LABELS[self.labels], *STARTS[self.start], *COMMON),
            *(f"seed={self.seed}", f"steps={self.steps}", f"val_every={self.steps}"),
            *([*RECIPES[self.recipe], ON_VALIDATION] if self.recipe else []),
        ]


MAIN = "520x696"


def some(
    group: str, start: str, labels: tuple[str, ...], methods: tuple[str, ...] = ("pa", "plain")
) -> Iterator[Cell]:
    """Cells of one start with seed 0."""
    steps = SCRATCH if start == "scratch" else FINETUNE
    for word in labels:
        for method in methods:
            yield Cell(group, 0, word, start, method, 0 if word == "0" else steps)


def all_cells() -> list[Cell]:
    """Every cell in the order in which they are run; those that are listed twice run once."""
    few = ("1_of_5", "3_of_5", "10_of_5", "5", "25", "100")
    first = [
        *some(MAIN, "scratch", ("100",), ("plain",)),
        *some(MAIN, "nuclei", ("0", "10_of_5"), ("pa",)),
        *some(MAIN, "without", ("0", "10_of_5"), ("pa",)),
        *some(MAIN, "scratch", ("10_of_5",), ("pa",)),
        *study(),
        *some(MAIN, "without", ("100",), ("pa",)),
    ]
    rest = [
        *(cell for start in STARTS for cell in some(MAIN, start, few)),
        *some("kumar", "nuclei", ("0",), ("pa",)),
        *(cell for start in ("nuclei", "scratch") for cell in some("kumar", start, few)),
    ]
    return list(dict.fromkeys([*first, *rest]))


def study() -> list[Cell]:
    """The study of `recipe=finetune`, on validation images."""
    return [
        Cell(MAIN, 0, "10_of_5", "without", "pa", steps, recipe)
        for steps in (FINETUNE, 2 * FINETUNE)
        for recipe in RECIPES
    ]
