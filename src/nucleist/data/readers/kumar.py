"""Kumar's H&E images: `Tissue Images/<TCGA>.tif` and Aperio outlines, `Annotations/<TCGA>.xml`.

Kumar et al., A Dataset and a Technique for Generalized Nuclear Segmentation for Computational
Pathology, IEEE TMI 36 (2017). CC BY-NC-SA 4.0. 30 images of 1000 x 1000 pixels at 40x, 7 organs,
16 for training and 14 for testing; bladder, colon and stomach are tested only. The ids of the
split are those published with HoVer-Net (Graham et al., Medical Image Analysis 58, 2019).
"""

import re

from nucleist.data.formats.aperio import read_aperio
from nucleist.data.outlines import compose
from nucleist.data.readers.base import FileSource, Layout
from nucleist.types import Record, UserError

LAYOUT = Layout("Tissue Images/{}.tif", "Annotations/{}.xml", "outlines")

TRAIN = {
    "breast": ("A7-A13E", "AR-A1AK", "AR-A1AS", "E2-A14V"),
    "kidney": ("B0-5711", "HE-7128", "HE-7129", "HE-7130"),
    "liver": ("18-5592", "21-5784", "38-6178", "50-5931"),
    "prostate": ("G9-6348", "G9-6356", "G9-6362", "G9-6363"),
}
"""Training images of each organ, by the part of the TCGA id that names the patient."""

TEST = {
    "breast": ("A7-A13F", "E2-A1B5"),
    "kidney": ("B0-5698", "B0-5710"),
    "liver": ("21-5786", "49-4488"),
    "prostate": ("CH-5767", "G9-6336"),
    "bladder": ("DK-A2I6", "G2-A2EK"),
    "colon": ("AY-A8YK", "NH-A8F7"),
    "stomach": ("KB-A93J", "RD-A8N9"),
}
"""Test images of each organ, likewise."""

_ROLE = {
    patient: (split, organ)
    for split, organs in (("train", TRAIN), ("test", TEST))
    for organ, patients in organs.items()
    for patient in patients
}


_BARCODE = re.compile(r"TCGA-(\w{2}-\w{4})")


def organ(image_id: str) -> str:
    """Organ of one of the 30 images, by its TCGA id; `unknown` for any other."""
    return _role(image_id)[1]


def patient(image_id: str) -> str:
    """Patient of an image, the first three parts of its TCGA id; the id itself without one.

    Examples:
        >>> patient("TCGA-A7-A13E-01Z-00-DX1")
        'TCGA-A7-A13E'
    """
    found = _BARCODE.search(image_id)
    return found[0] if found else image_id


def _role(image_id: str) -> tuple[str, str]:
    found = _BARCODE.search(image_id)
    return _ROLE.get(found[1] if found else "", ("other", "unknown"))


class Kumar(FileSource[tuple[str, str]]):
    """Reader of Kumar's images from a folder or the archive `MoNuSeg 2018 Training Data.zip`.

    Splits hold what is there of the official 16 and 14. Further images (later editions of
    MoNuSeg have some) form a split `other`, which is neither trained on nor tested. Outlines
    that overlap: see `nucleist.data.outlines`.

    Args:
        root: Folder or archive.
    """

    grouped = True
    pixel_size = 0.25  # 40x, as published; slides of TCGA say 0.23 to 0.25

    def __init__(self, root: str):
        super().__init__(root, "kumar")

    def splits(self) -> dict[str, list[str]]:
        """Ids (whole TCGA ids) of `train`, `test` and, if there are any, `other`, sorted.

        Raises:
            UserError: If an image or its outlines are missing, or none of the 30 is there.
        """
        splits: dict[str, list[str]] = {"train": [], "test": [], "other": []}
        for image_id in sorted(self._entries):
            splits[_role(image_id)[0]].append(image_id)
        if not splits["train"] and not splits["test"]:
            raise UserError(
                f"{self._tree.describe()}: none of Kumar's 30 images among {splits['other'][:3]}; "
                "use data=folder for other images"
            )
        return {name: ids for name, ids in splits.items() if ids or name != "other"}

    def groups(self) -> dict[str, str]:
        """Patient of each image."""
        return {image_id: patient(image_id) for image_id in self._entries}

    def read(self, image_id: str) -> Record:
        """Read one image; regions left out and overlaps are in the notes.

        Raises:
            UserError: If the id is unknown or a file is damaged.
        """
        tissue, outlines = self._entry(image_id)
        image = self._image(tissue)
        shape = (image.shape[0], image.shape[1])
        where = self._tree.describe(outlines)
        nuclei, notes = read_aperio(self._tree.read(outlines), shape, where)
        labels, overlaps = compose(shape, nuclei)
        return Record(image_id, image, labels, (*notes, *overlaps))

    def _scan(self) -> dict[str, tuple[str, str]]:
        """Image and outlines of each TCGA id."""
        pattern = r"(?i:tissue images/([^/]+)\.tiff?)", r"(?i:annotations/([^/]+)\.xml)"
        images, outlines = (
            {(match[1],): name for name, match in self._tree.match(one)} for one in pattern
        )
        LAYOUT.check(self._tree, images, outlines)
        return {key[0]: (images[key], outlines[key]) for key in images}
