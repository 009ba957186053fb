"""`nucleist evaluate`: score a model on a data set, or label images of any tool."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucleist.cli.model import MODEL_SETTINGS, model_options
from nucleist.cli.words import Words, read, share, switch, text, wants_help

HELP = """usage: nucleist evaluate MODEL [data=NAME] [key=value ...] [-o FOLDER]
       nucleist evaluate LABELS TRUTH [masks=components] [complete=false] [-o FOLDER]

A model (a run folder or a checkpoint) on the test images of a data set:
  nucleist evaluate runs/NAME/ID
  nucleist evaluate runs/NAME/ID data=kumar -o scores
  nucleist evaluate last.ckpt data=my_images coco=true
  nucleist evaluate last.ckpt model.roi.nms_thresh=0.3 -o nms

Label images of any tool (TIFF, PNG, NPY; folder or zip) against the truth:
  nucleist evaluate out my_images/labels
  nucleist evaluate cellpose_out truth -o scores
  nucleist evaluate thresholded truth masks=components
  nucleist evaluate out truth complete=false         not every nucleus is labelled

Without data=... the data set of the training is used. Prints the scores at the threshold 0.5 (or
score_threshold=...), at the calibrated one and at the best, which looks at the labels. coco=true
adds COCO's AP of boxes and masks ranked by score (needs pip install 'nucleist[coco]').
model.KEY=VALUE changes an option of the net that has no weights; trust=PACKAGE builds nets of this
package of yours; trainer=cpu and data.KEY=VALUE are those of nucleist train.

Folders are paired by name: a.tif, a_labels.png, a_masks.npy and a_cp_masks.png all belong to a.
Files without a partner are named and not scored. A binary mask is refused; with masks=components
its 8-connected components are the nuclei. -o FOLDER also writes summary.json and per_image.csv; for
a model without -o they are written to evaluation/ in its run folder, or beside the checkpoint.
The truth is taken for all nuclei. complete=false scores at the labelled nuclei alone: without
precision and mAP, which would be wrong. A complete.csv in the folder of the truth says which
images, or which areas, are complete; an image without a row is nowhere. What is complete of a
model's data is said with data.source.complete.
nucleist metrics NAME explains a number.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("evaluate", arguments)
    if len(words.what) == 2:
        return _folders(words)
    if len(words.what) != 1:
        words.refuse(f"names {len(words.what)} things; give MODEL, or LABELS TRUTH")
    return _model(words)


def _model(words: Words) -> int:
    options = model_options(words)
    settings = words.take(
        score_threshold=share,
        coco=switch,
        data=text,
        complete=switch,
        trust=MODEL_SETTINGS["trust"],
    )
    import nucleist
    from nucleist.distributed.place import is_first
    from nucleist.progress import Console

    given: dict[str, Any] = {"options": options, "overrides": words.settings, **settings}
    found: Any = nucleist.evaluate(words.what[0], progress=Console(), **given)
    if not is_first():  # all processes have the same results
        return 0
    output = found.write(words.output or _beside(found.checkpoint))
    print(json.dumps(found.summary, indent=1))
    print(output, file=sys.stderr)
    return 0


def _beside(checkpoint: Path) -> Path:
    """`evaluation/` in the run folder of a checkpoint, or beside one that lies elsewhere."""
    folder = checkpoint.parent
    return (folder.parent if folder.name == "checkpoints" else folder) / "evaluation"


def _folders(words: Words) -> int:
    kinds = {"masks": text, "complete": switch}
    settings = words.take(**kinds)
    words.nothing_left(kinds)
    import nucleist
    from nucleist.progress import Console

    found = nucleist.evaluate(*words.what, progress=Console(), **settings)
    _print_table(found)
    if words.output:
        print(found.write(Path(words.output)))
    return 0


def _print_table(found: Any) -> None:
    """Print all measures, pooled and as the mean over images, and the numbers of objects."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("metric")
    for column in ("pooled", "per image"):
        table.add_column(column, justify="right")
    averages = {name: v for name, v in found.summary.items() if isinstance(v, dict)}
    for name, value in averages.items():
        both = (value.get(how) for how in ("pooled", "per_image"))
        table.add_row(name, *("" if number is None else f"{number:.4f}" for number in both))
    Console(highlight=False).print(table)
    known = {"pred", "gt", "masks", "images", "without_partner", *averages}
    numbers = ", ".join(f"{k} {v}" for k, v in found.summary.items() if k not in known)
    alone = len(found.summary["without_partner"])
    print(f"{found.summary['images']} pairs, {alone} without a partner; {numbers}")
    print("nucleist metrics NAME explains a number")
