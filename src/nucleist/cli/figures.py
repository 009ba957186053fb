"""`nucleist figures`: the paper's figures of a trained net on images or on those of its run."""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nucleist.cli.parser import Parser
from nucleist.config.compose import build
from nucleist.data import Folder
from nucleist.data.formats.images import read_image
from nucleist.data.module import NucleiData
from nucleist.inference.figures import KINDS, Subject, draw_subject
from nucleist.inference.load import Trained, load, model_options
from nucleist.inference.predict import add_net_options, choose_device, find_images
from nucleist.training.limits import caps_reached, warn_of_caps
from nucleist.types import UserError

EXAMPLES = """examples:
  nucleist figures runs/NAME/ID/checkpoints/last.ckpt my_images/a.tif -o figures
  nucleist figures last.ckpt TCGA-E2-A1B5-01Z-00-DX1 -o figures

An image is a file, a folder of files, or the id of a training or test image of the run. For each:
  ID_overlay.png    labels, ground truth and prediction (the paper's Figs. 3, 5 and 6)
  ID_centers.png    centre target, centre scores and found boxes (Fig. 2)
  ID_attention.png  where the labelled nuclei attend to (Fig. 1)
Labels of a file are looked for beside it (a.png and a_labels.tif, images/ and labels/, ...).
model.KEY=VALUE changes an option of the net that has no weights, as in nucleist evaluate.
"""

ABOVE = ("images", "image", "imgs", "img", "raw", "train", "val", "test")
"""Folders above which labels may have a folder of their own."""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = Parser(
        "nucleist figures",
        description="Draw what a trained net sees, in the layout of the paper's figures.",
        epilog=EXAMPLES,
    )
    parser.add_argument("checkpoint", help="a .ckpt that nucleist train wrote")
    parser.add_argument("images", nargs="+", help="files, folders, or ids of the run's images")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the pictures")
    add_net_options(parser)
    parser.add_argument(
        "--only", action="append", choices=KINDS, help="one of the three; may be given again"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier pictures")
    changes, words = model_options(arguments)
    options = parser.parse_args(words)
    trained = load(options.checkpoint, changes)
    subjects = find_subjects(options.images, trained)
    kinds = options.only or KINDS
    check_free(subjects, kinds, options.output, options.overwrite)
    trained.net.to(choose_device(options.device))
    threshold = trained.threshold if options.score_threshold is None else options.score_threshold
    lacks: dict[str, None] = {}  # each line once, in order
    for subject in subjects:
        lines = draw_subject(trained.net, subject, threshold, options.output, kinds)
        lacks |= dict.fromkeys(lines)
    for line in lacks:
        print(line, file=sys.stderr)
    warn_of_caps(caps_reached(trained.net), len(subjects))
    print(options.output)
    return 0


def find_subjects(arguments: Sequence[str], trained: Trained) -> list[Subject]:
    """What to draw: files where they exist, else images of the run by their ids.

    Raises:
        UserError: If an argument is neither, or a file is damaged.
    """
    subjects: list[Subject] = []
    data: NucleiData | None = None
    for argument in arguments:
        if Path(argument).exists():
            subjects += [from_file(path, trained) for path in find_images([argument])]
        else:
            data = data or run_data(trained, argument)
            subjects.append(from_run(argument, data))
    return subjects


def check_free(
    subjects: Sequence[Subject], kinds: Sequence[str], folder: Path, overwrite: bool
) -> None:
    """Refuse to write one picture over another.

    Raises:
        UserError: If two images share a name, or pictures are there already.
    """
    ids = [subject.id for subject in subjects]
    for image_id in ids:
        if ids.count(image_id) > 1:
            raise UserError(f"{image_id}: two images have this name; draw them into two folders")
        for kind in kinds:
            path = folder / f"{image_id}_{kind}.png"
            if path.exists() and not overwrite:
                raise UserError(f"{path}: is there already; choose another -o, or add --overwrite")


def from_file(path: Path, trained: Trained) -> Subject:
    """An image file, with the labels beside it.

    Raises:
        UserError: If it cannot be read, or its labels are damaged or of another size.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the file") from error
    image = trained.normalize(read_image(content, str(path)))
    labels = labels_beside(path)
    return Subject(path.stem, path.name, image, kept=labels, query=labels)


def labels_beside(path: Path) -> np.ndarray | None:
    """Labels that the folder reader pairs with an image, None if there are none.

    Raises:
        UserError: If there are, but they are damaged or of another size.
    """
    root = path.absolute().parent
    while root.name.lower() in ABOVE:
        root = root.parent
    source = Folder(root)
    try:
        pairs = source.pairing()
    except UserError as error:
        print(f"{path}: its labels cannot be told ({error})", file=sys.stderr)
        return None
    own = [pair for pair in pairs if pair.labels and root / pair.image == path.absolute()]
    return source.read(own[0].id).labels if own else None


def run_data(trained: Trained, argument: str) -> NucleiData:
    """The data of the run that a checkpoint came from.

    Raises:
        UserError: If they are not where they were.
    """
    stored = {**trained.config["data"], "normalize": trained.config["normalize"], "augment": None}
    try:
        return build(stored)
    except UserError as error:
        raise UserError(
            f"{argument}: no such file, and the run's own images cannot be read: {error}"
        ) from error


def from_run(image_id: str, data: NucleiData) -> Subject:
    """A training image with its kept labels, or a test image with as many as were kept.

    Raises:
        UserError: If the run has no such image.
    """
    annotation = data.annotation
    if image_id in data.train_set.ids:
        image, kept = data.train_set.partial(image_id)
        truth = data.whole(image_id)[1]
        whole = kept if kept.shape != truth.shape else truth  # a window: all in it is labelled
        return Subject(image_id, f"training image {image_id}", image, kept, whole, kept)
    known = data.ids("test")
    if image_id not in known:
        close = difflib.get_close_matches(image_id, [*known, *data.train_set.ids], 1, 0.3)
        hint = f"did you mean {close[0]!r}?" if close else f"there is {known[0]!r}, for instance"
        raise UserError(f"{image_id}: neither a file nor an image of the run; {hint}")
    image, truth = data.whole(image_id)
    query = truth
    if annotation.manifest is None and annotation.crop_fraction is None:
        chosen = annotation.choose(data.record(image_id))
        query = np.where(np.isin(truth, chosen), truth, 0)  # type: ignore[arg-type]
    return Subject(image_id, f"test image {image_id}", image, truth=truth, query=query)
