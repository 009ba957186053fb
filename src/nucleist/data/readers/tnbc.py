"""TNBC, H&E images of triple-negative breast cancer: `Slide_XX/*.png` and `GT_XX/*.png`.

Naylor et al., Segmentation of Nuclei in Histopathology Images by Deep Regression of the Distance
Map, IEEE TMI 38 (2019); Zenodo 1175282. 50 images of 512 x 512 pixels, one slide a patient, 11
patients. Nuclei of the published ground truth are told apart by the gaps between them.
"""

import numpy as np
from scipy import ndimage

from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.images import read_image
from nucleist.data.formats.label_maps import read_label_map
from nucleist.data.readers import kumar
from nucleist.types import Record, Source, UserError

HELD_OUT_SLIDES = 2
"""Without Kumar's images, the last two slides (patients) present are the test split."""

PREFIX = "kumar_"
"""Before the ids of Kumar's images."""


class TNBC(Source):
    """Reader of TNBC, alone or with Kumar's breast images as in the paper.

    With `kumar_root`, the split is that of Naylor et al. and of the partial-annotation paper: all
    TNBC images and Kumar's 4 breast training images train, Kumar's 2 breast test images test (of
    these 6, those that are there). Without it, images of the last two slides test.

    Ground truth with a single value is binary: its 8-connected pieces are the nuclei, as in the
    authors' evaluation. With several values, each value is a nucleus.

    Args:
        root: Folder or archive.
        kumar_root: Folder or archive of Kumar's images.
    """

    def __init__(self, root: str, kumar_root: str | None = None):
        self._tree = FileTree(root, "tnbc")
        self._kumar = None if kumar_root is None else kumar.Kumar(kumar_root)
        self._files: dict[str, tuple[str, str, int]] = {}

    def splits(self) -> dict[str, list[str]]:
        """Ids of `train` and `test`, sorted; TNBC's before Kumar's.

        Raises:
            UserError: If an image or its ground truth is missing.
        """
        self._scan()
        ids = sorted(self._files)
        if self._kumar is None:
            slides = sorted({slide for _, _, slide in self._files.values()})
            held_out = set(slides[max(len(slides) - HELD_OUT_SLIDES, 1) :])
            return {
                "train": [i for i in ids if self._files[i][2] not in held_out],
                "test": [i for i in ids if self._files[i][2] in held_out],
            }
        try:
            kumars = self._kumar.splits()
        except UserError as error:
            raise UserError(
                f"Kumar's breast images, which the paper tests on: {error}; say where by "
                "data.source.kumar_root=..., or data.source.kumar_root=null to do without"
            ) from error
        breast = {
            split: [PREFIX + i for i in names if kumar.organ(i) == "breast"]
            for split, names in kumars.items()
        }
        if not breast["test"]:
            raise UserError(
                f"kumar_root: none of the test images {', '.join(kumar.TEST['breast'])} is there; "
                "complete Kumar's images or leave kumar_root out"
            )
        return {"train": ids + breast["train"], "test": breast["test"]}

    def read(self, image_id: str) -> Record:
        """Read one image; how nuclei were told apart is in the notes.

        Raises:
            UserError: If the id is unknown, a file is damaged or the sizes differ.
        """
        self._scan()
        if self._kumar is not None and image_id.startswith(PREFIX):
            record = self._kumar.read(image_id.removeprefix(PREFIX))
            return Record(image_id, record.image, record.labels, record.notes)
        if image_id not in self._files:
            raise UserError(f"{self._tree.describe()}: no image '{image_id}'; see the list of ids")
        slide, truth, _ = self._files[image_id]
        image = read_image(self._tree.read(slide), self._tree.describe(slide))
        where = self._tree.describe(truth)
        labels = read_label_map(self._tree.read(truth), where)
        if labels.shape != image.shape[:2]:
            raise UserError(
                f"{where}: ground truth of {labels.shape[0]} x {labels.shape[1]} pixels for an "
                f"image of {image.shape[0]} x {image.shape[1]}; copy both files again"
            )
        return Record(image_id, image, *_nuclei(labels))

    def _scan(self) -> None:
        """Pair images and ground truth once, by slide number and file name."""
        if self._files:
            return
        found: dict[str, dict[tuple[int, str], str]] = {"slide": {}, "gt": {}}
        for name, match in self._tree.match(r"(?i:(slide|gt)_(\d+)/([^/]+)\.png)"):
            found[match[1].lower()][int(match[2]), match[3]] = name
        images, truths = found["slide"], found["gt"]
        if not images and not truths:
            raise UserError(
                f"{self._tree.describe()}: no 'Slide_XX/*.png'; set data.source.root=... to the "
                "data or run `nucleist data download tnbc`"
            )
        for key in sorted(images.keys() - truths.keys()):
            raise UserError(
                f"{self._tree.describe(images[key])}: image without GT_{key[0]:02d}/{key[1]}.png; "
                "add the ground truth or remove the image"
            )
        for key in sorted(truths.keys() - images.keys()):
            raise UserError(
                f"{self._tree.describe(truths[key])}: ground truth without "
                f"Slide_{key[0]:02d}/{key[1]}.png; add the image or remove the ground truth"
            )
        files = {stem: (images[n, stem], truths[n, stem], n) for n, stem in sorted(images)}
        if len(files) < len(images):
            stems = [stem for _, stem in images]
            twice = next(stem for stem in sorted(stems) if stems.count(stem) > 1)
            raise UserError(
                f"{self._tree.describe()}: '{twice}.png' in several slides; rename one of them"
            )
        self._files = files


def _nuclei(truth: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label map and note for ground truth of either kind."""
    values = np.unique(truth[truth > 0])
    if len(values) != 1:
        return truth, ()
    labels, count = ndimage.label(truth, structure=np.ones((3, 3), int))
    note = f"binary ground truth: its {count} 8-connected pieces are the nuclei"
    return labels.astype(np.int32), (note,)
