"""BBBC038, the 2018 Data Science Bowl: `<id>/images/<id>.png`, one PNG a nucleus in `<id>/masks/`.

Caicedo et al., Nature Methods 16 (2019). CC0. Several kinds of microscopy in one set, told apart
here by image size; `group="360x360"`, 90 DAPI images, is the nearest thing to the data of the
partial-annotation paper that is freely at hand.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.images import image_size, read_image
from nucleist.data.formats.label_maps import read_mask
from nucleist.data.outlines import compose, crop
from nucleist.types import Record, Source, UserError

HEADER_BYTES = 33  # a PNG's signature and header


class BBBC038(Source):
    """Reader of BBBC038, stage 1, from a folder or `stage1_train.zip`.

    A nucleus is one mask file; masks in order of their names get the ids 1, 2, ... All
    images, or those of a group, are split by `numpy.random.default_rng(seed).permutation` of
    the sorted ids: the first `train` are for training, the others for testing.

    Args:
        root: The folder of ids, the archive, or a folder that holds either.
        group: `HxW`, pixels: only the images of this size. `HxW-gray` and `HxW-color` also look
            at the pixels, for the one size (256x320) that holds both.
        train: Number of training images; 80 % if None.
        seed: Seed of the split.
    """

    def __init__(
        self, root: str, group: str | None = None, train: int | None = None, seed: int = 0
    ):
        self._tree = FileTree(root, "bbbc038")
        self._group, self._train, self._seed = group, train, seed
        self._images: dict[str, str] = {}
        self._masks: dict[str, list[str]] = {}

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

    def read(self, image_id: str) -> Record:
        """Read one image; empty masks and overlaps are told in the notes.

        Raises:
            UserError: If the id is unknown, a file is damaged or a mask has another size.
        """
        self._scan()
        if image_id not in self._images:
            raise UserError(f"{self._tree.describe()}: no image '{image_id}'; see the list of ids")
        name = self._images[image_id]
        image = read_image(self._tree.read(name), self._tree.describe(name))
        shape = (image.shape[0], image.shape[1])
        nuclei, notes = [], []
        for number, mask_name in enumerate(self._masks[image_id], 1):
            where = self._tree.describe(mask_name)
            mask = read_mask(self._tree.read(mask_name), where)
            if mask.shape != shape:
                raise UserError(
                    f"{where}: mask of {mask.shape[0]} x {mask.shape[1]} pixels for an image of "
                    f"{shape[0]} x {shape[1]}; copy both files again"
                )
            if nucleus := crop(mask, number):
                nuclei.append(nucleus)
            else:
                notes.append(f"mask {Path(mask_name).name} is empty and was left out")
        labels, overlaps = compose(shape, nuclei)
        return Record(image_id, image, labels, (*notes, *overlaps))

    def _select(self) -> list[str]:
        """Sorted ids of the group."""
        self._scan()
        ids = sorted(self._images)
        if self._group is None:
            return ids
        size, _, kind = self._group.partition("-")
        if kind not in ("", "gray", "color"):
            raise UserError(f"group={self._group}: unknown kind '{kind}'; say HxW-gray or -color")
        sizes = {image_id: self._size(self._images[image_id]) for image_id in ids}
        chosen = [image_id for image_id in ids if sizes[image_id] == size]
        if kind:
            chosen = [i for i in chosen if self._is_gray(self._images[i]) == (kind == "gray")]
        if not chosen:
            there = ", ".join(sorted(set(sizes.values())))
            raise UserError(f"group={self._group}: no such image; the sizes are {there}")
        return chosen

    def _size(self, name: str) -> str:
        where = self._tree.describe(name)
        return "{}x{}".format(*image_size(self._tree.head(name, HEADER_BYTES), where))

    def _is_gray(self, name: str) -> bool:
        pixels = read_image(self._tree.read(name), self._tree.describe(name))
        return bool((pixels == pixels[..., :1]).all())

    def _scan(self) -> None:
        """Find images and masks once, and refuse a set of which parts are missing."""
        if self._images:
            return
        images: dict[str, str] = {}
        masks: dict[str, list[str]] = defaultdict(list)
        for name, found in self._tree.match(r"([^/]+)/(images|masks)/[^/]+\.(?i:png)"):
            image_id, kind = found[1], found[2]
            if kind == "masks":
                masks[image_id].append(name)
            elif image_id in images:
                raise UserError(
                    f"{self._tree.describe(name)}: a second image '{image_id}'; keep one of them"
                )
            else:
                images[image_id] = name
        self._check(images, masks)
        self._masks, self._images = dict(masks), images

    def _check(self, images: dict[str, str], masks: dict[str, list[str]]) -> None:
        where = self._tree.describe()
        if not images and not masks:
            raise UserError(
                f"{where}: no <id>/images/<id>.png; set data.source.root=... to the data or run "
                "`nucleist data download bbbc038`"
            )
        if alone := sorted(images.keys() - masks.keys()):
            raise UserError(
                f"{self._tree.describe(images[alone[0]])}: image without masks/*.png "
                f"({len(alone)} such); use stage 1 training data or remove the image"
            )
        if alone := sorted(masks.keys() - images.keys()):
            raise UserError(
                f"{self._tree.describe(masks[alone[0]][0])}: mask without an image "
                f"({len(alone)} such ids); restore images/{alone[0]}.png or remove the masks"
            )
