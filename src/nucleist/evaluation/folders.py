"""`nucleist evaluate pred=FOLDER gt=FOLDER`: score label images of any tool against the truth."""

import difflib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tifffile
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.images import check_instances, read_label_map
from nucleist.data.readers import pairing
from nucleist.files import write_json
from nucleist.metrics import PairScores
from nucleist.training.summary import write_rows
from nucleist.types import UserError, one_of

KEYS = {"pred": "", "gt": "", "masks": "labels", "output": ""}
SUFFIXES = pairing.IMAGE_SUFFIXES | {".npy"}


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


def score_folders(words: Sequence[str]) -> int:
    """Score all pairs of two folders, print the table, write it if `output` is given.

    Args:
        words: `pred=FOLDER`, `gt=FOLDER`, and maybe `masks=components` and `output=FOLDER`.

    Raises:
        UserError: If an option, a folder or a file is not what it should be.
    """
    options = parse(words)
    pred, gt = find_maps(options["pred"], "pred"), find_maps(options["gt"], "gt")
    for key, maps in (("pred", pred), ("gt", gt)):
        if maps.others:
            print(f"{key}={options[key]}: {maps.others} other files passed over", file=sys.stderr)
    found = match(pred, gt)
    for line in found.alone:
        print(f"{line}: no partner, not scored", file=sys.stderr)
    console = Console(stderr=True)
    scores, rows = PairScores(), []
    for name, predicted, true in track(
        found.pairs, "scoring", console=console, disable=not console.is_terminal, transient=True
    ):
        truth = read(gt.tree, true, options["masks"])
        guess = read(pred.tree, predicted, options["masks"])
        if truth.shape != guess.shape:
            raise UserError(
                f"{pred.tree.describe(predicted)}: {_size(guess)} pixels, but "
                f"{gt.tree.describe(true)} has {_size(truth)}; predict that image anew"
            )
        rows.append({"image": name, **scores.add(truth, guess)})
    report(scores, rows, found)
    if options["output"]:
        write(Path(options["output"]), options, scores, rows, found)
    return 0


def parse(words: Sequence[str]) -> dict[str, str]:
    """The options by name.

    Raises:
        UserError: If a key is unknown or a value missing.
    """
    options = dict(KEYS)
    for word in words:
        key, equals, value = word.partition("=")
        if key == "coco":
            raise UserError(f"{word}: label images have no scores to rank; give checkpoint=FILE")
        if not equals or key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}=...?" if near else f"there is {', '.join(KEYS)}"
            raise UserError(f"{word!r} does not go with pred=... and gt=...; {hint}")
        options[key] = value
    for key in ("pred", "gt"):
        if not options[key]:
            raise UserError(f"{key}=FOLDER is missing; write pred=FOLDER gt=FOLDER")
    one_of("masks", options["masks"], ("labels", "components"))
    return options


def find_maps(folder: str, key: str) -> Maps:
    """The label images below a folder.

    Where the names of some say that they are labels (`_labels`, `_masks`, `_cp_masks`, ...), the
    others are images or pictures and are passed over.

    Raises:
        UserError: If the folder is missing or holds none, or two have one name.
    """
    if not Path(folder).expanduser().exists():
        raise UserError(f"{key}={folder}: no such folder; check the path")
    tree = FileTree(folder)
    names = tree.names(SUFFIXES)
    if not names:
        raise UserError(f"{key}={folder}: no label images (.tif, .png, .npy) in there")
    # Cellpose's own file, which is no array, lies beside its masks.
    kept = [name for name in names if not name.endswith("_seg.npy")] or names
    kept = [name for name in kept if _stem(name) != PurePosixPath(name).stem] or kept
    files: dict[str, str] = {}
    for name in kept:
        alias = f"{key}/{PurePosixPath(name).with_name(_stem(name) + '.png')}"
        if alias in files:
            raise UserError(
                f"{key}={folder}: {files[alias]} and {name} claim the same name; remove one"
            )
        files[alias] = name
    return Maps(tree, files, len(names) - len(kept))


def _stem(name: str) -> str:
    """Name of the image that a label file is about: `a` for `x/a_labels.tif`."""
    stem = PurePosixPath(name).stem
    return pairing.LABEL_END.sub("", stem) or stem


def match(pred: Maps, gt: Maps) -> Pairs:
    """Pair the files of two folders by name, as images are paired with their labels.

    Raises:
        UserError: If there is no pair, or a pair is ambiguous.
    """
    where = f"{pred.tree.describe()} and {gt.tree.describe()}"
    named, orphans = pairing.pair([*pred.files, *gt.files], where, images="pred", labels="gt")
    pairs, alone = [], [gt.tree.describe(gt.files[name]) for name in orphans]
    for one in named:
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


def read(tree: FileTree, name: str, masks: str) -> np.ndarray:
    """Read a label map, `(H, W)` integers.

    Args:
        tree: Where it is.
        name: Its path.
        masks: `components` to take the 8-connected pieces of a map with a single id for nuclei.

    Raises:
        UserError: If it is damaged, no label map, or a binary mask where masks is `labels`.
    """
    where, data = tree.describe(name), tree.read(name)
    labels = read_label_map(_as_tiff(data, where) if name.lower().endswith(".npy") else data, where)
    if masks == "labels":
        check_instances(labels, where)
    elif labels.size and (labels[labels > 0] == labels.max()).all():
        labels, _ = ndimage.label(labels, structure=np.ones((3, 3), int))
    return labels


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


def report(scores: PairScores, rows: Sequence[dict[str, Any]], found: Pairs) -> None:
    """Print the table of all measures and the numbers of objects."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("metric")
    for column in ("pooled", "per image"):
        table.add_column(column, justify="right")
    for name, value in scores.means().items():
        table.add_row(name, f"{value['pooled']:.4f}", f"{value['per_image']:.4f}")
    console = Console(highlight=False)
    console.print(table)
    numbers = ", ".join(f"{name} {count}" for name, count in scores.numbers().items())
    print(f"{len(rows)} pairs, {len(found.alone)} without a partner; {numbers}")
    print("nucleist metrics NAME says what a number means")


def write(
    folder: Path,
    options: dict[str, str],
    scores: PairScores,
    rows: Sequence[dict[str, Any]],
    found: Pairs,
) -> None:
    """Write `summary.json` and `per_image.csv`.

    Raises:
        UserError: If the folder cannot be written.
    """
    summary = {
        "pred": options["pred"],
        "gt": options["gt"],
        "masks": options["masks"],
        "images": len(rows),
        "without_partner": found.alone,
        **{name: {how: round(v, 6) for how, v in both.items()}
           for name, both in scores.means().items()},
        **scores.numbers(),
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    write_rows(folder / "per_image.csv", rows)
    print(folder)


def _size(labels: np.ndarray) -> str:
    return f"{labels.shape[0]} x {labels.shape[1]}"
