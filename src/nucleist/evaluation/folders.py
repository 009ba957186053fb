"""Scores of label images that any tool wrote against the true ones."""

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile
from scipy import ndimage

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.cellpose import read_cellpose
from nucleist.data.formats.label_checks import check_label_map
from nucleist.data.formats.label_maps import check_instances, read_label_map
from nucleist.data.readers import names as words
from nucleist.data.readers import pairing
from nucleist.evaluation.partial import MapScores, TruthAreas, note_of_a_table_beside
from nucleist.evaluation.scores import Evaluation
from nucleist.evaluation.suspicions import Suspicions
from nucleist.types import Progress, UserError, one_of

SUFFIXES = words.IMAGE_SUFFIXES | {".npy"}


@dataclass(frozen=True)
class Maps:
    """The label images of a folder or zip.

    Attributes:
        tree: Reads them.
        files: What a file is called for pairing (without `_labels` and the like, as `.png`), and
            its path.
        others: Number of image files that were passed over.
    """

    tree: FileTree
    files: dict[str, str]
    others: int


@dataclass(frozen=True)
class Pairs:
    """What is scored: name, predicted and true file of each pair, and what has no partner."""

    pairs: list[tuple[str, str, str]]
    alone: list[str]


def evaluate_folders(
    pred: str | Path,
    truth: str | Path,
    masks: str,
    complete: bool | None,
    progress: Progress,
) -> Evaluation:
    """Score all pairs of two folders.

    Args:
        pred: Folder or zip of the label images to be scored.
        truth: Folder or zip of the true ones.
        masks: `labels`, or `components` to take the pieces of binary masks for nuclei.
        complete: Whether the truth is all nuclei; see `TruthAreas`.
        progress: Gets a line on every file without a partner.

    Raises:
        UserError: If a folder or a file is not what it should be.
    """
    one_of("masks", masks, ("labels", "components"))
    guesses, truths = find_maps(pred, "pred"), find_maps(truth, "gt")
    for folder, maps in ((pred, guesses), (truth, truths)):
        if maps.others:
            progress.note(f"{folder}: {maps.others} other files passed over")
    areas = TruthAreas(complete, truths.tree, truths.files)
    found = match(guesses, truths)
    alone = [f"{line}: no partner, not scored" for line in found.alone]
    for line in [*note_of_a_table_beside(truth, complete), *alone]:
        progress.note(line)
    scores, suspicions = MapScores(), Suspicions()
    for name, predicted, true in progress.watch(found.pairs, "scoring"):
        labels = read(truths.tree, true, masks)
        guess = read(guesses.tree, predicted, masks, progress)
        _check_sizes(labels, guess, truths.tree.describe(true), guesses.tree.describe(predicted))
        area = areas.of(true, labels.shape)
        if area is None:  # what is not labelled would look as if it were moved
            suspicions.look(guesses.tree.describe(predicted), labels, guess)
        scores.add(name, labels, guess, area)
    for line in suspicions.lines():
        progress.note(line)
    summary = {
        "pred": str(pred),
        "gt": str(truth),
        "masks": masks,
        "images": len(scores.rows),
        "without_partner": found.alone,
        **scores.summary(),
    }
    return Evaluation(summary, scores.rows)


def find_maps(folder: str | Path, role: str) -> Maps:
    """The label images below a folder.

    Args:
        folder: Folder or zip.
        role: `pred` or `gt`, the folder that pairing takes their names for.

    If some names mark labels (`_labels`, `_masks`, `_cp_masks`, ...), the other files are images
    or pictures and are passed over; so are those in `images/` beside another folder.

    Raises:
        UserError: If the folder is missing or holds none, or two have one name.
    """
    if not Path(folder).expanduser().exists():
        raise UserError(f"{folder}: no such folder; check the path")
    tree = FileTree(folder)
    names = tree.names(SUFFIXES)
    if not names:
        raise UserError(f"{folder}: no label images (.tif, .png, .npy) in there")
    # What Cellpose stores beside its masks holds the same masks.
    kept = [name for name in names if not words.is_seg(name)] or names
    kept = [name for name in kept if _is_marked(name)] or kept
    kept = [name for name in kept if not words.is_among_images(name)] or kept
    files: dict[str, str] = {}
    for name in kept:
        alias = f"{role}/{PurePosixPath(name).with_name(_stem(name) + '.png')}"
        if alias in files:
            raise UserError(f"{folder}: {files[alias]} and {name} claim the same name; remove one")
        files[alias] = name
    return Maps(tree, files, len(names) - len(kept))


