"""One function for both questions: how good is a model, and how good are these label images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleist.config.settings import overrides_of
from nucleist.config.targets import Trust
from nucleist.distributed.place import is_first
from nucleist.evaluation.folders import evaluate_folders
from nucleist.evaluation.model import evaluate_model
from nucleist.evaluation.scores import Evaluation
from nucleist.inference.load import Model, is_model_path
from nucleist.progress import shown
from nucleist.types import Progress, Source, UserError


def evaluate(
    what: str | Path | Model,
    truth: str | Path | None = None,
    *,
    data: str | Path | Source | None = None,
    output: str | Path | None = None,
    score_threshold: float = 0.5,
    coco: bool = False,
    masks: str = "labels",
    complete: bool | None = None,
    options: Mapping[str, Any] | None = None,
    trust: Trust = (),
    overrides: Sequence[str] = (),
    progress: bool | Progress = False,
    **settings: Any,
) -> Evaluation:
    """Score a model on the test images of a data set, or label images against the truth.

    >>> evaluate("runs/kumar_pa/ID", data="tnbc").summary["test"]["map"]   # doctest: +SKIP
    >>> evaluate("cellpose_out/", "truth/").summary["aji"]                 # doctest: +SKIP

    Args:
        what: A run folder, a checkpoint or a loaded model; with `truth` a folder or zip of label
            images that any tool wrote (TIFF, PNG, NPY).
        truth: Folder or zip of the true label images. Files are paired by name: `a.tif`,
            `a_labels.png` and `a_cp_masks.npy` are all about `a`.
        data: For a model: a data set's name, a folder of images and labels, or an object that
            reads images; None for the data of its training.
        output: Folder for `summary.json`, `per_image.csv` and `thresholds.csv`; None writes none.
        score_threshold: For a model: the fixed score threshold, in [0, 1]; the calibrated one is
            stored with it.
        coco: For a model: also COCO's AP of boxes and masks, ranked by score; needs the extra
            `coco`.
        masks: For label images: `components` takes the 8-connected pieces of binary masks for
            nuclei.
        complete: For label images: whether the truth is all nuclei. False gives the scores at the
            labelled nuclei alone, no precision and no mAP. None is True, or if the folder of the
            truth has a `complete.csv`, what that says of each image: nowhere without a row.
        options: For a model: see `nucleist.load`.
        trust: For a model: see `nucleist.load`.
        overrides: For a model: settings in the words of the command line, such as `trainer=cpu`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.
        **settings: For a model: settings by key.

    Returns:
        The scores.

    Raises:
        UserError: If an option, a file or a folder is not what it should be.
    """
    watcher = shown(progress)
    if truth is None:
        if masks != "labels":
            raise UserError(f"masks={masks} is for label images, not for a model; leave it out")
        if complete is not None:
            raise UserError(
                f"complete={str(complete).lower()} is for label images; of a model's data write "
                f"data.source.complete={str(complete).lower()}"
            )
        fixed = overrides_of({"score_threshold": score_threshold})
        words = [*fixed, *overrides, *overrides_of(settings)]
        found = evaluate_model(what, data, words, coco, options, trust, watcher)
    elif isinstance(what, Model) or is_model_path(what):
        name = what.path if isinstance(what, Model) else what
        raise UserError(f"{name}: a model is scored on a data set; write data={truth}")
    else:
        for_models = {"data": data, "coco": coco, "options": options, "trust": trust}
        for_models |= {"overrides": overrides}
        unused = [*settings, *(name for name, given in for_models.items() if given)]
        if unused:
            raise UserError(f"{unused[0]} is for a model, not for label images; leave it out")
        found = evaluate_folders(what, truth, masks, complete, watcher)
    if output is not None and is_first():  # all processes have the same scores
        found.write(output)
    return found
