"""Tables 3 and 4 of the paper: AJI of each Kumar test image, and of the two breast images.

Feng et al., IEEE Access 2019, section III.C: Wilcoxon's signed-rank test over images. The paper
numbers the two images of an organ but does not identify them. They are paired here in the order
of their TCGA ids, and the test is repeated for every other pairing to show how much that matters.
The paper's overall AJI of its own method (0.5353) is not the mean of its 14 rows (0.5268), while
those of DIST and CNN3 are, so ours are given pooled and as the mean of images.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
from scipy.stats import wilcoxon

from nucleist.data.readers.kumar import TEST, organ
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.published import published
from nucleist.report.table import SPREAD, Column, Row, Table, Value, over_seeds
from nucleist.training.finished import number

METHODS = {"ours": "PA Mask R-CNN", "dist": "DIST", "cnn3": "CNN3"}
KINDS = {"test": "fixed", "test_calibrated": "calibrated"}
PAIRING = (
    "The paper numbers the two images of an organ but does not identify them: they are paired here "
    "in the order of their TCGA ids."
)
OVERALL = (
    "The paper's overall AJI of its own method, 0.5353, is not the mean of its 14 rows, 0.5268, "
    "while those of DIST and CNN3 are; ours is given both pooled and as the mean of images."
)
Slot = tuple[str, int]
"""An organ and the paper's number of its image, from 1."""


def table3(benchmark: Benchmark) -> list[Table]:
    """The rows of Table 3 and the tests, for each model that was tested on Kumar's images."""
    if benchmark.source != "Kumar":
        return []
    found = ((group, per_image(group, "test")) for group in benchmark.groups)
    return [table for group, images in found if images for table in _tables3(group)]


def per_image(group: RunGroup, part: str, metric: str = "aji") -> dict[str, tuple[float, ...]]:
    """A score of each test image, one value for each seed, by image id."""
    values: dict[str, list[float]] = {}
    for run in group.runs:
        for row in (row for row in run.images(part) if metric in row):
            values.setdefault(row["image"], []).append(row[metric])
    return {image: tuple(found) for image, found in sorted(values.items())}


def _tables3(group: RunGroup) -> Iterator[Table]:
    ours = {kind: per_image(group, part) for part, kind in KINDS.items()}
    places = slots(ours["fixed"])
    printed = {(row["organ"], int(row["number"])): row for row in published("table3")[:-1]}
    rows = [_image_row(group, image, slot, ours, printed) for image, slot in places.items()]
    columns = (
        Column("organ", "organ"),
        Column("image", "image"),
        Column("number", "no.", True),
        *(Column(f"aji_{kind}", f"AJI, {kind} threshold") for kind in KINDS.values()),
        *(Column(name, title, True, 4) for name, title in METHODS.items()),
    )
    yield Table(
        f"table3_{group.key}",
        f"Table 3. AJI of each Kumar test image: {group.title}",
        columns,
        (*rows, *_means(group, ours, places, printed)),
        (f"{len(rows)} of the paper's 14 test images. {SPREAD}", PAIRING, OVERALL),
    )
    yield _tests(group, ours, places, printed)


def slots(images: Mapping[str, object]) -> dict[str, Slot | None]:
    """Position of each image in the paper's table, by organ and the order of TCGA ids.

    >>> slots({"TCGA-E2-A1B5-01Z-00-DX1": 0, "other": 0})
    {'TCGA-E2-A1B5-01Z-00-DX1': ('breast', 2), 'other': None}
    """
    order = [*TEST, "unknown"]
    places: dict[str, Slot | None] = {}
    for image in sorted(images, key=lambda image: (order.index(organ(image)), image)):
        patients = TEST.get(organ(image), ())
        number = next((i for i, patient in enumerate(patients, 1) if patient in image), None)
        places[image] = None if number is None else (organ(image), number)
    return places


def _image_row(
    group: RunGroup,
    image: str,
    slot: Slot | None,
    ours: Mapping[str, Mapping[str, tuple[float, ...]]],
    printed: Mapping[Slot, Mapping[str, str]],
) -> Row:
    row = printed[slot] if slot else {}
    cells: list[Value] = [slot[0] if slot else "unknown", image, slot[1] if slot else None]
    cells += [over_seeds(ours[kind].get(image, ())) for kind in KINDS.values()]
    return Row((*cells, *(number(row.get(name)) for name in METHODS)), group.key)


def _means(
    group: RunGroup,
    ours: Mapping[str, Mapping[str, tuple[float, ...]]],
    places: Mapping[str, Slot | None],
    printed: Mapping[Slot, Mapping[str, str]],
) -> Iterator[Row]:
    here = [printed[slot] for slot in places.values() if slot]
    means = [group.scores(part, "aji", "per_image") for part in KINDS]
    pooled = [group.scores(part, "aji", "pooled") for part in KINDS]
    overall = published("table3")[-1]
    none = [None] * len(KINDS)
    for name, mine, theirs in (
        (f"mean of these {len(places)} images", map(over_seeds, means), _mean_of(here)),
        ("pooled over these images", map(over_seeds, pooled), [None] * len(METHODS)),
        ("mean of the paper's 14 rows", none, _mean_of(list(printed.values()))),
        ("the paper's overall, as printed", none, [number(overall[m]) for m in METHODS]),
    ):
        yield Row((name, None, None, *mine, *theirs), group.key, summary=True)


