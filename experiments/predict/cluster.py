"""What 1, 8 and 64 workers would need, from the seconds that a megapixel takes here.

python experiments/predict/cluster.py parts MODEL IMAGE [TILE]
python experiments/predict/cluster.py cost OUTLINE WRITE SETTLE WRITE_SLIDE JOIN

`parts` prints processor seconds of one thread for a megapixel: of outlining, of settling the seams
of tiles, of each file that is written, of the tables of the folder. IMAGE: see `measure.py make`.
`cost` makes the table of docs/predict.md of these numbers.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import loaded

from nucleist.data.pictures.open import open_pictures
from nucleist.inference import earlier
from nucleist.inference.opened import Item
from nucleist.inference.outputs import describe, write_tables
from nucleist.inference.save import paths_of, write_result
from nucleist.inference.tiles import run
from nucleist.inference.tiles.cut import Cut
from nucleist.types import Progress

MEGAPIXELS = 10_000
"""Of 10,000 images of 1000 x 1000 px, and of a slide of 100,000 x 100,000 px."""

AGAIN = (1024 / 896) ** 2
"""Pixels that tiles of 1024 px show for one of the image, with an overlap of 128 px."""


def seconds(work: Callable[[], Any], megapixels: float) -> tuple[Any, float]:
    """What a function returns, and processor seconds for a megapixel."""
    begin = time.process_time()
    found = work()
    return found, (time.process_time() - begin) / megapixels


def parts(name: str, image: str, tile: str = "none") -> None:
    """Print where the time of an image goes."""
    model, (picture,) = loaded(name), open_pictures(image)
    size = picture.height * picture.width / 1e6
    job = run.Job(model.net, model.normalize, model.threshold)
    grid = Cut("none" if tile == "none" else int(tile)).grid(picture)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if grid is None:
            found, taken = seconds(lambda: run.outlined(job, picture), size)
        else:
            found, taken = seconds(
                lambda: run.outline_tiles(job, picture, grid, out, Progress()), size
            )
            store = run.Store(out, len(grid))
            _, settling = seconds(lambda: run.settle(grid, store), size)
            print(f"| settling the seams | {settling:.3f} |")
        print(f"| outlining {len(found.table['label'])} nuclei | {taken:.3f} |")
        for save in ("labels", "overlay", "csv"):
            paths = paths_of(out / "a", [save])
            _, taken = seconds(lambda paths=paths: write_result(found, picture, paths), size)
            print(f"| {save} | {taken:.3f} |")
        count = {"nuclei": len(found.table["label"]), "image": "", "settings": ""}
        earlier.add(out, "a", {**count, **describe(found, picture, Item(Path(image)))})
        _, taken = seconds(lambda: write_tables(out), size)
        print(f"| tables of the folder | {taken:.3f} |")


def cost(outline: float, write: float, settle: float, write_slide: float, join: float) -> None:
    """Print hours of 1, 8 and 64 workers; the arguments are seconds for a megapixel."""
    print("| workers | 10,000 images | slide, until its seams are settled | slide, all files |")
    print("|---|---|---|---|")
    for workers in (1, 8, 64):
        images = (outline + write) / workers + join
        seams = outline * AGAIN / workers + settle
        every = (images, seams, seams + write_slide)
        hours = " | ".join(f"{MEGAPIXELS * taken / 3600:.1f} h" for taken in every)
        print(f"| {workers} | {hours} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    verb, *words = sys.argv[1:]
    parts(*words) if verb == "parts" else cost(*map(float, words))
