"""The cells of the experiment and their order: a cell is one folder with one annotator."""

from typing import NamedTuple

IMAGES = 26
STEPS = (300, 300, 300)
"""Steps of each round. Each goes on from the weights of the round before."""

ITEMS = 5
"""Items of the list that are fixed in each image between two rounds."""

SCORE = 0.9
"""From which the policy `accept` accepts unseen."""

SHIPPED = "shipped_"
"""Groups of this beginning, then a size, are the images that tested the shipped weights."""

KINDS = ("520x696", "360x360", "256x256", "256x320")
"""Sizes of such groups; images of 256x320 are mostly H&E, the others fluorescence."""


class Cell(NamedTuple):
    """One simulation.

    Attributes:
        group: Of images: `520x696`, `360x360` or `shipped_` and a size.
        outlines: Nuclei of each image that are drawn at first; 0: the shipped weights propose.
        policy: What is fixed between two rounds: `worklist`, `images` or `accept`.
        rules: Of `experiments.bootstrapping.annotator.RULES`.
        seed: Of the outlines and the training.
    """

    group: str
    outlines: int
    policy: str
    rules: str
    seed: int

    @property
    def name(self) -> str:
        """Such as `520x696-k10-worklist-nucleist-seed0`."""
        return f"{self.group}-k{self.outlines}-{self.policy}-{self.rules}-seed{self.seed}"

    @property
    def rounds(self) -> int:
        """Number of rounds; the shipped weights propose once."""
        return len(STEPS) if self.outlines else 1

    def training(self, number: int) -> str:
        """Name of a round's training; cells with the same first outlines share the first."""
        if number > 1:
            return f"{self.name}-round{number}"
        return f"{self.group}-k{self.outlines}-seed{self.seed}-round1"


def all_cells() -> list[Cell]:
    """Every cell in the order in which they are run."""
    large, small = "520x696", "360x360"
    first = [(10, "worklist", "nucleist"), (10, "images", "nucleist"), (10, "images", "cellpose")]
    few = [(k, p, "nucleist") for k in (3, 5) for p in ("worklist", "images")]
    third = [(k, "accept", "nucleist") for k in (10, 3, 5)]
    rest = [(k, "images", "cellpose") for k in (3, 5)]
    found = [Cell(large, *first[0], 0)]
    found += [Cell(SHIPPED + size, 0, "images", "nucleist", 0) for size in KINDS]
    found += [Cell(large, *one, 0) for one in (*first[1:], *few, *third, *rest)]
    found += [Cell(small, k, "worklist", "nucleist", 0) for k in (5, 3)]
    found += [Cell(large, *one, seed) for seed in (1, 2) for one in (*first, *few)]
    return found
