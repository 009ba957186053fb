"""How many actions a fix takes, counted in several ways; README.md says why."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.bootstrapping.truth import ROUGH, Nucleus
from nucleist.annotation.things import Point

Kind = Literal["accept", "accept_above", "reject", "delete", "correct", "add", "whole"]


@dataclass(frozen=True)
class Fix:
    """One thing that the annotator does to an image.

    Attributes:
        kind: Name of the command, but `correct`.
        thing: Id of the outline that is accepted, rejected, deleted or corrected.
        nucleus: Number of the true nucleus that is right afterwards; 0 for none.
        moved: Number of anchors that a correction drags.
        anchors: Of the outline afterwards, if it is drawn or corrected.
        score: From which all are accepted.
        gained: Nuclei that `accept_above` makes right.
    """

    kind: Kind
    thing: str = ""
    nucleus: int = 0
    moved: int = 0
    anchors: tuple[Point, ...] = ()
    score: float = 0.0
    gained: tuple[int, ...] = ()


def _stroke(share: float) -> Callable[[Nucleus], float]:
    return lambda nucleus: 1 + share * len(nucleus.anchors)


DRAWING: dict[str, Callable[[Nucleus], float]] = {
    "anchors": lambda nucleus: len(nucleus.anchors) + 1,
    "rough": lambda nucleus: nucleus.rough + 1,
    "ellipse": lambda nucleus: 2 if nucleus.ellipse >= ROUGH else len(nucleus.anchors) + 1,
    "tab": lambda nucleus: len(nucleus.anchors) + 1,
    "stroke": _stroke(0.5),
    "stroke 0.25": _stroke(0.25),
    "stroke 1": _stroke(1.0),
}
"""Actions to draw a nucleus, by the way of counting."""

_FREE_OF_TAB = ("add", "accept_above", "whole")


def price(count: str, fix: Fix, nuclei: Mapping[int, Nucleus]) -> float:
    """Actions of a fix.

    Args:
        count: Of `DRAWING`.
        fix: What is done.
        nuclei: Of the image, by number.
    """
    if fix.kind == "add":
        return DRAWING[count](nuclei[fix.nucleus])
    tab = count == "tab" and fix.kind not in _FREE_OF_TAB
    return 1 + fix.moved + tab


def by_hand(count: str, nuclei: Iterable[Nucleus]) -> float:
    """Actions to draw all nuclei."""
    return sum(DRAWING[count](nucleus) for nucleus in nuclei)
