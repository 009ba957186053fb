"""Make the weights that come with the package: `make weights`.

`python -m scripts.weights RUN` takes a run of the second stage that is there already.
"""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import nucleist
from nucleist.files import write_text
from nucleist.models.weights.shipped import folder

NAME = "nuclei"

SECOND = (
    *("steps=1400", "val_every=1400", "seed=1", "optim.optimizer.lr=0.0006"),
    *("optim.schedule.warmup=50", "optim.schedule.decay=0.8"),
)
"""The second stage, which goes on from the first with other draws and a lower rate."""

SCORE_THRESHOLD = 0.8
OPTIONS = {"rpn_min_size": 6}
"""Chosen on the validation images, see experiments/nuclei."""


DIAMETER = 28.0
"""Pixels of the nuclei that are outlined best, of 520 x 696 images: `diameter=` rescales to it."""


def main(run: str | Path | None = None) -> None:
    """Train both stages unless a run is given, export it, and write its hash."""
    if run is None:
        first = nucleist.train(NAME, resume="auto", progress=True)
        words = [*SECOND, f"weights={first}"]
        run = nucleist.train(NAME, overrides=words, resume="auto", progress=True)
    path = folder() / f"{NAME}.safetensors"
    model = nucleist.load(run, options=OPTIONS, device="cpu")
    model = replace(model, trained=replace(model.trained, diameter=DIAMETER))
    nucleist.export_model(model, path, score_threshold=SCORE_THRESHOLD)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_text(folder() / "sha256.json", json.dumps({NAME: digest}, indent=1) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
