"""Seconds of one core a megapixel of each row, in one process: the nets take turns.

python experiments/nuset/speed.py RUNS SEED     # writes RUNS/speed.json
"""

import sys
import time
from pathlib import Path
from statistics import median

from rows import ROWS
from score import data_of

from nucleist import load
from nucleist.files import read_json, write_json

IMAGES, ROUNDS = 12, 5


def main(runs: Path, seed: str) -> None:
    models, images = {}, []
    for row in ROWS:
        path = runs / f"{row.training}_{seed}.json"
        if path.exists():
            entry = read_json(path, "score it again")
            chosen = entry["rows"][row.title]["chosen"]["options"]
            model = load(entry["run"], options={**row.options, **chosen}, device="cpu")
            models[row.title] = model
            data = data_of(model)
            images = [data.record(image).image for image in data.ids("test")[:IMAGES]]
    pixels = sum(image.shape[0] * image.shape[1] for image in images) / 1e6
    times: dict[str, list[float]] = {title: [] for title in models}
    for turn in range(ROUNDS + 1):
        for title, model in models.items():
            started = time.process_time()
            for image in images:
                model.predict(image)
            if turn:  # the first allocates memory
                times[title].append((time.process_time() - started) / pixels)
    write_json(runs / "speed.json", {title: median(each) for title, each in times.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
