"""Best and worst image of each type: image, ground truth, prediction.

NUCLEIST_DATA=FOLDER python experiments/nuclei/pictures.py MODEL test FOLDER [CACHE]
"""

import sys
from collections import defaultdict
from pathlib import Path

from measure import kind_of

import nucleist
from nucleist.config.compose import compose
from nucleist.metrics import mean_average_precision
from nucleist.plots.overlay import LabelledImage, save_overlays
from nucleist.training.train import build_data

SIDE = 320


def main(name: str, split: str, folder: str, cache: str | None = None) -> None:
    """Write `best.png` and `worst.png`, a row for each type."""
    data = build_data(compose("train", ["experiment=nuclei", f"data.cache={cache or 'null'}"]))
    model = nucleist.load(name, device="cpu")
    rows: dict[str, list[tuple[float, LabelledImage]]] = defaultdict(list)
    for image_id in data.ids(split):
        record = data.record(image_id)
        labels = model.predict(record.image).labels
        score = float(mean_average_precision(record.labels, labels))
        title = f"{kind_of(record)}, {image_id[:8]}: mAP {score:.2f}"
        row = LabelledImage(record.image, truth=record.labels, prediction=labels, title=title)
        rows[kind_of(record)].append((score, row))
    for word, place in (("best", -1), ("worst", 0)):
        chosen = [sorted(some, key=lambda pair: pair[0])[place][1] for some in rows.values()]
        save_overlays(Path(folder) / f"{word}.png", chosen, SIDE)


if __name__ == "__main__":
    main(*sys.argv[1:])
