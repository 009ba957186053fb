"""Write table.md, cells.csv and the figure from the results of the finished cells.

    .venv/bin/python -m experiments.protocol.collect

It reads results/ alone: no images, no nets.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

from experiments.protocol.cells import GROUPS, LABELS, Cell, all_cells
from nucleist.files import replacing, write_text
from nucleist.metrics.match_counts import map_of
from nucleist.metrics.replicates import Estimate, Replicate, added_up, estimate, without_folds
from nucleist.plots.intervals import IntervalCurve, save_intervals

HERE = Path(__file__).parent
MARGIN = 0.02
HEADLINE = "validation"
KINDS = {"validation": "calibrated", "few": "few", "fixed": "fixed 0.5"}
NAMES = {
    **{"pa": "PA", "plain": "Mask R-CNN", "frequency": "Mask R-CNN, label frequency 0.14"},
    "near": "Mask R-CNN, negatives near labels alone",
}
LEAK = "360x360_leak"

Arm = tuple[str, str, str, int]  # group, labels, method, steps
Results = dict[Arm, list[dict]]


def read_results(folder: Path) -> Results:
    found: Results = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        cell = Cell(**content["cell"])
        found[cell.group, cell.labels, cell.method, cell.steps].append(content)
    return found


def replicates(cells: list[dict], kind: str) -> list[Replicate]:
    """Counts of each field at a kind of threshold."""
    found = []
    for content in cells:
        rows = {name: np.array(image[kind]) for name, image in content["test"].items()}
        fields = {name: image["field"] for name, image in content["test"].items()}
        fold, seed = str(content["cell"]["fold"]), str(content["cell"]["seed"])
        found.append(Replicate(fold, seed, added_up(rows, fields)))
    return found


def overlaps(cells: list[dict]) -> list[Replicate]:
    """Sum of the AJI of the images of each field, and their number."""
    found = []
    for content in cells:
        rows = {name: np.array([aji, 1.0]) for name, aji in content.get("aji", {}).items()}
        fields = {name: image["field"] for name, image in content["test"].items()}
        fold, seed = str(content["cell"]["fold"]), str(content["cell"]["seed"])
        if rows:
            found.append(Replicate(fold, seed, added_up(rows, fields)))
    return found


def mean(rows: np.ndarray) -> np.ndarray:
    """Of sums and numbers `(..., 2)`."""
    return rows[..., 0] / rows[..., 1]


def asked(
    results: Results, arms: list[Arm], kind: str, combine: Callable | None = None
) -> Estimate | None:
    return estimate([replicates(results.get(arm, []), kind) for arm in arms], combine)


def shown(found: Estimate | None) -> str:
    return "" if found is None else str(found.interval)


def stands_on(found: Estimate) -> str:
    return f"{len(found.folds)} x {len(found.seeds)}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def scores(results: Results, group: str, steps: int) -> str:
    rows = []
    for arm in arms_of(results, group, steps):
        found = asked(results, [arm], HEADLINE)
        assert found is not None
        cells = results[arm]
        threshold = [fmean(c["thresholds"][k] for c in cells) for k in (HEADLINE, "few")]
        rows.append(
            [
                *(words_for(arm[1]), NAMES.get(arm[2], arm[2])),
                f"{fmean(c['labelled_nuclei'] for c in cells):.0f}",
                stands_on(found),
                *(shown(asked(results, [arm], kind)) for kind in KINDS),
                shown(estimate([overlaps(cells)], statistic=mean)),
                " / ".join(f"{t:.2f}" for t in threshold),
            ]
        )
    head = ["labels", "method", "labelled nuclei", "folds x seeds"]
    head += [f"mAP, {words}" for words in KINDS.values()]
    return table([*head, "AJI, calibrated", "threshold (calibrated / few)"], rows)


def differences(results: Results, group: str, steps: int) -> str:
    rows = []
    full = (group, "100", "plain", steps)
    for arm in arms_of(results, group, steps):
        labels, method = arm[1:3]
        for other, words in against(arm):
            found = asked(results, [arm, other], HEADLINE)
            if found is None:
                continue
            ratio = asked(results, [arm, other], HEADLINE, np.divide)
            rows.append(
                [
                    f"{words_for(labels)}, {NAMES.get(method, method)}",
                    words,
                    stands_on(found),
                    *(shown(asked(results, [arm, other], kind)) for kind in KINDS),
                    shown(ratio),
                    verdict(found, other == full),
                ]
            )
    head = ["net", "minus", "folds x seeds", *(f"difference, {w}" for w in KINDS.values())]
    return table([*head, "ratio, calibrated", "verdict"], rows) if rows else ""


def against(arm: Arm) -> Iterator[tuple[Arm, str]]:
    """What a net is compared with, in words."""
    group, labels, method, steps = arm
    full = (group, "100", "plain", steps)
    if arm != full:
        yield full, "all labels, Mask R-CNN"
    if method != "plain" and labels != "100":
        yield (group, labels, "plain", steps), "Mask R-CNN, same labels"
    if labels.startswith("10_"):
        yield (group, "10", method, steps), "the same net, labels at random"
    if method in ("frequency", "near") or labels.startswith("crop"):
        yield (group, "5", "pa", steps), "PA, 5 %"


def verdict(found: Estimate, against_full: bool) -> str:
    low, high = found.interval.low, found.interval.high
    if against_full:
        if low > -MARGIN:
            return f"within {MARGIN}"
        return f"worse by more than {MARGIN}" if high < -MARGIN else "open"
    return "better" if low > 0 else "worse" if high < 0 else "open"


def words_for(labels: str) -> str:
    return f"{labels} %" if labels.isdigit() else labels.replace("_", " ")


def arms_of(results: Results, group: str, steps: int) -> list[Arm]:
    order = list(LABELS)
    found = [arm for arm in results if arm[0] == group and arm[3] == steps]
    return sorted(found, key=lambda arm: (order.index(arm[1]), arm[2] != "pa", arm[2]))


def sections(results: Results) -> Iterator[str]:
    places = sorted({(arm[0], arm[3]) for arm in results})
    for group in GROUPS:
        for steps in sorted({s for g, s in places if g == group}):
            fields = max(len(one.groups) for a in arms_of(results, group, steps)
                         for one in replicates(results[a], HEADLINE))  # fmt: skip
            yield f"## {group}, {steps} steps\n"
            yield f"Up to {fields} fields test in a fold.\n"
            yield scores(results, group, steps)
            yield differences(results, group, steps)


def leak(results: Results, steps: int) -> Iterator[str]:
    """Images split without regard to fields, minus the same nets split by field."""
    rows = []
    for arm in arms_of(results, LEAK, steps):
        pair = [arm, ("360x360", *arm[1:])]
        some = [without_folds(replicates(results.get(a, []), HEADLINE), 3) for a in pair]
        found = estimate(some)
        if found is not None:
            name = f"{words_for(arm[1])}, {NAMES[arm[2]]}"
            each = [shown(estimate([one])) for one in some]
            rows.append([name, str(len(found.seeds)), *each, shown(found)])
    if rows:
        yield "## What the leak is worth\n"
        yield "All 90 images, each tested once, split by image or by field.\n"
        yield table(["net", "seeds", "by image", "by field", "difference"], rows)


def draw(results: Results, group: str, steps: int, path: Path) -> None:
    curves = []
    for method in ("pa", "plain"):
        name = NAMES[method]
        points = {}
        for labels in ("5", "10", "25", "100"):
            found = asked(results, [(group, labels, method, steps)], HEADLINE)
            if found is not None:
                points[float(labels)] = found.interval
        if points:
            curves.append(IntervalCurve(name, points))
    if curves:
        save_intervals(
            path, curves, "labelled nuclei, % of all (log scale)",
            f"mAP at the threshold from validation; {group} px, {steps} steps",
        )  # fmt: skip


def write_cells(results: Results, path: Path) -> None:
    names = [*Cell._fields, "labelled_nuclei", "train_seconds", "commit"]
    kinds = [*KINDS, "training"]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*names, *(f"threshold_{k}" for k in kinds), *(f"map_{k}" for k in kinds),
                       "map_best_of_curve"])  # fmt: skip
        for cells in results.values():
            for c in cells:
                best = max(float(map_of(np.array(row))) for row in c["curve"]["test"].values())
                rows.writerow(
                    [
                        *c["cell"].values(),
                        *(c[name] for name in names[len(Cell._fields) :]),
                        *(c["thresholds"][k] for k in kinds),
                        *(c["map"][k] for k in kinds),
                        round(best, 6),
                    ]
                )


def main() -> None:
    results = read_results(HERE / "results")
    done = {Cell(**c["cell"]) for cells in results.values() for c in cells}
    planned = all_cells(1200)
    commits = sorted({c["commit"][:7] for cells in results.values() for c in cells})
    text = [
        "# Results\n",
        f"{len(done.intersection(planned))} of {len(planned)} cells are finished; commits "
        f"{', '.join(commits)}. Written by `collect.py`; [README.md](README.md) says what is what. "
        "Brackets are 95 % intervals: fields within folds, then seeds. The threshold *calibrated* "
        "has the highest mAP on fully labelled validation images, *few* is from validation images "
        "labelled as sparsely as the training images.\n",
        *sections(results),
        *leak(results, 1200),
    ]
    write_text(HERE / "table.md", "\n".join(text))
    write_cells(results, HERE / "cells.csv")
    for group, steps in sorted({(arm[0], arm[3]) for arm in results}):
        draw(results, group, steps, HERE / f"labels_{group}_{steps}.png")
    print(f"{len(done)} cells")


if __name__ == "__main__":
    main()
