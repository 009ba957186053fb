"""Scores of a net on the validation images, with all options of its rows: to choose settings by.

NUCLEIST_DATA=FOLDER python experiments/nuset/validate.py RUN NAME

NAME is a key of `rows.TRAININGS`; RUN may be trained with other settings. No test image is read.
"""

import sys
from pathlib import Path

from rows import ROWS
from score import data_of, maps

from nucleist import load
from nucleist.metrics import PairScores

AVERAGES = {"map": "pooled", "touching_separated": "pooled", "pixel_mean_iu": "per_image"}


def main(run: Path, name: str) -> None:
    for row in ROWS:
        for options in row.choices if row.training == name else ():
            model = load(run, options={**row.options, **options}, device="cpu")
            pairs = PairScores()
            for _, true, pred in maps(model, row, model.threshold, data_of(model), "val"):
                pairs.add(true, pred)
            means = pairs.means()
            scores = ", ".join(f"{key} {means[key][kind]:.3f}" for key, kind in AVERAGES.items())
            print(f"{row.title} {dict(options)}: {scores}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
