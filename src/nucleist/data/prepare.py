"""Convert a data set to plain files: images and 16-bit label PNGs, by split.

`train/images/a.png` and `train/labels/a.png`: the layout that `nucleist.data.Folder` reads back,
and that other tools understand. Images and ids of nuclei stay as they are. `complete.csv` says of
which images, or of which rectangles of them, all nuclei are labelled, and `groups.csv` which images
no split should separate.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nucleist.data.formats.complete import FILE, write_complete
from nucleist.data.formats.groups import FILE as GROUPS_FILE
from nucleist.data.formats.groups import write_groups
from nucleist.data.formats.images import write_image
from nucleist.data.formats.label_checks import check_label_map
from nucleist.data.formats.label_maps import check_instances, suffix_for, write_label_map
from nucleist.data.readers.folder import Folder
from nucleist.files import making_folder
from nucleist.types import Complete, Progress, Record, Source, UserError

SPLITS = ("train", "val", "test")


def prepare(source: Source, folder: str | Path, progress: Progress | None = None) -> dict[str, int]:
    """Write the images and labels of `train`, `val` and `test` into a new folder.

    The folder appears when it is complete; if anything goes wrong nothing is left behind.

    Args:
        source: The data set.
        folder: Must not exist yet, or be empty.
        progress: Shows how far it is, and names the splits that are left out; None shows nothing.

    Returns:
        Number of images of each split that was written.

    Raises:
        UserError: If the folder is in use or cannot be written, or an image cannot be read.
    """
    progress = progress or Progress()
    folder = Path(folder).expanduser()
    with making_folder(folder) as temporary:
        splits = {s: list(ids) for s, ids in source.splits().items() if s in SPLITS and ids}
        _write_all(source, splits, temporary, progress)
        _check(temporary, folder, splits)
    for split, ids in source.splits().items():
        if ids and split not in splits:
            progress.note(f"left out: split {split}, {len(ids)} images")
    return {split: len(ids) for split, ids in splits.items()}


def _write_all(
    source: Source, splits: Mapping[str, list[str]], folder: Path, progress: Progress
) -> None:
    """Write images and groups, and where images are complete unless all are nowhere."""
    areas: dict[str, Complete] = {}
    for split, ids in splits.items():
        for image_id in progress.watch(ids, split):
            record = source.read(image_id)
            _write(record, folder / split)
            areas[image_id] = record.complete
    if source.grouped:
        groups = source.groups()
        write_groups(folder / GROUPS_FILE, {image_id: groups[image_id] for image_id in areas})
    if any(areas.values()):
        write_complete(folder / FILE, areas)


def _write(record: Record, folder: Path) -> None:
    write_image(folder / "images" / record.id, record.image)
    labels, place = record.labels, folder / "labels"
    try:
        check_instances(labels, record.id)
        check_label_map(labels, record.id)
    except UserError:
        # Nuclei in many pieces look like a mask of classes; in a folder of masks it is unambiguous.
        ids = np.unique(labels[labels > 0])
        for number, nucleus in enumerate(ids, 1):
            name = f"{number:0{len(str(len(ids)))}}.png"
            write_label_map(place / record.id / name, np.where(labels == nucleus, 255, 0))
        return
    write_label_map(place / f"{record.id}{suffix_for(labels)}", labels)


def _check(written: Path, folder: Path, splits: Mapping[str, list[str]]) -> None:
    """Refuse names that would not be found again, such as those of pictures of results."""
    # With complete=False nothing asks for the names in complete.csv, which would be told first.
    pairs = Folder(written, complete=False).pairing()
    found = {(one.split, one.id) for one in pairs if one.labels}
    for split, ids in splits.items():
        for image_id in ids:
            if (split, image_id) not in found:
                raise UserError(
                    f"{folder}: the image {image_id!r} has a name by which data=folder would not "
                    "find it; rename it"
                )
