"""`nucleist demo`: partial annotation against no module, on drawn nuclei, start to finish."""

from collections.abc import Sequence
from typing import Any

from nucleist.cli.words import read, wants_help

HELP = """usage: nucleist demo [key=value ...] [-o RUNS]

  nucleist demo
  nucleist demo seed=1 steps=60 -o runs

Draws nuclei, keeps a quarter of the labels, trains the partial-annotation model and the same model
without its module from the same weights, and scores both. Settings are those of nucleist train.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("demo", arguments)
    if words.what:
        words.refuse(f"takes no folder or data set, but {words.what[0]!r} is given")
    import nucleist
    from nucleist.config.settings import quoted
    from nucleist.progress import Console

    place = [] if words.output is None else [f"runs={quoted(words.output)}"]
    print(_closing(nucleist.demo(overrides=[*words.settings, *place], progress=Console())))
    return 0


def _closing(found: Any) -> str:
    folder, run = found.folder, found.runs["PA Mask R-CNN"]
    return f"""
{(folder / "table.md").read_text()}
{folder}/table.md        this table, also summary.json and metrics.csv
{folder}/curves.png      mAP against iteration
{folder}/overlays.png    image, kept labels, ground truth, prediction
{folder}/labels/         label TIFFs of the test images, by the partial-annotation model

What to try next, with your own images in place of my_images:
  nucleist predict {run} my_images -o out
  nucleist data check my_images
  nucleist train my_images"""
