"""What it would take to finish all images from here, without doing it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bootstrapping.annotator import BARS, RULES, Bars, Rules, paired, plan
from experiments.bootstrapping.prices import DRAWING, Fix, price
from experiments.bootstrapping.truth import Truth
from nucleist.annotation.things import Thing

STANDARDS = {"": BARS, "lenient": Bars(good=0.5), "strict": Bars(good=0.85, done=0.9)}
"""When an outline is right: as in the headline, sooner, and later."""

Image = tuple[Mapping[str, Thing], Truth, bool]
"""What lies on it, its nuclei, and whether it is finished."""


def charge(count: str, fix: Fix, truth: Truth, rules: Rules) -> float:
    """Actions of a fix; without `accepts` what is shown counts by itself."""
    if fix.kind in ("accept_above", "whole") and not rules.accepts:
        return 0.0
    return price(count, fix, truth.nuclei)


def priced(fixes: Sequence[Fix], truth: Truth, rules: Rules) -> Counter[str]:
    """Actions of several fixes by each way of counting."""
    found: Counter[str] = Counter()
    for fix in fixes:
        for count in DRAWING:
            found[count] += charge(count, fix, truth, rules)
    return found


def finishes(images: Sequence[Image], threshold: float) -> dict[str, dict[str, Any]]:
    """What is left to do, by rules and standard: `nucleist`, `nucleist strict`, ..."""
    return {
        f"{name} {word}".strip(): left_to_do(images, threshold, rules, bars)
        for name, rules in RULES.items()
        for word, bars in STANDARDS.items()
    }


def left_to_do(
    images: Sequence[Image], threshold: float, rules: Rules, bars: Bars
) -> dict[str, Any]:
    """Number of fixes of each kind, their actions, and those until 0.95 of the nuclei are there.

    First what is proposed in all images, then nuclei that are missing, image after image.
    """
    open_ones = [image for image in images if not image[2]]
    plans = [plan(things, truth, threshold, rules, bars) for things, truth, _ in open_ones]
    kinds = Counter(fix.kind for fixes in plans for fix in fixes)
    spent: Counter[str] = Counter()
    for fixes, (_, truth, _) in zip(plans, open_ones, strict=True):
        spent += priced([*fixes, Fix("whole")], truth, rules)
    return {
        "done": dict(kinds),
        "moved": sum(fix.moved for fixes in plans for fix in fixes),
        "spent": dict(spent),
        "to_95": _to_recall(images, plans, threshold, rules, 0.95),
    }


def _to_recall(
    images: Sequence[Image], plans: list[list[Fix]], threshold: float, rules: Rules, goal: float
) -> dict[str, float]:
    total = sum(len(truth.nuclei) for _, truth, _ in images)
    have = {id(truth): _labelled(things, truth, threshold) for things, truth, _ in images}
    spent: Counter[str] = Counter()
    truths = [truth for _, truth, done in images if not done]
    for missing in (False, True):
        for truth, fixes in zip(truths, plans, strict=True):
            for fix in fixes:
                if sum(map(len, have.values())) >= goal * total:
                    return dict(spent)
                if (fix.kind == "add") == missing:
                    spent += priced([fix], truth, rules)
                    have[id(truth)] |= {*fix.gained, fix.nucleus} - {0}
    return dict(spent)


def _labelled(things: Mapping[str, Thing], truth: Truth, threshold: float) -> set[int]:
    """Nuclei that have a labelled outline."""
    pairs = paired(things, truth, threshold)
    return {number for own, (number, iou) in pairs.items() if things[own].is_label and iou > 0.5}
