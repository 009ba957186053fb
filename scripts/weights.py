"""Make the weights that come with the package: `make weights`.

`python -m scripts.weights RUN` takes a run that is there already.
"""

import hashlib
import json
import sys
from pathlib import Path

import nucleist
from nucleist.files import write_text
from nucleist.models.weights.shipped import folder

NAME = "nuclei"


def main(run: str | Path | None = None) -> None:
    """Train `experiment=nuclei` unless a run is given, export it, and write its hash."""
    if run is None:
        run = nucleist.train(NAME, resume="auto", progress=True)
    path = nucleist.export_model(run, folder() / f"{NAME}.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_text(folder() / "sha256.json", json.dumps({NAME: digest}, indent=1) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
