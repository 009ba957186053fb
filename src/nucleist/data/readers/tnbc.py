"""TNBC, H&E images of triple-negative breast cancer: `Slide_XX/*.png` and `GT_XX/*.png`.

Naylor et al., Segmentation of Nuclei in Histopathology Images by Deep Regression of the Distance
Map, IEEE TMI 38 (2019); Zenodo 1175282. 50 images of 512 x 512 pixels, one slide a patient, 11
patients. The nuclei of the published ground truth are separated by gaps.
"""

from dataclasses import replace

import numpy as np

from nucleist.data.formats.label_maps import check_shape, components, read_label_map
from nucleist.data.readers import kumar
from nucleist.data.readers.base import FileSource, Layout
from nucleist.types import Record, UserError

LAYOUT = Layout("Slide_{:02d}/{}.png", "GT_{:02d}/{}.png", "ground truth")

HELD_OUT_SLIDES = 2
"""Without Kumar's images, the last two slides (patients) present are the test split."""

PREFIX = "kumar_"
"""Before the ids of Kumar's images."""


class TNBC(FileSource[tuple[str, str, int]]):
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

    grouped = True
    pixel_size = 0.25  # 40x, as published

    def __init__(self, root: str, kumar_root: str | None = None):
        super().__init__(root, "tnbc")
        self._kumar = None if kumar_root is None else kumar.Kumar(kumar_root)

    def splits(self) -> dict[str, list[str]]:
        """Ids of `train` and `test`, sorted; TNBC's before Kumar's.

        Raises:
            UserError: If an image or its ground truth is missing.
        """
        ids = sorted(self._entries)
        if self._kumar is None:
            slides = sorted({slide for _, _, slide in self._entries.values()})
            held_out = set(slides[max(len(slides) - HELD_OUT_SLIDES, 1) :])
            return {
                "train": [i for i in ids if self._entries[i][2] not in held_out],
                "test": [i for i in ids if self._entries[i][2] in held_out],
            }
        try:
            kumars = self._kumar.splits()
        except UserError as error:
            raise UserError(
                f"Kumar's breast images, which the paper tests on: {error}; set "
                "data.source.kumar_root=FOLDER, or data.source.kumar_root=null to do without them"
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

    def groups(self) -> dict[str, str]:
        """Patient of each image: TNBC has one slide of each."""
        own = {image_id: f"slide {slide:02d}" for image_id, (*_, slide) in self._entries.items()}
        if self._kumar is None:
            return own
        others = [i for ids in self.splits().values() for i in ids if i not in own]
        return own | {i: kumar.patient(i.removeprefix(PREFIX)) for i in others}

    def read(self, image_id: str) -> Record:
        """Read one image; how its nuclei were separated is in the notes.

        Raises:
            UserError: If the id is unknown, a file is damaged or the sizes differ.
        """
        if self._kumar is not None and image_id.startswith(PREFIX):
            return replace(self._kumar.read(image_id.removeprefix(PREFIX)), id=image_id)
        slide, truth, _ = self._entry(image_id)
        image = self._image(slide)
        labels = read_label_map(self._tree.read(truth), self._tree.describe(truth))
        check_shape(labels, image, self._tree.describe(truth))
        return Record(image_id, image, *_nuclei(labels))

    def _scan(self) -> dict[str, tuple[str, str, int]]:
        """Image, ground truth and slide number of each file name."""
        images, truths = (
            {
                (int(match[1]), match[2]): name
                for name, match in self._tree.match(rf"(?i:{folder}_(\d+)/([^/]+)\.png)")
            }
            for folder in ("slide", "gt")
        )
        LAYOUT.check(self._tree, images, truths)
        files = {stem: (images[n, stem], truths[n, stem], n) for n, stem in sorted(images)}
        if len(files) < len(images):
            stems = [stem for _, stem in images]
            twice = next(stem for stem in sorted(stems) if stems.count(stem) > 1)
            raise UserError(
                f"{self._tree.describe()}: '{twice}.png' in several slides; rename one of them"
            )
        return files


def _nuclei(truth: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label map and note for ground truth of either kind."""
    values = np.unique(truth[truth > 0])
    if len(values) != 1:
        return truth, ()
    labels, count = components(truth)
    note = f"binary ground truth: its {count} 8-connected pieces are the nuclei"
    return labels, (note,)
