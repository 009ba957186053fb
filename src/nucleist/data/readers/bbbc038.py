"""BBBC038, the 2018 Data Science Bowl: `<id>/images/<id>.png`, one PNG a nucleus in `<id>/masks/`.

Caicedo et al., Nature Methods 16 (2019). CC0. Several kinds of microscopy in one set, selected
here by image size: `group="360x360"`, 90 DAPI images, is the nearest thing to the data of the
partial-annotation paper that is freely available.
"""

import csv
from collections import defaultdict
from functools import lru_cache
from importlib.resources import files

import numpy as np

from nucleist.data.formats.images import image_size
from nucleist.data.formats.nucleus_masks import read_nucleus_masks
from nucleist.data.readers.base import FileSource, Layout
from nucleist.types import Record, UserError

LAYOUT = Layout("{0}/images/{0}.png", "{0}/masks/*.png", "masks")

FIELDS = "bbbc038_fields.csv"
"""Which images were cut from one field, beside this file: `image,field`. Written by
`python -m scripts.fields bbbc038 -o src/nucleist/data/readers/bbbc038_fields.csv`."""

HEADER_BYTES = 33  # a PNG's signature and header

FLUORESCENCE = "fluorescence"
"""The group of all images of fluorescence, 541 of the 664 of stage 1."""

BRIGHT_FIELD, MIXED = "1024x1024", "256x320"
"""Size of the gray images that are no fluorescence, and the one that holds coloured ones too."""


@lru_cache
def known_fields() -> dict[str, str]:
    """Name of the field of each image of stage 1 that was cut from one with others."""
    table = files("nucleist.data.readers").joinpath(FIELDS).read_text(encoding="utf-8")
    return {row["image"]: row["field"] for row in csv.DictReader(table.splitlines())}


class BBBC038(FileSource[tuple[str, list[str]]]):
    """Reader of BBBC038, stage 1, from a folder or `stage1_train.zip`.

    A nucleus is one mask file; masks in order of their names get the ids 1, 2, ... All
    images, or those of a group, are split by `numpy.random.default_rng(seed).permutation` of
    the sorted ids: the first `train` are for training, the others for testing.

    Args:
        root: The folder of ids, the archive, or a folder that holds either.
        group: `HxW`, pixels: only the images of this size. `HxW-gray` and `HxW-color` also look
            at the pixels, for the one size (256x320) that holds both. `fluorescence`: all images of
            fluorescence, of any size.
        train: Number of training images; 80 % if None.
        seed: Seed of the split.
        without: `HxW`, pixels: none of the images of this size; None leaves out none.
    """

    grouped = True

    def __init__(
        self,
        root: str,
        group: str | None = None,
        train: int | None = None,
        seed: int = 0,
        without: str | None = None,
    ):
        super().__init__(root, "bbbc038")
        self._group, self._without, self._train, self._seed = group, without, train, seed

    def splits(self) -> dict[str, list[str]]:
        """Ids of `train` and `test`, each sorted.

        Raises:
            UserError: If the layout is broken, the group is empty or `train` is too large.
        """
        ids = self._select()
        train = round(0.8 * len(ids)) if self._train is None else self._train
        if not 0 < train <= len(ids):
            raise UserError(
                f"{self._tree.describe()}: train={train} of {len(ids)} images; "
                f"choose 1 to {len(ids)}"
            )
        order = np.random.default_rng(self._seed).permutation(len(ids))
        return {
            "train": sorted(ids[i] for i in order[:train]),
            "test": sorted(ids[i] for i in order[train:]),
        }

    def groups(self) -> dict[str, str]:
        """Field of each image, where `nucleist.data.fields` found others of it; else its id."""
        return {image_id: known_fields().get(image_id, image_id) for image_id in self._entries}

    def kinds(self) -> dict[str, str]:
        """Size `HxW` of each image, pixels: there is one for nearly each microscope."""
        return {image_id: self._size(name) for image_id, (name, _) in self._entries.items()}

    def read(self, image_id: str) -> Record:
        """Read one image; empty masks and overlaps are in the notes.

        Raises:
            UserError: If the id is unknown, a file is damaged or a mask has another size.
        """
        name, masks = self._entry(image_id)
        image = self._image(name)
        return Record(image_id, image, *read_nucleus_masks(self._tree, masks, image))

    def _select(self) -> list[str]:
        """Sorted ids of the group, without those of the size that is left out."""
        ids = self._in_group()
        if self._without is None:
            return ids
        sizes = {image_id: self._size(self._entries[image_id][0]) for image_id in self._entries}
        if self._without not in sizes.values():
            raise UserError(
                f"without={self._without}: no such image; the sizes are "
                f"{', '.join(sorted(set(sizes.values())))}"
            )
        return [image_id for image_id in ids if sizes[image_id] != self._without]

    def _in_group(self) -> list[str]:
        """Sorted ids of the group."""
        ids = sorted(self._entries)
        if self._group is None:
            return ids
        size, _, kind = self._group.partition("-")
        if kind not in ("", "gray", "color"):
            raise UserError(
                f"group={self._group}: unknown kind '{kind}'; write HxW-gray or HxW-color"
            )
        sizes = {image_id: self._size(self._entries[image_id][0]) for image_id in ids}
        if self._group == FLUORESCENCE:
            there = [i for i in ids if sizes[i] != BRIGHT_FIELD]
            return [i for i in there if sizes[i] != MIXED or self._is_gray(self._entries[i][0])]
        chosen = [image_id for image_id in ids if sizes[image_id] == size]
        if kind:
            chosen = [i for i in chosen if self._is_gray(self._entries[i][0]) == (kind == "gray")]
        if not chosen:
            known = ", ".join(sorted(set(sizes.values())))
            raise UserError(f"group={self._group}: no such image; the sizes are {known}")
        return chosen

    def _size(self, name: str) -> str:
        where = self._tree.describe(name)
        return "{}x{}".format(*image_size(self._tree.head(name, HEADER_BYTES), where))

    def _is_gray(self, name: str) -> bool:
        pixels = self._image(name)
        return bool((pixels == pixels[..., :1]).all())

    def _scan(self) -> dict[str, tuple[str, list[str]]]:
        """Image and masks of each id."""
        images: dict[tuple[str], str] = {}
        masks: dict[tuple[str], list[str]] = defaultdict(list)
        for name, found in self._tree.match(r"([^/]+)/(images|masks)/[^/]+\.(?i:png)"):
            key, kind = (found[1],), found[2]
            if kind == "masks":
                masks[key].append(name)
            elif key in images:
                raise UserError(
                    f"{self._tree.describe(name)}: a second image '{key[0]}'; keep one of them"
                )
            else:
                images[key] = name
        LAYOUT.check(self._tree, images, {key: names[0] for key, names in masks.items()})
        return {key[0]: (name, masks[key]) for key, name in images.items()}
