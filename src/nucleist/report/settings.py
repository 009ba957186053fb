"""The settings of a run that change its result, how much was labelled, and on which images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nucleist.files import read_json_if_there
from nucleist.training.finished import Run, number

Settings = dict[str, str]
"""Values as JSON by dotted key."""

VOLATILE = (
    *("seed", "runs", "resume", "data_root", "name", "val_every", "attention", "logger"),
    *("run_dir", "trust", "median_box", "normalize.floor"),  # the last two follow the kept labels
    *("checkpoint_every", "test_best", "callbacks.speed"),
    *("data.seed", "data.annotation_seed", "data.workers", "data.cache", "data.fold"),
    *("callbacks.progress", "callbacks.previews"),
    *("callbacks.checkpoint", "trainer.accelerator", "trainer.devices"),
    *("trainer.val_check_interval", "trainer.log_every_n_steps", "trainer.num_sanity_val_steps"),
)
PLACES = ("root", "kumar_root")
"""Options of a reader with the paths of its files."""

MEASURED = "model.center.anchor_size"
"""The median size of the kept labels, which depend on the seed, unless the command sets it."""

ANNOTATION = ("data.annotation_fraction", "data.exemplars")
HOW_MUCH = (*ANNOTATION, "data.crop_fraction", "data.policy", "data.train_images")

SINCE = {"data.policy": "random", "data.split_by": "group"}
"""Settings that earlier versions did not have, with what they did."""


def settings(run: Run) -> Settings:
    """The settings of a run that change the result, except the seed."""
    return settings_with(run, chose_anchor(run))


def chose_anchor(run: Run) -> bool:
    """Whether the command set the size of the centre head's anchor."""
    return "anchor_size" in str(run.environment.get("command", ""))


def settings_with(run: Run, anchor: bool) -> Settings:
    """Like `settings`, with or without the size of the centre head's anchor."""
    volatile = VOLATILE if anchor else (*VOLATILE, MEASURED)
    flat = {key: json.dumps(value) for key, value in SINCE.items()} | dict(_flat(run.config))
    return {
        key: value
        for key, value in flat.items()
        if not any(key == v or key.startswith(f"{v}.") for v in volatile)
        and not (key.startswith("data.source.") and key.split(".")[-1] in PLACES)
    }


def is_binary(run: Run) -> bool:
    """Whether a net was trained on the foreground only, without outlines of nuclei."""
    return bool(run.get("data.supervision", "instances") == "binary")


def share_of(run: Run) -> float | None:
    """Share of the nuclei or of the area that was kept; None if a number or a list was given."""
    first = run.summary
    if first.get("exemplars") is not None or run.get("data.manifest") is not None:
        return None
    crop = number(first.get("crop_fraction"))
    return number(first.get("annotation_fraction")) if crop is None else crop


def entries_of(run: Run) -> dict[str, Any]:
    """What `manifest.json` says of each training image."""
    images = read_json_if_there(run.folder / "manifest.json").get("images")
    return images if isinstance(images, dict) else {}


def is_partial(run: Run) -> bool:
    """Whether training images have nuclei that nobody has labelled, as far as the run tells.

    How it works: an image of which all labels were kept and none held out says itself whether it
    is complete; else the test tells, or else that a folder is complete only if a setting says so.
    """
    alone = [e for e in entries_of(run).values() if isinstance(e, dict) and not e.get("held_out")]
    known = [e["complete"] for e in alone if "complete" in e]
    if share_of(run) == 1 and run.summary.get("crop_fraction") is None and known:
        return any(complete is not True for complete in known)
    if run.has_test:
        return run.evidence("test", "labelled_nuclei") is not None
    source = run.get("data.source") or {}
    is_folder = str(source.get("_target_", "")).endswith(".Folder")
    return is_folder and source.get("complete", True) is not True


def images_of(run: Run) -> int:
    """Number of training images; 0 if it is not known."""
    return len(entries_of(run))


