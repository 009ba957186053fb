"""Write table.md from the results of the finished cells.

    .venv/bin/python -m experiments.few_labels.collect

It reads results/ alone, and those of experiments/peers: no images, no nets.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from experiments.few_labels.cells import (
    FINETUNE,
    GROUPS,
    LABELS,
    MAIN,
    SCRATCH,
    STARTS,
    Cell,
    all_cells,
)
from experiments.protocol.collect import table
from nucleist.files import write_text
from nucleist.metrics.bootstrap import Interval
from nucleist.metrics.replicates import Replicate, added_up, estimate

HERE = Path(__file__).parent
PEERS = HERE.parent / "peers" / "results"
GOAL = 0.97
METHODS = {"pa": "PA", "plain": "Mask R-CNN"}
THRESHOLDS = {"validation": "calibrated", "few": "few", "fixed": "fixed 0.5", "training": "file"}

Results = dict[Cell, dict]


def read_results() -> Results:
    found = (json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json")))
    return {Cell(**content["cell"]): content for content in found}


def replicate(content: dict, kind: str = "validation") -> Replicate:
    """Counts of each test field at a kind of threshold."""
    rows = {name: np.array(image[kind]) for name, image in content["test"].items()}
    fields = {name: image["field"] for name, image in content["test"].items()}
    return Replicate("0", "0", added_up(rows, fields))


def shown(*contents: dict, kind: str = "validation") -> str:
    """The mAP of one result, or the ratio of two, with its interval."""
    ratio = np.divide if len(contents) == 2 else None
    found = estimate([[replicate(content, kind)] for content in contents], ratio)
    assert found is not None
    return str(found.interval)


def seconds_of(content: dict) -> str:
    """CPU seconds of the training; empty where they are not known."""
    seconds = content.get("train_cpu_seconds")
    return "" if seconds is None else f"{seconds:.0f}"


def full_of(group: str) -> Cell:
    """Full annotation."""
    return Cell(group, 0, "100", "scratch", "plain", SCRATCH)


def words_for(labels: str) -> str:
    if labels.endswith("_of_5"):
        return f"{labels.removesuffix('_of_5')} nuclei in each of 5 images"
    return "none" if labels == "0" else f"{labels} %"


def scores(results: Results, group: str) -> str:
    """A row for each cell but those of the study."""
    full, rows = results.get(full_of(group)), []
    labels, starts = list(LABELS), list(STARTS)
    own = [cell for cell in results if cell.group == group and not cell.recipe]
    for cell in sorted(own, key=lambda c: (labels.index(c.labels), starts.index(c.start), c)):
        content = results[cell]
        second = "training" if cell.labels == "0" else "few"
        rows.append(
            [
                *(words_for(cell.labels), f"`{cell.start}`", METHODS[cell.method]),
                f"{content['labelled_nuclei']}",
                seconds_of(content),
                f"{shown(content)} at {content['thresholds']['validation']:.2f}",
                f"{shown(content, kind=second)} at {content['thresholds'][second]:.2f}",
                shown(content, full) if full else "",
            ]
        )
    head = ["labels", "start", "method", "nuclei", "CPU seconds", "mAP, calibrated"]
    return table([*head, "mAP, few (file)", "ratio to full"], rows)


def study(results: Results) -> str:
    """Validation mAP of the recipes, the best first."""
    found = [(c, r) for c, r in results.items() if c.recipe]
    rows = [
        [
            *(cell.recipe.replace("lr", "").removesuffix("_frozen"), str(cell.steps)),
            "body" if cell.recipe.endswith("_frozen") else "nothing",
            f"{content['map']['validation']:.4f} at {content['thresholds']['validation']:.2f}",
            seconds_of(content),
        ]
        for cell, content in sorted(found, key=lambda pair: -pair[1]["map"]["validation"])
    ]
    head = ["learning rate", "steps", "frozen", "mAP of the validation images", "CPU seconds"]
    return table(head, rows)


def goal(results: Results) -> Iterator[str]:
    """What was said beforehand, and what came of it; then what else may be asked of the same."""
    full = results.get(full_of(MAIN))
    few = {start: Cell(MAIN, 0, "10_of_5", start, "pa", steps_of(start)) for start in STARTS}
    for start in ("nuclei", "without"):
        own = results.get(few[start])
        if own and full:
            value, low, _ = compared(own, full, np.divide)
            verdict = "certain" if low >= GOAL else "reached" if value >= GOAL else "missed"
            yield (
                f"- `{start}`, ratio to full: {shown(own, full)}, the goal of {GOAL} is {verdict}; "
                f"CPU seconds: {seconds_of(own) or 'not measured'}"
            )
    asked = [("`without` minus `scratch`", few["without"], few["scratch"], np.subtract)]
    for start in ("nuclei", "without"):
        own, none = few[start], Cell(MAIN, 0, "0", start, "pa", 0)
        asked += [
            (f"`{start}` minus the same weights without a training", own, none, np.subtract),
            (f"`{start}`, ratio to all labels with the same start", own,
             own._replace(labels="100"), np.divide),
        ]  # fmt: skip
    for words, one, other, combine in asked:
        if one in results and other in results:
            yield f"- {words}: {compared(results[one], results[other], combine)}"


def compared(one: dict, other: dict, combine: Callable) -> Interval:
    """The difference or ratio of the mAP of two results, paired by field."""
    found = estimate([[replicate(one)], [replicate(other)]], combine)
    assert found is not None
    return found.interval


def steps_of(start: str) -> int:
    return SCRATCH if start == "scratch" else FINETUNE


def peers(results: Results) -> str:
    """The peers beside PA with the same labels, from scratch."""
    rows = []
    for path in sorted(PEERS.glob("*.json")):
        content = json.loads(path.read_text())
        labels = content["cell"]["labels"]
        ours = results.get(Cell(MAIN, 0, labels, "scratch", "pa", SCRATCH))
        memory = content["peak_gb"]
        rows.append(
            [
                *(words_for(labels), content["cell"]["peer"], str(content["steps"])),
                f"{content['train_cpu_seconds'] / 60:.1f}",
                f"{shown(content)} at {content['thresholds']['validation']}",
                shown(content, ours) if ours else "",
                f"{content['seconds_an_image']:.2f}",
                f"{memory['train']:.1f} / {memory['predict']:.1f}",
            ]
        )
    head = ["labels", "net", "steps", "CPU minutes", "mAP, calibrated", "ratio to PA from scratch"]
    return table([*head, "seconds an image", "GB, training / prediction"], rows)


def main() -> None:
    results, planned = read_results(), all_cells()
    commits = sorted({content["commit"][:7] for content in results.values()})
    text = [
        "# Results\n",
        f"{len(set(planned) & set(results))} of {len(planned)} cells are finished, seed 0; commits "
        f"{', '.join(commits)}. Written by `collect.py`; [README.md](README.md) says what is what. "
        "Brackets are 95 % intervals of a bootstrap over test fields. Trainings had one thread; "
        "CPU seconds are those of the whole command, with reading, calibration and test.\n",
    ]
    for group in GROUPS:
        if any(cell.group == group for cell in results):
            text += [f"## {group}\n", scores(results, group)]
    if lines := list(goal(results)):
        text += ["## 10 nuclei in each of 5 images\n", "\n".join(lines) + "\n"]
    if any(cell.recipe for cell in results):
        text += ["## The study of recipe=finetune\n", study(results)]
    if any(PEERS.glob("*.json")):
        text += ["## Peers, from scratch\n", peers(results)]
    write_text(HERE / "table.md", "\n".join(text))
    print(f"{len(results)} cells")


if __name__ == "__main__":
    main()
