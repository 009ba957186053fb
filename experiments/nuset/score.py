"""Scores of one trained net: the options of each of its rows chosen on the validation images.

python experiments/nuset/score.py RUNS NAME SEED

The choice has the highest mAP in the validation images. Small nuclei (below a fifth of the mean
area) are removed in all rows, as in the paper: by the nets' own clean-up, and here for Mask R-CNN.
Writes RUNS/NAME_SEED.json and the label maps, RUNS/NAME_SEED.npz.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rows import ROWS, Row

from nucleist import load
from nucleist.config.build import build
from nucleist.data.module import NucleiData
from nucleist.files import read_json, write_json
from nucleist.inference.load import Model
from nucleist.metrics import PairScores
from nucleist.models.nuset.seeds import cleaned


def data_of(model: Model) -> NucleiData:
    """The images of its training."""
    stored = {**model.config["data"], "normalize": model.config["normalize"], "augment": None}
    return build(stored)


def maps(model: Model, row: Row, threshold: float, data: NucleiData, use: str) -> Iterator[Any]:
    """Name, true and predicted label map of each image."""
    for image_id in data.ids(use):
        record = data.record(image_id)
        labels = model.predict(record.image, threshold).labels
        if row.training == "mask_rcnn":
            labels = cleaned(labels, 0.2)
        yield image_id, record.labels, labels


def scored(row: Row, run: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The row's entry of the table, and its label maps of the test images."""
    best: tuple[float, Any] = (-1.0, None)
    for options in row.choices:
        model = load(run, options={**row.options, **options}, device="cpu")
        data = data_of(model)
        for threshold in row.thresholds:
            own = model.threshold if threshold is None else threshold
            pairs = PairScores()
            for _, true, pred in maps(model, row, own, data, "val"):
                pairs.add(true, pred)
            found_map = pairs.means()["map"]["pooled"]
            if found_map > best[0]:
                best = found_map, (model, options, own)
    model, options, threshold = best[1]
    pairs, found = PairScores(), {}
    for image_id, true, pred in maps(model, row, threshold, data_of(model), "test"):
        pairs.add(true, pred)
        found[image_id] = pred
    chosen = {"options": dict(options), "score_threshold": threshold}
    return {"chosen": chosen, "scores": pairs.means(), "numbers": pairs.numbers()}, found


def main(runs: Path, name: str, seed: str) -> None:
    run = Path((runs / f"{name}_{seed}.done").read_text())
    entries, arrays = {}, {}
    for number, row in enumerate(ROWS):
        if row.training == name:
            entries[row.title], found = scored(row, run)
            arrays |= {f"{number}:{image}": labels for image, labels in found.items()}
    summary = read_json(run / "summary.json", "train it again")
    about = {key: summary[key] for key in ("steps", "train_seconds", "parameters")}
    coarse = summary.get("test", {}).get("coarse_mean_iu")
    np.savez_compressed(runs / f"{name}_{seed}.npz", **arrays)
    write_json(
        runs / f"{name}_{seed}.json", {**about, "run": str(run), "coarse": coarse, "rows": entries}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])
