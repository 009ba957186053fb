"""The data sets there are: list, open, check, convert and download them by name.

Each verb of `nucleist data ...` is a function here; `show` is in `nucleist.plots.sheets`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.config.build import build, plain
from nucleist.config.compose import compose
from nucleist.config.settings import choices, data_overrides, overrides_of
from nucleist.data.annotation import Annotation
from nucleist.data.downloads import PUBLISHED, download
from nucleist.data.prepare import prepare
from nucleist.data.problems import Report, examine
from nucleist.data.readers.fewer import fewer
from nucleist.data.readers.folds import regroup
from nucleist.progress import shown
from nucleist.types import Progress, Record, Source, UserError

OWN_IMAGES = "???"
"""The root of `data=folder` before a folder is given: OmegaConf's sign of a missing value."""

Overrides = Sequence[str] | Mapping[str, Any]
"""Settings as words, `["data.source.seed=1"]`, or by key, `{"data": {"source": {"seed": 1}}}`."""


@dataclass(frozen=True)
class Listing:
    """What there is of a data set.

    Attributes:
        name: Of the data set.
        place: Folder or archive in which it is looked for; None if it needs no files, or has no
            folder yet.
        splits: Name, number of images and number of nuclei of each split; the nuclei are None
            if they were not counted.
        problem: Why it, or a further split of it, cannot be read; None if all can.
    """

    name: str
    place: str | None
    splits: tuple[tuple[str, int, int | None], ...] = ()
    problem: str | None = None


def data_set_names() -> list[str]:
    """Names of the data sets that nucleist can read, sorted."""
    return choices("data")


def open_source(data: str | Path | Source, overrides: Overrides = ()) -> Source:
    """Open a data set.

    Args:
        data: A data set's name, the folder (or `.zip`) of your own images, or a source, which
            is returned as it is. A name that is a folder as well is the data set; with a slash,
            `./kumar`, or as a `Path`, it is the folder.
        overrides: Settings: `data_root=FOLDER`, `data.source.seed=1`.

    Raises:
        UserError: If there is no such data set or folder, with the nearest name; for an unknown
            key; for settings of a source that is open already.
    """
    return open_annotated(data, overrides)[0]


def open_annotated(
    data: str | Path | Source, overrides: Overrides = ()
) -> tuple[Source, Annotation]:
    """Open a data set together with the partial annotation that the settings ask for.

    Args:
        data: As in `open_source`.
        overrides: As in `open_source`, and `data.annotation_fraction=0.25` and the like.

    Raises:
        UserError: As `open_source`, or if the annotation is not possible.
    """
    config = _config(data, overrides)
    asked = config.data
    annotation = Annotation(
        asked.annotation_fraction,
        asked.exemplars,
        asked.crop_fraction,
        asked.annotation_seed,
        asked.manifest,
        asked.policy,
    )
    source = data if isinstance(data, Source) else build(asked.source)
    shares = plain(asked.fractions) if asked.fractions else None
    by = asked.folds, asked.fold, shares, asked.fold_seed, asked.split_by
    source = regroup(source, *by)
    source = fewer(source, asked.train_images, asked.splits.train, asked.annotation_seed)
    return source, annotation.among(_records(source, asked.splits.train))


def _records(source: Source, split: str) -> Iterator[Record]:
    """The images of a split, which are looked for when the first one is asked for."""
    yield from map(source.read, source.splits().get(split, []))


def list_data_sets(
    names: str | Sequence[str] | None = None,
    overrides: Overrides = (),
    quick: bool = False,
    progress: bool | Progress = False,
) -> list[Listing]:
    """What is there of each data set; one that is missing comes with the reason.

    Args:
        names: Name or names of the data sets; None for all.
        overrides: Settings, such as `data_root=FOLDER`.
        quick: Whether to leave the nuclei uncounted, for which every image is read.
        progress: True shows bars on stderr.

    Raises:
        UserError: For an unknown name or key.
    """
    named = [names] if isinstance(names, str) else names
    chosen = data_set_names() if named is None else named
    return [_listing(name, overrides, quick, shown(progress)) for name in chosen]