def held_out_of(run: Run) -> int:
    """Number of labelled nuclei that were held out of the training."""
    entries = [e for e in entries_of(run).values() if isinstance(e, dict)]
    held = sum(len(e.get("held_out") or ()) for e in entries)
    return int(number(run.summary.get("held_out_nuclei")) or held)


def _partial_annotation_of(run: Run, share: float) -> str:
    if share != 1:
        return f"{100 * share:g} % of the labelled nuclei, not complete"
    every = int(number(run.summary.get("labelled_nuclei")) or 0) + held_out_of(run)
    images = images_of(run)
    where = f" in {images} image{'' if images == 1 else 's'}" if images else ""
    return f"{every} labelled nuclei{where}, not complete"


def annotation_of(run: Run) -> str:
    """How much was labelled, in words."""
    share, exemplars = share_of(run), run.summary.get("exemplars")
    whole = run.summary.get("crop_fraction") is None and not is_binary(run)
    if share is not None and whole and is_partial(run):
        return _partial_annotation_of(run, share)
    if exemplars is not None:
        words = f"{exemplars} an image"
    elif share is None:
        words = "as in a manifest"
    else:
        crop = run.summary.get("crop_fraction") is not None
        words = f"{100 * share:g} %" + (" of the area" if crop else "")
    images, policy = run.get("data.train_images"), run.get("data.policy", "random")
    words += f" of {images} images" if images else ""
    words += f", {str(policy).replace('_', ' ')}" if policy != "random" else ""
    if not is_binary(run):
        return words
    return "foreground only" if share == 1 else f"foreground only, {words}"


def model_name(run: Run) -> str:
    """`mask_rcnn_pa` of `nucleist.models.mask_rcnn_pa`."""
    return str(run.get("model._target_", "unknown model")).rpartition(".")[2]


def model_title(run: Run) -> str:
    """Name of the net in print: the title that it declares, else the name of what built it."""
    return str(run.summary.get("model") or model_name(run))


def source_of(run: Run) -> str:
    """The reader and its options in words, without the paths of its files."""
    source = run.get("data.source") or {}
    name = str(source.get("_target_", "unknown data")).rpartition(".")[2]
    options = []
    for key, value in sorted(_flat(source)):  # the order in the file does not matter
        if key.endswith("._target_"):  # a reader around another one
            options.append(json.loads(value).rpartition(".")[2])
        elif value != "null" and key.split(".")[-1] not in ("_target_", *PLACES):
            options.append(f"{key.removeprefix('source.')} {value.strip(chr(34))}")
    options += _split_anew(run)
    if name == "Folder":  # only the path identifies the images
        options.insert(0, Path(str(source.get("root", ""))).name)
    return f"{name}: {', '.join(options)}" if options else name


def fold_of(run: Run) -> str | None:
    """Which fold of a cross-validation a run tests; None if it is no part of one."""
    return None if run.get("data.folds") is None else str(run.get("data.fold", 0))


def replicate_in_words(run: Run) -> str:
    """`seed 0`, or `seed 0, fold 2`."""
    fold = fold_of(run)
    return f"seed {run.seed}" if fold is None else f"seed {run.seed}, fold {fold}"


def _split_anew(run: Run) -> Iterator[str]:
    """How images were split, where it was not the reader that did."""
    folds, fractions = run.get("data.folds"), run.get("data.fractions")
    if folds is None and fractions is None:
        return
    by = run.get("data.split_by", "group")
    what = f"{folds} folds" if folds is not None else "/".join(map(str, fractions.values()))
    yield f"{what} by {by}, fold seed {run.get('data.fold_seed', 0)}"


def _flat(node: Any) -> Iterator[tuple[str, str]]:
    return ((key, json.dumps(value, default=str)) for key, value in values_of(node))


def values_of(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values in nested dicts by dotted key, lists and plain values as they are."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from values_of(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node