def _is_marked(name: str) -> bool:
    """Whether a name ends as those of labels do."""
    return bool(words.LABEL_END.search(words.plain(PurePosixPath(name).stem)))


def _stem(name: str) -> str:
    """Name of the image that a label file belongs to: `a` for `x/a_labels.tif`."""
    stem = PurePosixPath(name).stem
    return words.LABEL_END.sub("", words.plain(stem)) if _is_marked(name) else stem


def match(pred: Maps, gt: Maps) -> Pairs:
    """Pair the files of two folders by name, as images are paired with their labels.

    Raises:
        UserError: If there is no pair, or a pair is ambiguous.
    """
    where = f"{pred.tree.describe()} and {gt.tree.describe()}"
    found = pairing.pair([*pred.files, *gt.files], where, images="pred", labels="gt")
    pairs, alone = [], [gt.tree.describe(gt.files[name]) for name in found.orphans]
    files = {**pred.files, **gt.files}
    for name in found.pictures:  # by their names, of results
        alone.append((pred if name in pred.files else gt).tree.describe(files[name]))
    for one in found.pairs:
        if len(one.nuclei) > 1:
            raise UserError(
                f"{gt.tree.describe(gt.files[one.nuclei[0]])}: one of {len(one.nuclei)} masks of "
                f"{pred.files[one.image]}; give one label image (see nucleist data prepare --help)"
            )
        true = one.nuclei[0] if one.nuclei else one.labels
        if true is None:
            alone.append(pred.tree.describe(pred.files[one.image]))
        else:
            pairs.append((one.id, pred.files[one.image], gt.files[true]))
    if not pairs:
        raise UserError(
            f"{where}: {len(pred.files)} and {len(gt.files)} label images, but no pair; give both "
            "of a pair one name (a.tif and a_labels.png are a pair)"
        )
    return Pairs(pairs, alone)


def read(tree: FileTree, name: str, masks: str, doubt: Progress | None = None) -> np.ndarray:
    """Read a label map, `(H, W)` integers.

    Args:
        tree: Where it is.
        name: Its path.
        masks: `components` to take the 8-connected pieces of a map with a single id for nuclei.
        doubt: Gets a line where the map cannot be right; None to refuse it. A bad prediction is
            scored, the truth has to be one.

    Raises:
        UserError: If it is damaged, no label map, or a binary mask where masks is `labels`.
    """
    where, data = tree.describe(name), tree.read(name)
    if words.is_seg(name):
        labels = read_cellpose(data, where)
    else:
        npy = name.lower().endswith(".npy")
        labels = read_label_map(_as_tiff(data, where) if npy else data, where)
    if masks == "labels":
        check_instances(labels, where)
    elif labels.size and (labels[labels > 0] == labels.max()).all():
        labels, _ = ndimage.label(labels, structure=np.ones((3, 3), int))
        return labels
    try:
        notes = check_label_map(labels, where)
    except UserError as error:
        if doubt is None:
            raise
        doubt.note(str(error))
        return labels
    if doubt is not None:
        for note in notes:
            doubt.note(f"{where}: {note}")
    return labels


def _check_sizes(labels: np.ndarray, guess: np.ndarray, true: str, predicted: str) -> None:
    if labels.shape == guess.shape:
        return
    turned = labels.shape == guess.shape[::-1]
    remedy = "its rows and columns are exchanged, transpose it" if turned else "predict it anew"
    raise UserError(f"{predicted}: {_size(guess)} pixels, but {true} has {_size(labels)}; {remedy}")


def _as_tiff(data: bytes, where: str) -> bytes:
    """An array in NumPy's format as a TIFF, so that one reader judges all label maps."""
    remedy = "save integers of shape (H, W), without Python objects, or a TIFF"
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where}: not readable ({reason}); {remedy}") from error
    if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
        raise UserError(f"{where}: {array.dtype} of shape {array.shape}; {remedy}")
    small = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}.get(array.dtype)
    tiff = io.BytesIO()
    tifffile.imwrite(tiff, array.astype(small) if small else array, photometric="minisblack")
    return tiff.getvalue()


def _size(labels: np.ndarray) -> str:
    return f"{labels.shape[0]} x {labels.shape[1]}"
