"""A user's own images with their labels, in the layouts people have.

Labels may be label maps (TIFF, PNG), binary masks, one mask file a nucleus, a COCO json, ImageJ
ROIs, QuPath's GeoJSON or Cellpose's `_seg.npy`; see `nucleist.data.readers.pairing` for what
belongs to what.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from nucleist.data.formats.cellpose import read_cellpose
from nucleist.data.formats.channels import Choice
from nucleist.data.formats.coco import CocoImage, label_map, load_coco
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
from nucleist.data.readers.base import FileSource
from nucleist.data.readers.names import (
    IGNORED_SUFFIXES,
    IMAGE_SUFFIXES,
    OUTLINE_SUFFIXES,
    ROI_SUFFIXES,
    is_roi,
    is_seg,
    split_of,
)
from nucleist.data.readers.pairing import Pair, pair
from nucleist.types import Record, UserError

Labels = tuple[np.ndarray, tuple[str, ...]]


class Folder(FileSource[Pair]):
    """Reader of a folder or a `.zip` of images and labels.

    Args:
        root: The folder or archive.
        images: Folder of the images, relative to the root; None to recognise them by name.
        labels: Folder of the labels, or a COCO json, relative to the root; None to recognise them
            by name, or to use the json files if no other labels are found.
        masks: `"labels"` if each nucleus has its own value in a mask; `"components"` if masks
            are binary: their 8-connected pieces are then the nuclei.
        test_fraction: Share of the labelled images that is set apart for testing, in [0, 1),
            where no folder names a test split.
        seed: Seed of that choice.
        channel: Number of the channel that shows the nuclei, from 1, or `"rgb"`, of images that
            have several; see `nucleist.data.formats.channels.Choice`.
        z: Number of the plane, from 1, or `"project"`, of stacks; likewise.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        images: str | None = None,
        labels: str | None = None,
        masks: Literal["labels", "components"] = "labels",
        test_fraction: float = 0.2,
        seed: int = 0,
        channel: int | Literal["rgb"] | None = None,
        z: int | Literal["project"] | None = None,
    ):
        if masks not in ("labels", "components"):
            raise UserError(f"masks={masks}: unknown; use masks=labels or masks=components")
        if not 0 <= test_fraction < 1:
            raise UserError(f"test_fraction={test_fraction}: give a number from 0 to below 1")
        super().__init__(root)
        self._images, self._labels, self._masks = images, labels, masks
        self._test_fraction, self._seed = test_fraction, seed
        self._channel, self._z, self._choice = channel, z, Choice(channel, z)
        self._orphans: list[str] = []
        self._unused: dict[str, list[str]] = {}  # what is said of files, and the files
        self._coco: dict[tuple[str, str], CocoImage] = {}  # json and image file, annotations

    def splits(self) -> dict[str, list[str]]:
        """Ids of `train` and `test`, of `val` if there is such a folder, and of `unlabelled`.

        Images in no folder of a split are for training. If no folder is called `test`,
        `numpy.random.default_rng(seed).permutation` of the sorted training ids chooses the test
        images, at least one of two or more.

        Raises:
            UserError: If no image has labels, or names are ambiguous.
        """
        pairs = self.pairing()
        found: dict[str, list[str]] = {"train": [], "test": []}
        for one in pairs:
            split = "unlabelled" if one.labels is None else one.split or "train"
            found.setdefault(split, []).append(one.id)
        if all(one.labels is None for one in pairs):
            raise UserError(
                f"{self._tree.describe()}: {len(pairs)} images and {len(self._orphans)} label "
                f"files, but no pair; name the labels of {pairs[0].image} {pairs[0].id}_labels.tif"
            )
        train = found["train"]
        if not found["test"] and self._test_fraction and len(train) > 1:
            count = min(max(1, round(self._test_fraction * len(train))), len(train) - 1)
            order = np.random.default_rng(self._seed).permutation(len(train))
            found["test"] = sorted(train[i] for i in order[:count])
            found["train"] = sorted(train[i] for i in order[count:])
        return found

    def read(self, image_id: str) -> Record:
        """Read one image; without labels, its label map is empty, with a note.

        Raises:
            UserError: If the id is unknown, a file is damaged, the sizes differ, or a binary
                mask is where a label map is needed.
        """
        one = self._entry(image_id)
        image = self._image(one.image, self._choice)
        labels, notes = self._read_labels(one, image)
        check_shape(labels, image, self._tree.describe(one.labels or ""))
        return Record(image_id, image, labels, notes)

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
        alone = [
            f"{self._tree.describe(one.image)}: image without labels"
            for one in self.pairing()
            if one.labels is None
        ]
        alone += [
            f"{self._tree.describe(name)}: labels without an image; add the image or remove them"
            for name in self._orphans
        ]
        for reason, names in self._unused.items():
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            alone.append(f"{self._tree.describe()}: {len(names)} files {reason}: {shown}")
        return alone

    def describe_pairing(self) -> str:
        """The pairing as a table of three columns, then what has no partner."""
        pairs = self.pairing()
        rows = [("id", "image", "labels")]
        for one in pairs:
            masks = f" ({len(one.nuclei)} masks)" if one.nuclei else ""
            rows.append((one.id, one.image, f"{one.labels}{masks}" if one.labels else "- none -"))
        rows += [("", "- none -", name) for name in self._orphans]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        alone = sum(one.labels is None for one in pairs)
        lines.append(
            f"{len(pairs) - alone} pairs, {alone} images without labels, "
            f"{len(self._orphans)} labels without an image"
        )
        return "\n".join(lines)

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
            if geo:
                found = pair([*names, *geo], where, **folders)
            jsons = [name for name in jsons if name not in geo]
            used |= {*jsons, *geo}
            if jsons:
                paired, orphans = self._pair_coco(found.pairs, jsons, found.orphans)
                found = replace(found, pairs=paired, orphans=orphans)
        self._orphans = found.orphans
        strange = [name for name in everything if name not in used and not _is_ignored(name)]
        unused = {
            "are not understood and not used; save images as TIFF or PNG, labels as label maps, "
            "ROIs or GeoJSON": strange,
            "are not used, because their images have other labels": found.spare,
            "are taken for pictures of results by their names and not used": found.pictures,
        }
        self._unused = {reason: names for reason, names in unused.items() if names}
        return {one.id: one for one in found.pairs}

    def _pair_coco(
        self, pairs: list[Pair], jsons: list[str], orphans: list[str]
    ) -> tuple[list[Pair], list[str]]:
        """Pair images with the entries of COCO files, by file name without folder."""
        by_stem: dict[str, list[Pair]] = {}
        for one in pairs:
            by_stem.setdefault(PurePosixPath(one.image).stem, []).append(one)
        found = {one.id: Pair(one.id, one.image, split=one.split) for one in pairs}
        for json in jsons:
            where, split = self._tree.describe(json), split_of(json)
            for entry in load_coco(self._tree.read(json), where):
                stem = PurePosixPath(entry.file_name.replace("\\", "/")).stem
                alike = by_stem.get(stem, [])
                fits = [one for one in alike if split is None or one.split in (None, split)]
                if not fits:
                    orphans = [*orphans, f"{json}: {entry.file_name}"]
                    continue
                one = found[fits[0].id]
                if len(fits) > 1 or one.labels is not None:
                    raise UserError(
                        f"{where}: {entry.file_name} fits {len(fits)} images or is listed twice; "
                        "give images names of their own and list each once"
                    )
                found[one.id] = Pair(one.id, one.image, json, split=one.split or split)
                self._coco[json, one.image] = entry
        return list(found.values()), orphans

    def _read_labels(self, one: Pair, image: np.ndarray) -> Labels:
        shape = (image.shape[0], image.shape[1])
        if one.labels is None:
            return np.zeros(shape, np.int32), ("no labels",)
        where = self._tree.describe(one.labels)
        drawn = self._read_outlines(one, image, where)
        if drawn is not None:
            labels, notes = drawn
            return labels, (*notes, *oddities(pieces_of(labels)))
        data = self._tree.read(one.labels)
        if is_seg(one.labels):
            labels = read_cellpose(data, where)
        elif self._masks == "components":
            return pieces_of_mask(read_mask_values(data, where), where)
        else:
            labels = read_label_map(data, where)
            check_instances(labels, where)
        return labels, check_label_map(labels, where)

    def _read_outlines(self, one: Pair, image: np.ndarray, where: str) -> Labels | None:
        """Labels of which each nucleus was given by itself; None where one file has a label map."""
        assert one.labels is not None
        shape = (image.shape[0], image.shape[1])
        if (one.labels, one.image) in self._coco:
            return label_map(self._coco[one.labels, one.image], where, shape)
        if one.nuclei and not any(map(is_roi, one.nuclei)):
            return read_nucleus_masks(self._tree, one.nuclei, image)
        if one.nuclei:
            return read_roi_files(self._tree, one.nuclei, shape)
        if is_roi(one.labels):
            return read_rois(self._tree.read(one.labels), where, shape)
        if PurePosixPath(one.labels).suffix.lower() in OUTLINE_SUFFIXES:
            return read_geojson(self._tree.read(one.labels), where, shape)
        return None


def _is_ignored(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IGNORED_SUFFIXES