def _mean_of(rows: Sequence[Mapping[str, str]]) -> list[float | None]:
    if not rows:
        return [None] * len(METHODS)
    return [fmean(float(row[method]) for row in rows) for method in METHODS]


def _tests(
    group: RunGroup,
    ours: Mapping[str, Mapping[str, tuple[float, ...]]],
    places: Mapping[str, Slot | None],
    printed: Mapping[Slot, Mapping[str, str]],
) -> Table:
    rows = []
    for kind, method in itertools.product(KINDS.values(), METHODS):
        mine = {i: fmean(v) for i, v in ours[kind].items() if places.get(i)}
        theirs = {slot: float(row[method]) for slot, row in printed.items()}
        if len(mine) < 2:
            continue
        known = {image: places[image] for image in mine}
        p, low, high = p_values(mine, known, theirs)  # type: ignore[arg-type]
        against = fmean(theirs[slot] for slot in known.values() if slot)
        cells = (kind, METHODS[method], len(mine), fmean(mine.values()), against, p, low, high)
        rows.append(Row(cells, group.key))
    columns = (
        Column("threshold", "our threshold"),
        Column("against", "against, as printed"),
        Column("images", "images"),
        Column("mean", "our mean"),
        Column("mean_against", "their mean"),
        Column("p", "p"),
        Column("p_low", "lowest p of any pairing"),
        Column("p_high", "highest p of any pairing"),
    )
    own = [float(row["ours"]) for row in printed.values()]
    theirs_own = [
        signed_rank(own, [float(r[m]) for r in printed.values()]) for m in ("dist", "cnn3")
    ]
    notes = (
        "Two-sided; our AJI of an image is the mean over seeds. With fewer than six images no "
        "outcome reaches p = 0.05. The last two columns show the range of p over all pairings of "
        "the two images of an organ, which the paper does not identify.",
        "The paper's own 14 rows, as printed, against DIST: p = {:.3f}; against CNN3: p = {:.3f}. "
        "The paper states that no difference is significant.".format(*theirs_own),
    )
    title = f"Table 3. Wilcoxon's signed-rank test over images: {group.title}"
    return Table(f"table3_tests_{group.key}", title, columns, tuple(rows), notes)


def p_values(
    mine: Mapping[str, float], places: Mapping[str, Slot], theirs: Mapping[Slot, float]
) -> tuple[float, float, float]:
    """Wilcoxon's p as paired by `places`, and its range over all pairings within organs.

    Args:
        mine: AJI by image.
        places: Organ and number of each image.
        theirs: AJI by organ and number, two of each organ.
    """
    organs: dict[str, list[str]] = {}
    for image, (name, _) in places.items():
        organs.setdefault(name, []).append(image)
    images = [image for members in organs.values() for image in members]
    own = [mine[image] for image in images]
    straight = signed_rank(own, [theirs[places[image]] for image in images])
    ways = [itertools.permutations((1, 2), len(members)) for members in organs.values()]
    every = []
    for way in itertools.product(*ways):
        numbers = zip(organs, way, strict=True)
        every.append(
            signed_rank(own, [theirs[name, i] for name, own_way in numbers for i in own_way])
        )
    return straight, min(every), max(every)


def signed_rank(own: Sequence[float], theirs: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 if all pairs are equal.

    >>> signed_rank([0.1, 0.2, 0.3], [0.2, 0.4, 0.6])  # all three lower: 2 of 2 ** 3 outcomes
    0.25
    """
    difference = np.round(np.subtract(own, theirs), 9)  # equal figures tie whatever the rounding
    if not difference.any():
        return 1.0
    return float(wilcoxon(difference[difference != 0]).pvalue)


def table4(benchmark: Benchmark) -> Table | None:
    """AJI on Kumar's two breast test images, of models trained on TNBC and Kumar's breast."""
    if benchmark.source != "TNBC":
        return None
    columns = (
        Column("method", "method"),
        Column("annotation", "labels"),
        Column("annotations", "labelled nuclei"),
        Column("aji_fixed", "AJI pooled, fixed threshold"),
        Column("aji_calibrated", "AJI pooled, calibrated"),
        Column("aji_fixed_per_image", "AJI mean of images, fixed"),
        Column("aji", "AJI", True, 4),
    )
    rows = [
        Row(
            (
                r["method"],
                r["annotation"],
                int(r["annotations"]),
                None,
                None,
                None,
                number(r["aji"]),
            )
        )
        for r in published("table4")
    ]
    for group in benchmark.groups:
        images = per_image(group, "test")
        if {organ(image) for image in images} != {"breast"}:
            continue
        scores = [group.scores(part, "aji") for part in KINDS]
        scores.append(group.scores("test", "aji", "per_image"))
        count = over_seeds(group.nuclei, 0)
        cells = (group.title, group.annotation, count, *map(over_seeds, scores), None)
        rows.append(Row(cells, group.key))
    own = len(rows) > len(published("table4"))
    notes = (SPREAD, "The paper does not say whether its AJI is pooled or a mean of images.")
    title = "Table 4. AJI on Kumar's breast test images"
    return Table(f"table4_{benchmark.key}", title, columns, tuple(rows), notes) if own else None
