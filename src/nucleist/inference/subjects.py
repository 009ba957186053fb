"""The paper's figures, for image files or for images of the run that a model came from."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.config.build import build
from nucleist.config.targets import Trust, check_targets
from nucleist.data import Folder
from nucleist.data.complete import mask_of
from nucleist.data.module import NucleiData
from nucleist.inference.figures import KINDS, Subject, draw_subject
from nucleist.inference.inputs import find_images
from nucleist.inference.load import Model, load
from nucleist.inference.pictures import training_row
from nucleist.inference.predict import warn_of_limits
from nucleist.inference.result import as_image
from nucleist.progress import shown
from nucleist.types import Progress, Record, UserError, one_of

ABOVE = ("images", "image", "imgs", "img", "raw", "train", "val", "test")
"""Folders above which labels may have a folder of their own."""


def draw_figures(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    only: Sequence[str] = KINDS,
    score_threshold: float | None = None,
    device: str = "auto",
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
    trust: Trust = (),
    progress: bool | Progress = False,
) -> list[Path]:
    """Draw what a trained model sees, in the layout of the partial-annotation paper's figures.

    For each image `ID_overlay.png` (labels, ground truth and prediction: Figs. 3, 5 and 6),
    `ID_centers.png` (centre target, centre scores and found boxes: Fig. 2) and `ID_attention.png`
    (where the labelled nuclei attend to: Fig. 1), as far as the net has them.

    Args:
        model: A run folder, a checkpoint or a loaded model; see `nucleist.load`.
        images: Files, folders of files, or ids of training or test images of the model's run.
            Labels of a file are looked for beside it.
        output: Folder for the pictures.
        only: Which of `overlay`, `centers`, `attention`.
        score_threshold: Detections with a higher score are shown; None for the calibrated one.
        device: See `nucleist.load`.
        overwrite: Replace earlier pictures.
        options: See `nucleist.load`.
        trust: See `nucleist.load`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The pictures that were written.

    Raises:
        UserError: If an image is neither a file nor one of the run, cannot be read, or a picture
            is there already.
    """
    watcher, folder = shown(progress), Path(output)
    for kind in only:
        one_of("only", kind, KINDS)
    loaded = load(model, options=options, device=device, trust=trust)
    given = [images] if isinstance(images, str | Path) else images
    subjects = find_subjects([str(image) for image in given], loaded, watcher, trust)
    wanted = [folder / f"{subject.id}_{kind}.png" for subject in subjects for kind in only]
    _check_free(wanted, overwrite)
    threshold = loaded.score_threshold(score_threshold)
    loaded.net.limits_reached.clear()
    missing: dict[str, None] = {}  # each line once, in order
    for subject in watcher.watch(subjects, "drawing"):
        lines = draw_subject(loaded.net, subject, threshold, folder, only)
        missing |= dict.fromkeys(lines)
    for line in missing:
        watcher.note(line)
    warn_of_limits(loaded.net.limits_reached, len(subjects), watcher)
    return [path for path in wanted if path.exists()]


def find_subjects(
    images: Sequence[str], model: Model, progress: Progress, trust: Trust = ()
) -> list[Subject]:
    """What to draw: files where they exist, else images of the run by their ids.

    Args:
        images: Files, folders of files and ids.
        model: The model, with the data of its training.
        progress: Gets a line on files of a folder that are left out.
        trust: Packages whose readers may be built.

    Raises:
        UserError: If one is neither, or a file is damaged.
    """
    subjects: list[Subject] = []
    data: NucleiData | None = None
    for image in images:
        if Path(image).expanduser().exists():
            found = find_images([image], progress)
            subjects += [from_file(path, model, progress) for path in found]
        else:
            data = data or run_data(model, image, trust)
            subjects.append(from_run(image, data))
    return subjects


def _check_free(pictures: Sequence[Path], overwrite: bool) -> None:
    for path in pictures:
        if pictures.count(path) > 1:
            raise UserError(f"{path}: two images would have it; draw them into two folders")
        if path.exists() and not overwrite:
            raise UserError(f"{path}: is there already; choose another -o, or add overwrite=true")


def from_file(path: Path, model: Model, progress: Progress) -> Subject:
    """An image file, with the labels beside it.

    Raises:
        UserError: If it cannot be read, or its labels are damaged or of another size.
    """
    image = model.normalize(as_image(path))
    record = record_beside(path, progress)
    if record is None:
        return Subject(path.stem, path.name, image)
    labels, (height, width) = record.labels, record.labels.shape
    complete = mask_of(record.complete, (height, width))
    return Subject(path.stem, path.name, image, kept=labels, query=labels, complete=complete)


def record_beside(path: Path, progress: Progress) -> Record | None:
    """An image with the labels that the folder reader pairs with it; None if there are none.

    It is complete where files beside it say so.

    Raises:
        UserError: If there is one, but it is damaged or of another size.
    """
    root = path.absolute().parent
    while root.name.lower() in ABOVE:
        root = root.parent
    source = Folder(root)
    try:
        pairs = source.pairing()
    except UserError as error:
        progress.note(f"{path}: it is not clear which labels are its own ({error})")
        return None
    own = [pair for pair in pairs if pair.labels and root / pair.image == path.absolute()]
    return source.read(own[0].id) if own else None


def run_data(model: Model, image: str, trust: Trust = ()) -> NucleiData:
    """The data of the run that a model came from.

    Args:
        model: The model.
        image: The id that is looked for, for messages.
        trust: Packages whose readers may be built.

    Raises:
        UserError: If they are not where they were, or their reader is not trusted.
    """
    if "data" not in model.config:
        raise UserError(f"{image}: no such file, and {model.path} says nothing of other images")
    stored = {**model.config["data"], "normalize": model.config["normalize"], "augment": None}
    try:
        check_targets({"data": stored}, model.path, trust)
        return build(stored)
    except UserError as error:
        raise UserError(
            f"{image}: no such file, and the run's own images cannot be read: {error}"
        ) from error


def from_run(image_id: str, data: NucleiData) -> Subject:
    """A training image with its kept labels, or another one with as many as were kept.

    Raises:
        UserError: If the run has no such image.
    """
    annotation = data.annotation
    if image_id in data.train_set.ids:
        row = training_row(data, image_id)
        query, rest = data.train_set.partial(image_id)[1], (row.held, row.complete)
        return Subject(image_id, row.title, row.image, row.kept, row.truth, query, *rest)
    known = [*data.ids("test"), *data.train_set.ids]
    uses = [use for use in ("test", "val") if image_id in data.ids(use)]
    if not uses:
        close = difflib.get_close_matches(image_id, known, 1, 0.3)
        hint = f"did you mean {close[0]!r}?" if close else f"there is {known[0]!r}, for instance"
        raise UserError(f"{image_id}: neither a file nor an image of the run; {hint}")
    image, truth, complete, _ = data.whole(image_id)
    query = truth
    if annotation.manifest is None and annotation.crop_fraction is None:
        query = annotation.visible(data.record(image_id))
    title = f"{'test' if uses[0] == 'test' else 'validation'} image {image_id}"
    return Subject(image_id, title, image, truth=truth, query=query, complete=complete)