def check_data_set(
    data: str | Path | Source, overrides: Overrides = (), progress: bool | Progress = False
) -> Report:
    """Read every image of a data set and report what is wrong with it.

    Args:
        data: As in `open_source`.
        overrides: As in `open_source`.
        progress: True shows bars on stderr.

    Raises:
        UserError: If the data set as a whole cannot be read.
    """
    return examine(open_source(data, overrides), shown(progress))


def prepare_data_set(
    data: str | Path | Source,
    output: str | Path,
    overrides: Overrides = (),
    progress: bool | Progress = False,
) -> dict[str, int]:
    """Convert a data set to images and label maps in files, as `data=folder` reads them.

    Args:
        data: As in `open_source`.
        output: Folder, new or empty; it appears when it is complete.
        overrides: As in `open_source`.
        progress: True shows bars on stderr, and which splits were left out.

    Returns:
        Number of images of each split that was written.

    Raises:
        UserError: If the folder is in use or cannot be written, or an image cannot be read.
    """
    return prepare(open_source(data, overrides), output, shown(progress))


def download_data_set(
    name: str,
    output: str | Path | None = None,
    url: str | None = None,
    checksum: str | None = None,
    overrides: Overrides = (),
    progress: bool | Progress = False,
) -> Path:
    """Download a published data set to where it is looked for, unless it is there already.

    Args:
        name: Of the data set.
        output: Another folder to put the file into.
        url: Another address of the same file, such as a mirror.
        checksum: `sha256:<hex>` or `md5:<hex>` to check instead of the known one; `"unknown"`
            to check none.
        overrides: Settings, such as `data_root=FOLDER`.
        progress: True shows a bar on stderr.

    Returns:
        The file, whole, with its checksum recorded beside it.

    Raises:
        UserError: If it cannot be downloaded (the message explains how to get it by hand), or what
            came is not what it should be.
    """
    settings = plain(_config(_known(name), overrides).data.source)
    root = settings.get("root")
    if root == OWN_IMAGES:
        raise UserError(f"{name}: stands for your own images; there is nothing to download")
    if root is None:
        raise UserError(f"{name}: needs no files; there is nothing to download")
    # Variants such as bbbc360 lie in the folder that has the name of what was published.
    folder = Path(root).name
    entry = folder if folder in PUBLISHED and name not in PUBLISHED else name
    return download(entry, output or root, url, checksum, progress)


def _known(name: str) -> str:
    """The name, if there is such a data set.

    Raises:
        UserError: If there is none; the nearest name is suggested.
    """
    names = data_set_names()
    if name in names:
        return name
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
    raise UserError(f"there is no data set {name!r}; {hint}")


def _config(data: str | Path | Source, overrides: Overrides) -> Any:
    """The composed configuration of a training on a data set."""
    words = overrides_of(overrides) if isinstance(overrides, Mapping) else list(overrides)
    if isinstance(data, Source):
        for word in words:
            if word.lstrip("+~").startswith(("data.source", "data=")):
                raise UserError(f"{word!r}: the data set is open already; set it where it is made")
        return compose("train", words)
    return compose("train", [*data_overrides(data), *words])


def _listing(name: str, overrides: Overrides, quick: bool, progress: Progress) -> Listing:
    config = _config(_known(name), overrides)
    if OWN_IMAGES == plain(config.data.source).get("root"):
        return Listing(name, None, (), "your own images; nucleist data check FOLDER looks at them")
    splits: list[tuple[str, int, int | None]] = []
    problem = None
    try:
        source: Source = build(config.data.source)
        for split, ids in source.splits().items():
            splits.append((split, len(ids), None))
            if not quick:
                each = progress.watch(ids, f"{name} {split}")
                splits[-1] = split, len(ids), sum(_count(source.read(i)) for i in each)
    except UserError as error:
        problem = str(error)
    return Listing(name, _place(plain(config.data.source)), tuple(splits), problem)


def _place(settings: Mapping[str, Any]) -> str | None:
    """Where the files of a data set are, or of the one whose images it shows as tiles."""
    root = settings.get("source", settings).get("root")
    return None if root is None else str(root)


def _count(record: Record) -> int:
    return len(np.unique(record.labels[record.labels > 0]))
