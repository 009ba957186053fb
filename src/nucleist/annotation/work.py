"""Which nucleus a person should look at next, and why: the correction that is worth most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nucleist.annotation.geometry import Ring, ring_of
from nucleist.annotation.things import Thing

MOST = 200
"""Items of a list."""

_FEW = 5
"""So many areas tell what is usual."""

_ODD = 3.5
"""Robust standard deviations from which a size is odd."""

_ROUND = 0.6
"""Roundness (1 for a circle) below which a shape is odd."""


@dataclass(frozen=True)
class Item:
    """One nucleus to look at.

    Attributes:
        id: Of the nucleus.
        worth: How much a look is worth, in [0, 1]; the list is sorted by it.
        reason: In words.
    """

    id: str
    worth: float
    reason: str


def work_list(things: Mapping[str, Thing], threshold: float) -> list[Item]:
    """The nuclei of a picture that are worth a look, the most worth first.

    Worth is a rule of thumb: an outline that crosses itself is wrong for sure; a proposal in a
    region that was called finished contradicts it; a score is most uncertain at the threshold; a
    size or shape far from those of the labelled nuclei is likely wrong; a faint proposal that no
    other covers may be a nucleus that was missed.

    Args:
        things: What lies on it, by id.
        threshold: Proposals of a lower score are not shown, in [0, 1].
    """
    nuclei = [one for one in things.values() if one.kind == "nucleus" and one.state != "rejected"]
    rings = {one.id: ring_of(one.anchors) for one in nuclei}
    usual = _usual([rings[n.id].area for n in nuclei if n.is_label or n.score >= threshold])
    regions = [one for one in things.values() if one.kind == "region"]
    found = []
    for one in nuclei:
        items = [
            _crossed(one, rings[one.id]),
            _in_region(one, rings[one.id], regions),
            _odd(one, rings[one.id], usual, threshold),
            _uncertain(one, threshold),
            _missed(one, threshold),
        ]
        best = max((item for item in items if item), key=lambda item: item.worth, default=None)
        found += [best] if best else []
    return sorted(found, key=lambda item: (-item.worth, item.id))[:MOST]


def _usual(areas: Sequence[float]) -> tuple[float, float] | None:
    """Median and spread of the logarithms of areas; None of too few."""
    if len(areas) < _FEW:
        return None
    logs = np.log(np.maximum(areas, 1))
    middle = float(np.median(logs))
    return middle, max(1.4826 * float(np.median(np.abs(logs - middle))), 0.1)


def _crossed(one: Thing, ring: Ring) -> Item | None:
    return Item(one.id, 1.0, "the outline crosses itself") if ring.crosses else None


def _in_region(one: Thing, ring: Ring, regions: Sequence[Thing]) -> Item | None:
    if one.state != "proposed":
        return None
    x, y = ring.center
    for region in regions:
        (x0, y0), (x1, y1) = region.anchors
        if x0 <= x < x1 and y0 <= y < y1:
            return Item(one.id, 0.95, "proposed in a finished region: accept or reject")
    return None


def _odd(
    one: Thing, ring: Ring, usual: tuple[float, float] | None, threshold: float
) -> Item | None:
    if one.state == "proposed" and one.score < threshold:
        return None
    roundness = 4 * math.pi * ring.area / max(ring.length, 1e-9) ** 2
    share = 0.9 if one.state == "proposed" else 0.6  # a person meant what was drawn
    if roundness < _ROUND:
        return Item(one.id, share * (1 - roundness), f"odd shape: roundness {roundness:.2f}")
    if usual is not None:
        far = (math.log(max(ring.area, 1)) - usual[0]) / usual[1]
        if abs(far) > _ODD:
            word, worth = "large" if far > 0 else "small", share * min(abs(far) / 10, 1)
            return Item(one.id, worth, f"unusually {word}: {ring.area:.0f} px²")
    return None


def _uncertain(one: Thing, threshold: float) -> Item | None:
    if one.state != "proposed" or one.score < threshold:
        return None
    worth = 0.9 * (1 - (one.score - threshold) / max(1 - threshold, 1e-6))
    return Item(one.id, worth, f"uncertain: score {one.score:.2f}") if worth > 0.1 else None


def _missed(one: Thing, threshold: float) -> Item | None:
    if one.state != "proposed" or one.score >= threshold:
        return None
    worth = 0.7 * one.score / max(threshold, 1e-6)
    return Item(one.id, worth, f"perhaps missed: score {one.score:.2f}") if worth > 0.2 else None
