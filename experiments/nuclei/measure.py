"""Scores of a model on the validation or test images of experiment nuclei, by type of image.

NUCLEIST_DATA=FOLDER python experiments/nuclei/measure.py MODEL test [CACHE [KEY=VALUE ...]]

KEY=VALUE are options of the model, such as rpn_min_size=6.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

import nucleist
from nucleist.config.compose import compose
from nucleist.config.options import parsed
from nucleist.data.module import NucleiData
from nucleist.inference.load import Model
from nucleist.inference.outline import outline
from nucleist.metrics.counts import Counts, count
from nucleist.ops.contingency import contingency
from nucleist.ops.labels import at_threshold
from nucleist.training.train import build_data
from nucleist.types import Record

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85)
STARDIST = range(0, 9, 2)
"""Places of IoU 0.5, 0.6, 0.7, 0.8 and 0.9 among the thresholds."""


def kind_of(record: Record) -> str:
    """`H&E` in colour; gray: `bright field` if most of it is bright, else `fluorescence`."""
    image = record.image
    if (image != image[..., :1]).any():
        return "H&E"
    return "bright field" if np.median(image) > 127 else "fluorescence"


def counted(
    model: Model, data: NucleiData, split: str, thresholds: Sequence[float]
) -> Iterator[tuple[str, tuple[int, int], float, list[Counts]]]:
    """Kind, size, seconds and the counts at each score threshold of each image."""
    for image_id in data.ids(split):
        record = data.record(image_id)
        start = time.perf_counter()
        found = outline(model.net, model.normalize(record.image), floor=min(thresholds))
        seconds = time.perf_counter() - start
        tables = (contingency(record.labels, at_threshold(found, t)) for t in thresholds)
        counts = [count(table) for table in tables]
        yield kind_of(record), record.labels.shape, seconds, counts


def kaggle(rows: Sequence[Counts]) -> float:
    """Mean over images of the mean over IoU 0.5 to 0.95 of TP / (TP + FP + FN)."""
    return float(np.mean([(r.matched / (r.n_true + r.n_pred - r.matched)).mean() for r in rows]))


def stardist(rows: Sequence[Counts]) -> list[float]:
    """TP / (TP + FP + FN) at IoU 0.5, 0.6, 0.7, 0.8, 0.9, the counts of all images added."""
    matched = sum(r.matched for r in rows)
    every = sum(int(r.n_true + r.n_pred) for r in rows)
    return [float(matched[i] / (every - matched[i])) for i in STARDIST]


def table(found: Mapping[str, list[list[Counts]]], place: int) -> Iterator[str]:
    """A line of Markdown for each kind."""
    yield "| images | number | nuclei | mAP (Kaggle) | AP 0.5 | 0.6 | 0.7 | 0.8 | 0.9 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    every = {**found, "all": [row for rows in found.values() for row in rows]}
    for kind, rows in every.items():
        at = [row[place] for row in rows]
        scores = " | ".join(f"{score:.3f}" for score in (kaggle(at), *stardist(at)))
        yield f"| {kind} | {len(at)} | {sum(int(r.n_true) for r in at)} | {scores} |"


def main(name: str, split: str, cache: str | None = None, *words: str) -> None:
    """Print the scores."""
    data = build_data(compose("train", ["experiment=nuclei", f"data.cache={cache or 'null'}"]))
    model = nucleist.load(name, device="cpu", options=parsed(words))
    thresholds = (*THRESHOLDS, model.threshold)
    found: dict[str, list[list[Counts]]] = defaultdict(list)
    for kind, _, _, counts in counted(model, data, split, thresholds):
        found[kind].append(counts)
    print(f"At the model's score threshold, {model.threshold:.3f}:\n")
    print("\n".join(table(found, len(THRESHOLDS))))
    every = [row for rows in found.values() for row in rows]
    print("\nmAP (Kaggle) of all images at other score thresholds:\n")
    for place, threshold in enumerate(THRESHOLDS):
        print(f"- {threshold}: {kaggle([row[place] for row in every]):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
