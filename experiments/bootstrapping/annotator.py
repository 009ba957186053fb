"""What an annotator who sees the truth does to an image: pure functions.

The outlines that lie on the image are paired with the true nuclei; from each pair, and from what
has no partner, follows what is to be done.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from experiments.bootstrapping.prices import Fix
from experiments.bootstrapping.truth import Nucleus, Truth, iou_of
from nucleist.annotation.geometry import shape_of
from nucleist.annotation.things import Point, Thing
from nucleist.annotation.work import work_list
from nucleist.data.outlines import Shape
from nucleist.ops.splines import curve

Things = Mapping[str, Thing]


@dataclass(frozen=True)
class Bars:
    """When an outline is right.

    Attributes:
        near: IoU from which an outline is one of a nucleus at all.
        good: IoU from which it is left as it is.
        done: IoU at which a correction ends.
    """

    near: float = 0.3
    good: float = 0.75
    done: float = 0.85


BARS = Bars()


@dataclass(frozen=True)
class Rules:
    """What a program lets the annotator do.

    Attributes:
        corrects: Whether anchors can be dragged.
        hidden: Whether proposals below the threshold can be accepted.
        accepts: Whether what is shown must be accepted, one action an image.
    """

    corrects: bool = True
    hidden: bool = True
    accepts: bool = True


BY_HAND = ("drawn", "corrected")
"""Origin of what the annotator made: it is not looked at again."""

RULES = {"nucleist": Rules(), "cellpose": Rules(False, False, False)}


def paired(
    things: Things, truth: Truth, threshold: float, bars: Bars = BARS
) -> dict[str, tuple[int, float]]:
    """True nucleus of each outline and the IoU, by the outline's id; one to one.

    First labels, then shown proposals that are good, then the rest; by IoU within each.
    """
    found = []
    for one in things.values():
        if one.kind != "nucleus" or one.state == "rejected":
            continue
        for number, iou in overlaps(one, truth):
            good = one.score >= threshold and iou >= bars.good
            tier = 0 if one.is_label else 1 if good else 2
            if iou >= bars.near:
                found.append((tier, -iou, one.id, number))
    pairs: dict[str, tuple[int, float]] = {}
    taken: set[int] = set()
    for _, minus, own, number in sorted(found):
        if own not in pairs and number not in taken:
            pairs[own] = (number, -minus)
            taken.add(number)
    return pairs


def overlaps(thing: Thing, truth: Truth) -> Iterator[tuple[int, float]]:
    """Number and IoU of each nucleus that an outline meets."""
    shape = _pixels(thing.anchors, truth.labels.shape)
    if shape is None:
        return
    rows = slice(shape.top, shape.top + shape.mask.shape[0])
    inside = truth.labels[rows, shape.left : shape.left + shape.mask.shape[1]][shape.mask]
    for number, both in zip(*np.unique(inside, return_counts=True), strict=True):
        if number:
            area = truth.nuclei[int(number)].area
            yield int(number), float(both / (area + len(inside) - both))


@lru_cache(maxsize=20_000)  # the same outlines are looked at by each rule and standard
def _pixels(anchors: tuple[Point, ...], size: tuple[int, int]) -> Shape | None:
    return shape_of(anchors, size)


def corrected(thing: Thing, nucleus: Nucleus, truth: Truth, bars: Bars = BARS) -> Fix | None:
    """Anchors dragged onto the true outline, the farthest first, until the outline is right.

    Returns:
        The correction with the anchors that it moved; None if that does not make it right.
    """
    true = curve(np.asarray(nucleus.anchors), 0.5)
    anchors = np.asarray(thing.anchors, np.float64)
    far = np.linalg.norm(anchors[:, None] - true[None], axis=2)
    goal, distance = true[far.argmin(1)], far.min(1)
    low = np.floor(np.minimum(anchors.min(0), true.min(0))).astype(int) - 4
    low = np.maximum(low, 0)
    high = np.ceil(np.maximum(anchors.max(0), true.max(0))).astype(int) + 4
    mask = truth.labels[low[1] : high[1], low[0] : high[0]] == nucleus.number
    moved = anchors.copy()
    for count, at in enumerate(np.argsort(-distance, kind="stable"), 1):
        moved[at] = goal[at]
        if iou_of([(x, y) for x, y in moved - low], mask) >= bars.done:
            points = tuple((float(x), float(y)) for x, y in moved)
            return Fix("correct", thing.id, nucleus.number, count, points)
    return None


def plan(
    things: Things,
    truth: Truth,
    threshold: float,
    rules: Rules = RULES["nucleist"],
    bars: Bars = BARS,
) -> list[Fix]:
    """All that is to be done until the image is right, `accept_above` after the wrong ones.

    Args:
        things: What lies on the image, by id.
        truth: Its nuclei.
        threshold: Proposals of a lower score are hidden.
        rules: What can be done.
        bars: What is right.
    """
    pairs = paired(things, truth, threshold, bars)
    wrong: list[Fix] = []
    later: list[Fix] = []
    left: list[int] = []
    reached = set()
    for one in things.values():
        if one.kind != "nucleus" or one.state == "rejected":
            continue
        number, iou = pairs.get(one.id, (0, 0.0))
        shown = one.is_label or one.score >= threshold
        if one.origin in BY_HAND:
            reached.add(number)
        elif number and iou >= bars.good and (shown or rules.hidden):
            reached.add(number)
            if not one.is_label and shown:
                left.append(number)
            elif not one.is_label:
                later.append(Fix("accept", one.id, number))
        elif shown or (number and rules.hidden):
            mended = _mended(one, number, truth, shown, rules, bars)
            reached |= {fix.nucleus for fix in mended}
            (wrong if shown else later).extend(mended)
    accept = [Fix("accept_above", score=threshold, gained=tuple(left))] if left else []
    missed = [drawn(truth.nuclei[number]) for number in truth.nuclei if number not in reached]
    return [*wrong, *accept, *later, *missed]


def drawn(nucleus: Nucleus) -> Fix:
    """A nucleus outlined by hand."""
    return Fix("add", nucleus=nucleus.number, anchors=nucleus.anchors)


def _mended(
    one: Thing, number: int, truth: Truth, shown: bool, rules: Rules, bars: Bars
) -> list[Fix]:
    """A wrong outline corrected, or taken away; drawn anew in its place if it was a nucleus."""
    gone = [Fix("delete" if one.is_label else "reject", one.id)] if shown else []
    if not number:
        return gone
    nucleus = truth.nuclei[number]
    anew = [*gone, drawn(nucleus)]
    better = corrected(one, nucleus, truth, bars) if rules.corrects else None
    dearer = better is None or 1 + better.moved > len(gone) + len(nucleus.anchors) + 1
    return anew if better is None or dearer else [better]


def listed(things: Things, truth: Truth, threshold: float, most: int) -> list[Fix]:
    """What is done to the first items of the page's list, then to nuclei that were missed.

    Args:
        things: What lies on the image, by id.
        truth: Its nuclei.
        threshold: Of the page.
        most: Items; a wrong outline that is drawn anew is one.
    """
    whole = plan(things, truth, threshold)
    pairs = paired(things, truth, threshold)
    at = {fix.thing: place for place, fix in enumerate(whole) if fix.thing}
    chosen: list[list[Fix]] = []
    for item in work_list(things, threshold):
        one = things[item.id]
        if item.id in at:
            place = at[item.id]
            number = pairs.get(item.id, (0, 0.0))[0]
            # Taken away and drawn anew are next to each other, and one item.
            anew = whole[place].nucleus == 0 and number != 0
            chosen.append(whole[place : place + 1 + anew])
        elif one.state == "proposed" and one.score >= threshold:
            chosen.append([Fix("accept", one.id, pairs[one.id][0])])
    done = {id(fix) for some in chosen for fix in some}
    chosen += [[fix] for fix in whole if fix.kind == "add" and id(fix) not in done]
    return [fix for some in chosen[:most] for fix in some]


def command(fix: Fix, image: str) -> dict[str, Any]:
    """The session's command for a fix.

    What is drawn has an id that follows from image and nucleus: labels are numbered in the order
    of their ids, so a repeated cell holds out the same nuclei in its first training.
    """
    if fix.kind == "add":
        own = uuid.uuid5(uuid.NAMESPACE_OID, f"{image}/{fix.nucleus}")
        return {"do": "add", "anchors": fix.anchors, "id": str(own)}
    if fix.kind == "correct":
        return {"do": "reshape", "id": fix.thing, "anchors": fix.anchors}
    if fix.kind == "accept_above":
        return {"do": "accept_above", "score": fix.score}
    if fix.kind == "whole":
        return {"do": "whole"}
    return {"do": fix.kind, "ids": [fix.thing]}
