"""Which images of a folder the entries of COCO files are about: by file name, without folders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.coco import CocoImage, load_coco
from nucleist.data.readers.names import split_of
from nucleist.data.readers.pairing import Found, Pair
from nucleist.types import UserError

Entries = dict[tuple[str, str], CocoImage]
"""Annotations of an image, by COCO file and image file."""


def pair_coco(tree: FileTree, jsons: Sequence[str], found: Found) -> tuple[Found, Entries]:
    """Give images the labels that COCO files hold for them, and no others.

    Args:
        tree: Holds the files.
        jsons: The COCO files.
        found: The images.

    Returns:
        The pairs anew, with the entries that have no image among the orphans; the annotations.

    Raises:
        UserError: If a file is damaged, or an entry fits several images or is there twice.
    """
    by_stem: dict[str, list[Pair]] = {}
    for one in found.pairs:
        by_stem.setdefault(PurePosixPath(one.image).stem, []).append(one)
    pairs = {one.id: replace(one, labels=None, nuclei=()) for one in found.pairs}
    orphans, entries = list(found.orphans), Entries()
    for json in jsons:
        where, split = tree.describe(json), split_of(json)
        for entry in load_coco(tree.read(json), where):
            stem = PurePosixPath(entry.file_name.replace("\\", "/")).stem
            alike = by_stem.get(stem, [])
            fits = [one for one in alike if split is None or one.split in (None, split)]
            if not fits:
                orphans.append(f"{json}: {entry.file_name}")
                continue
            one = pairs[fits[0].id]
            if len(fits) > 1 or one.labels is not None:
                raise UserError(
                    f"{where}: {entry.file_name} fits {len(fits)} images or is listed twice; "
                    "give images names of their own and list each once"
                )
            pairs[one.id] = replace(one, labels=json, split=one.split or split)
            entries[json, one.image] = entry
    return replace(found, pairs=list(pairs.values()), orphans=orphans), entries
