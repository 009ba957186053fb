"""A user's own images with their labels, in the layouts people have.

Labels may be label maps (TIFF, PNG), binary masks, one mask file a nucleus, a COCO json, ImageJ
ROIs, QuPath's GeoJSON or Cellpose's `_seg.npy`; see `nucleist.data.readers.pairing` for what
belongs to what.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from nucleist.data.complete import either
from nucleist.data.formats.cellpose import read_cellpose
from nucleist.data.formats.channels import Choice
from nucleist.data.formats.coco import label_map
from nucleist.data.formats.geojson import is_geojson, read_geojson
from nucleist.data.formats.imagej import read_roi_files, read_rois
from nucleist.data.formats.label_checks import check_label_map, oddities, pieces_of, pieces_of_mask
from nucleist.data.formats.label_maps import (
    check_instances,
    check_shape,
    read_label_map,
    read_mask_values,
)
from nucleist.data.formats.nucleus_masks import read_nucleus_masks
from nucleist.data.formats.pixel_size import common, of_bytes
from nucleist.data.outlines import Drawn
from nucleist.data.readers.areas import Areas, read_regions, said
from nucleist.data.readers.base import FileSource
from nucleist.data.readers.coco_pairing import Entries, pair_coco
from nucleist.data.readers.grouping import Grouping, paths_of
from nucleist.data.readers.names import (
    IGNORED_SUFFIXES,
    IMAGE_SUFFIXES,
    OUTLINE_SUFFIXES,
    ROI_SUFFIXES,
    is_roi,
    is_seg,
)
from nucleist.data.readers.pairing import Found, Pair, pair
from nucleist.data.readers.pairing_table import lines_of_problems, table_of_pairs
from nucleist.data.readers.splitting import split_by_name
from nucleist.types import Record, UserError

_LOOKED_AT = 5
"""Images whose metadata are read for the size of a pixel."""

VAL_FRACTION = 0.2
"""Share of the images that validate where all labelled images are complete."""


class Folder(FileSource[Pair]):
    """Reader of a folder or a `.zip` of images and labels.

    Args:
        root: The folder or archive.
        images: Folder of the images, relative to the root; None to recognise them by name.
        labels: Folder of the labels, or a COCO json, relative to the root; None to recognise them
            by name, or to use the json files if no other labels are found.
        masks: `"labels"` if each nucleus has its own value in a mask; `"components"` if masks
            are binary: their 8-connected pieces are then the nuclei.
        complete: Where all nuclei are labelled: True in all images that have labels, False
            nowhere, or a list of image ids or files. Without True or False, regions count besides:
            the rows of `complete.csv` (see `nucleist.data.formats.complete`) at the top of the
            folder, and ROIs of ImageJ or annotations of QuPath that are called `complete`, or lie
            in a file `IMAGE_complete`.
        test_fraction: Share of the labelled images that is set apart for testing, in [0, 1),
            where no folder names a test split; about that share, see `splits`.
        val_fraction: Likewise for validation; None is 0.2 if `complete` is True, else 0.
        seed: Seed of that choice.
        channel: Number of the channel that shows the nuclei, from 1, its name, or `"rgb"`, of
            images that have several; see `nucleist.data.formats.channels.Choice`.
        z: Number of the plane, from 1, or `"project"`, of stacks; likewise.
        groups: Which images no split separates: a regular expression whose first group is found in
            an image's path, `"found"` to compare the images, or None for the rows of `groups.csv`
            (see `nucleist.data.formats.groups`), if it lies at the top of the folder.
        t: Number of the time, from 1, of images that have several.
        pixel_size: Width of a pixel in micrometres, in place of what the files say.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        images: str | None = None,
        labels: str | None = None,
        masks: Literal["labels", "components"] = "labels",
        complete: bool | Sequence[str] | None = None,
        test_fraction: float = 0.2,
        val_fraction: float | None = None,
        seed: int = 0,
        channel: int | str | None = None,
        z: int | Literal["project"] | None = None,
        groups: str | None = None,
        t: int | None = None,
        pixel_size: float | None = None,
    ):
        if masks not in ("labels", "components"):
            raise UserError(f"masks={masks}: unknown; use masks=labels or masks=components")
        if val_fraction is None:
            val_fraction = VAL_FRACTION if complete is True else 0.0
        self._shares = {"test": test_fraction, "val": val_fraction}
        for split, share in self._shares.items():
            if not 0 <= share < 1:
                raise UserError(f"{split}_fraction={share}: give a number from 0 to below 1")
        if test_fraction + val_fraction >= 1:
            raise UserError(
                f"test_fraction={test_fraction} and val_fraction={val_fraction} leave nothing to "
                "train on; give fractions with a sum below 1"
            )
        super().__init__(root)
        self._images, self._labels, self._masks = images, labels, masks
        self._complete, self._seed = said(complete), seed
        self._channel, self._z, self._t = channel, z, t
        self._choice, self._said_size = Choice(channel, z, t), pixel_size
        self._groups, self._grouping = groups, Grouping(groups, self._tree)
        self._orphans: list[str] = []
        self._unused: dict[str, list[str]] = {}  # what is said of files, and the files
        self._coco: Entries = {}
        self._areas = Areas(False, self._tree, [])

    def splits(self) -> dict[str, list[str]]:
        """Ids of `train` and `test`, of `val` if there are any, and of `unlabelled`, sorted.

        Folders called `train`, `val` and `test` are followed; other images are for training. Of a
        split that no labelled image's folder names, images are set apart: those whose hash of
        `seed` and name lies below `test_fraction` test, those up to `test_fraction + val_fraction`
        validate. The name is the image's path in the folder, joined by `_`, without extension and
        without folders that name kind or split: the id, where ids need a folder to be unique; of
        an image with a group, the group's. So an image that is added moves no other, and of a few
        images perhaps none tests: a folder `test/` or a larger fraction gives some. If none were
        left, that with the largest hash trains.

        Raises:
            UserError: If no image has labels, or names are ambiguous.
        """
        pairs = self.pairing()
        labelled = [one for one in pairs if one.labels is not None]
        if not labelled:
            raise UserError(
                f"{self._tree.describe()}: {len(pairs)} images and {len(self._orphans)} label "
                f"files, but no pair; name the labels of {pairs[0].image} {pairs[0].id}_labels.tif"
            )
        paths, known = paths_of(pairs, self._tree), self._known_groups()
        inner = [one.id for one in labelled if one.split in (None, "train")]
        free = {i: known.get(i, paths[i].replace("/", "_")) for i in inner}
        closed = frozenset(one.split for one in labelled if one.split)
        chosen = split_by_name(free, self._shares, self._seed, closed)
        found: dict[str, list[str]] = {"train": [], "val": [], "test": [], "unlabelled": []}
        for one in pairs:
            split = "unlabelled" if one.labels is None else chosen.get(one.id, one.split)
            found[split or "train"].append(one.id)
        return {name: ids for name, ids in found.items() if ids or name in ("train", "test")}

    @property
    def grouped(self) -> bool:  # type: ignore[override]
        """Whether the owner of the folder says which images belong together."""
        return self._grouping.is_said

    @property
    def pixel_size(self) -> float | None:  # type: ignore[override]
        """What was said, else what the first images say, if they say the same."""
        if self._said_size is not None:
            return self._said_size
        names = [one.image for one in self.pairing()[:_LOOKED_AT]]
        return common([of_bytes(self._tree.read(name)) for name in names])

    def groups(self) -> dict[str, str]:
        """Group of each image; its id where none is said.

        Raises:
            UserError: If a pattern fits no image, or `groups.csv` is damaged.
        """
        return {one.id: self._known_groups().get(one.id, one.id) for one in self.pairing()}

    def _known_groups(self) -> dict[str, str]:
        return self._grouping.of(self.pairing(), lambda one: self._image(one.image, self._choice))

    def read(self, image_id: str) -> Record:
        """Read one image; without labels, its label map is empty, with a note.

        Raises:
            UserError: If the id is unknown, a file is damaged, the sizes differ, a binary mask is
                where a label map is needed, or a rectangle of `complete.csv` lies outside.
        """
        one = self._entry(image_id)
        image = self._image(one.image, self._choice)
        labels, notes, regions = self._read_labels(one, image)
        check_shape(labels, image, self._tree.describe(one.labels or ""))
        shape = (image.shape[0], image.shape[1])
        regions = either(regions, read_regions(self._tree, one.regions, shape), shape)
        complete = self._areas.of(image_id, shape, regions)
        return Record(image_id, image, labels, notes, complete)

    def pairing(self) -> list[Pair]:
        """Every image with what holds its labels, sorted by id.

        Raises:
            UserError: If the root is missing, holds no image, or names are ambiguous.
        """
        return list(self._entries.values())

    def problems(self) -> list[str]:
        """What has no partner and which files are not used, and why.

        One line for each image without labels and labels without image; one line for all files
        that are not used for the same reason.
        """
        return lines_of_problems(
            self._tree, self.pairing(), self._orphans, self._areas.without_labels(), self._unused
        )

    def describe_pairing(self) -> str:
        """The pairing as a table of three columns, then what has no partner."""
        return table_of_pairs(self.pairing(), self._orphans)

    def _scan(self) -> dict[str, Pair]:
        """Pair all files."""
        where, everything = self._tree.describe(), self._tree.names()
        names = self._tree.names(IMAGE_SUFFIXES | ROI_SUFFIXES | OUTLINE_SUFFIXES - {".json"})
        names += [name for name in everything if is_seg(name)]
        json = self._labels if (self._labels or "").lower().endswith(".json") else None
        folders = {"images": self._images, "labels": None if json else self._labels}
        for key, folder in folders.items():
            inside = "" if folder in (None, ".") else f"{PurePosixPath(folder)}/"
            if not any(name.startswith(inside) for name in [*names, ""]):
                raise UserError(f"{where}: {key}={folder}: no images in there; correct the name")
        found = pair(names, where, **folders)
        if not found.pairs:
            raise UserError(
                f"{where}: no images (.png, .tif, .jpg, .bmp); check the path, or set "
                "data.source.images=FOLDER"
            )
        used = set(names)
        if json or all(one.labels is None for one in found.pairs):
            jsons = [json] if json else self._tree.names({".json"})
            geo = [name for name in jsons if is_geojson(self._tree.head(name, 1000))]
            used |= {*jsons, *geo}
            if geo:
                found = pair([*names, *geo], where, **folders)
            if jsons := [name for name in jsons if name not in geo]:
                found, self._coco = pair_coco(self._tree, jsons, found)
        self._areas = Areas(self._complete, self._tree, found.pairs)
        self._note_unused(found, [name for name in everything if name not in used])
        return {one.id: one for one in found.pairs}

    def _note_unused(self, found: Found, others: list[str]) -> None:
        """Keep what `problems` says of files that are not used."""
        self._orphans = found.orphans
        unused = {
            "are not understood and not used; save images as TIFF or PNG, labels as label maps, "
            "ROIs or GeoJSON": [name for name in others if not _is_ignored(name)],
            "are not used, because their images have other labels": found.spare,
            "are taken for pictures of results by their names and not used": found.pictures,
            "are not read, because they are not at the top of the folder": self._areas.spare,
        }
        self._unused = {reason: names for reason, names in unused.items() if names}

    def _read_labels(self, one: Pair, image: np.ndarray) -> Drawn:
        shape = (image.shape[0], image.shape[1])
        if one.labels is None:
            return Drawn(np.zeros(shape, np.int32), ("no labels",))
        where = self._tree.describe(one.labels)
        drawn = self._read_outlines(one, image, where)
        if drawn is not None:
            return drawn._replace(notes=(*drawn.notes, *oddities(pieces_of(drawn.labels))))
        data = self._tree.read(one.labels)
        if is_seg(one.labels):
            labels = read_cellpose(data, where)
        elif self._masks == "components":
            return Drawn(*pieces_of_mask(read_mask_values(data, where), where))
        else:
            labels = read_label_map(data, where)
            check_instances(labels, where)
        return Drawn(labels, check_label_map(labels, where))

    def _read_outlines(self, one: Pair, image: np.ndarray, where: str) -> Drawn | None:
        """Labels of which each nucleus was given by itself; None where one file has a label map."""
        assert one.labels is not None
        shape = (image.shape[0], image.shape[1])
        if (one.labels, one.image) in self._coco:
            return Drawn(*label_map(self._coco[one.labels, one.image], where, shape))
        if one.nuclei and not any(map(is_roi, one.nuclei)):
            return Drawn(*read_nucleus_masks(self._tree, one.nuclei, image))
        if one.nuclei:
            return read_roi_files(self._tree, one.nuclei, shape)
        if is_roi(one.labels):
            return read_rois(self._tree.read(one.labels), where, shape)
        if PurePosixPath(one.labels).suffix.lower() in OUTLINE_SUFFIXES:
            return read_geojson(self._tree.read(one.labels), where, shape)
        return None


def _is_ignored(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IGNORED_SUFFIXES
