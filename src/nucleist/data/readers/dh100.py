"""DH100, DAPI images with COCO annotations: `train2019/`, `annotations/instances_train2019.json`.

The layout in which the partial-annotation papers' authors keep their data (IEEE Access 7, 2019;
images by Cicconet et al., 2017): 60 images with 2,120 nuclei train, 23 with 951 test, short side
360 pixels. `val2019` and `test2019` are laid out like `train2019`. The papers' DH25 and DH25crop
are these images with fewer labels: `annotation_fraction=0.25` and `crop_fraction=0.25`.
"""

from pathlib import PurePosixPath

from nucleist.data.formats.coco import CocoImage, label_map, load_coco
from nucleist.data.readers.base import FileSource
from nucleist.types import Record, UserError

SPLITS = ("train", "val", "test")


class DH100(FileSource[tuple[str, str, CocoImage]]):
    """Reader of a data set in the authors' COCO layout, from a folder or an archive.

    Ids are file names without extension; where two splits hold files of one name, the split's
    name and `_` come before it.

    Args:
        root: Folder or archive that holds `train2019` and `annotations`.
    """

    def __init__(self, root: str):
        super().__init__(root, "dh100")

    def splits(self) -> dict[str, list[str]]:
        """Ids of those of `train`, `val` and `test` that are there, sorted.

        Raises:
            UserError: If images or annotations are missing or broken.
        """
        there = {split: [i for i, v in self._entries.items() if v[0] == split] for split in SPLITS}
        return {split: sorted(ids) for split, ids in there.items() if ids}

    def read(self, image_id: str) -> Record:
        """Read one image; crowds left out and overlaps are in the notes.

        Raises:
            UserError: If the id is unknown, a file is damaged or the sizes differ.
        """
        split, name, annotations = self._entry(image_id)
        image = self._image(name)
        if image.shape[:2] != (annotations.height, annotations.width):
            raise UserError(
                f"{self._tree.describe(name)}: {image.shape[0]} x {image.shape[1]} pixels, but "
                f"{_json(split)} has {annotations.height} x {annotations.width}; correct it there"
            )
        where = f"{self._tree.describe(_json(split))}: {image_id}"
        labels, notes = label_map(annotations, where, (image.shape[0], image.shape[1]))
        return Record(image_id, image, labels, notes)

    def _scan(self) -> dict[str, tuple[str, str, CocoImage]]:
        """Split, file and annotations of each image id."""
        files: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
        for name, match in self._tree.match(r"(train|val|test)2019/([^/]+\.(?i:png|tiff?|jpe?g))"):
            files[match[1]][match[2]] = name
        jsons = {
            match[1]: name
            for name, match in self._tree.match(r"annotations/instances_(train|val|test)2019\.json")
        }
        if not jsons and not any(files.values()):
            raise UserError(
                f"{self._tree.describe()}: no train2019/ and annotations/; set "
                "data.source.root=... to the data (DH100 is not public: ask its authors)"
            )
        found = []
        for split in SPLITS:
            found += self._pair(split, files[split], jsons.get(split))
        stems = [PurePosixPath(name).stem for _, name, _ in found]
        return {
            f"{entry[0]}_{stem}" if stems.count(stem) > 1 else stem: entry
            for stem, entry in zip(stems, found, strict=True)
        }

    def _pair(
        self, split: str, files: dict[str, str], json: str | None
    ) -> list[tuple[str, str, CocoImage]]:
        if json is None:
            for name in files.values():
                raise UserError(
                    f"{self._tree.describe(name)}: image, but {_json(split)} is missing; add it"
                )
            return []
        where = self._tree.describe(json)
        entries: dict[str, CocoImage] = {}
        for entry in load_coco(self._tree.read(json), where):
            file_name = PurePosixPath(entry.file_name).name
            if file_name not in files:
                raise UserError(
                    f"{where}: lists {file_name}, which is not in {split}2019/; add the image or "
                    "remove the entry"
                )
            if file_name in entries:
                raise UserError(f"{where}: lists {file_name} twice; merge the entries")
            entries[file_name] = entry
        for file_name in sorted(files.keys() - entries.keys()):
            raise UserError(
                f"{self._tree.describe(files[file_name])}: image that {json} does not list; add an "
                "entry (without annotations if there are no nuclei) or remove the image"
            )
        return [(split, files[file_name], entry) for file_name, entry in entries.items()]


def _json(split: str) -> str:
    return f"annotations/instances_{split}2019.json"
