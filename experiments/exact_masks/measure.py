"""How far nuclei move on their way through mask targets and pasting, and through trained nets.

NUCLEIST_DATA=FOLDER python experiments/exact_masks/measure.py                 # true labels alone
NUCLEIST_DATA=FOLDER python experiments/exact_masks/measure.py RUN [RUN ...]   # test images of runs
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.targets import to_target
from nucleist.inference.load import load
from nucleist.metrics.counts import SCORES, Counts, count
from nucleist.ops.contingency import Contingency, contingency
from nucleist.ops.masks import ALIGNMENTS, mask_targets, paste_label_map
from nucleist.types import Source

SIDE = 28
SCORE = 0.5
"""Score above which detections of runs count."""

Pair = tuple[np.ndarray, np.ndarray]
"""True and found label map of an image."""

DATA = {"bbbc360": ("test",), "kumar": ("train", "test")}
HEAD = ["mAP", "AJI", "nuclei", "IoU > 0.95", "IoU > 0.5", "shift x", "shift y", "area"]
HEAD += ["IoU > 0.75", "shift x", "shift y"]
"""Shifts in pixels with their standard errors, areas as ratios: of the nuclei of that IoU."""
OF_RUNS = ["turned: shift x", "shift y", "**own shift** x", "y"]
"""Of the same images turned by 180 degrees, with an IoU above 0.75; and the mean of both.

Where the outlines lie beside what the images show, turning changes the sign of the shift; what the
net adds by itself keeps it.
"""


def returned(source: Source, ids: Iterable[str], alignment: str) -> Iterator[Pair]:
    """The true label maps, and what is left of them after targets and pasting."""
    for name in ids:
        labels = source.read(name).labels
        target = to_target(labels)
        boxes, label_map = target["boxes"], target["label_map"]
        numbers = torch.arange(len(boxes))
        masks = mask_targets(label_map, boxes, numbers, SIDE, alignment)[:, None]
        shape = (labels.shape[0], labels.shape[1])
        found, _ = paste_label_map(masks, boxes, shape, max_lost=0.7, alignment=alignment)
        yield labels, found.numpy()


def predicted(run: Path, step: int = 1) -> Iterator[Pair]:
    """The true label maps of the test images of a run, and what its last weights find.

    Args:
        run: Its folder.
        step: -1 turns the images by 180 degrees.
    """
    model = load(run / "checkpoints" / "last.ckpt", device="cpu")
    source = build(model.config["data"]["source"])
    for name in source.splits()["test"]:
        record = source.read(name)
        image, labels = (
            np.ascontiguousarray(a[::step, ::step]) for a in (record.image, record.labels)
        )
        yield labels, model.predict(image, score_threshold=SCORE).labels


def centroids(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Centroids (x, y) of nuclei, `(N, 2)`, pixels."""
    rows, cols = labels.nonzero()
    values, size = labels[rows, cols], int(labels.max()) + 1
    area = np.bincount(values, minlength=size)
    sums = [np.bincount(values, weights=place, minlength=size) for place in (cols, rows)]
    return np.stack(sums, 1)[ids] / area[ids, None]


def moved(labels: np.ndarray, found: np.ndarray, table: Contingency) -> np.ndarray:
    """Shift in x and y, ratio of areas, and IoU of each nucleus found with an IoU above 1/2."""
    pair = 2 * table.intersection > table.union
    true, own = table.true_index[pair], table.pred_index[pair]
    shift = centroids(found, table.pred_ids[own]) - centroids(labels, table.true_ids[true])
    ratio = table.pred_areas[own] / table.true_areas[true]
    return np.concatenate([shift, ratio[:, None], table.iou[pair][:, None]], 1)


def measured(pairs: Iterable[Pair]) -> tuple[list[str], np.ndarray]:
    """Cells of a row below `HEAD`, and the changes of the nuclei with an IoU above 0.75."""
    every, changes = [], []
    for labels, found in pairs:
        table = contingency(labels, found)
        every.append(count(table))
        changes.append(moved(labels, found, table))
    total = Counts(*(np.sum(values, axis=0) for values in zip(*every, strict=True)))
    all_changes = np.concatenate(changes)
    well = all_changes[all_changes[:, 3] > 0.75]
    scores = [f"{float(SCORES[name](total)):.4f}" for name in ("map", "aji")]
    numbers = [str(int(n)) for n in (total.n_true, total.matched[-1], len(all_changes))]
    area = f"{all_changes[:, 2].mean():.3f}"
    cells = [*scores, *numbers, *_shift(all_changes), area, str(len(well)), *_shift(well)]
    return cells, well


def _shift(changes: np.ndarray) -> list[str]:
    """Mean shifts in x and y with their standard errors."""
    means, errors = changes.mean(0), changes.std(0) / len(changes) ** 0.5
    return [f"{means[axis]:+.3f} ± {errors[axis]:.3f}" for axis in (0, 1)]


def of_run(run: Path) -> list[str]:
    """Cells of a row below `HEAD` and `OF_RUNS`."""
    cells, well = measured(predicted(run))
    _, turned = measured(predicted(run, -1))
    own = (well.mean(0) + turned.mean(0)) / 2
    return [*cells, *_shift(turned), *(f"{own[axis]:+.3f}" for axis in (0, 1))]


def row(cells: Iterable[str]) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def main(runs: list[Path]) -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    head = ["run", "seed", "alignment", *HEAD, *OF_RUNS] if runs else ["data", "alignment", *HEAD]
    row(head)
    row("---" for _ in head)
    for run in runs:
        config = load(run, device="cpu").config
        names = [config["name"], str(config["seed"]), config["model"]["mask_alignment"]]
        row([*names, *of_run(run)])
    for name, splits in ({} if runs else DATA).items():
        source = build(compose("train", [f"data={name}"]).data.source)
        ids = [image for split in splits for image in source.splits()[split]]
        for alignment in ALIGNMENTS:
            row([name, alignment, *measured(returned(source, ids, alignment))[0]])


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
