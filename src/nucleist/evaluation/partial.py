"""Scores of label images against a truth in which not every nucleus is labelled."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from nucleist.data.complete import mask_of
from nucleist.data.formats.archive import FileTree
from nucleist.data.formats.complete import FILE, Row, area_of, read_complete
from nucleist.data.readers.areas import Names
from nucleist.data.readers.names import IMAGE_SUFFIXES
from nucleist.data.readers.pairing import Pair
from nucleist.metrics import PairScores, per_image_scores
from nucleist.metrics.partial import Area
from nucleist.ops.labels import relabel
from nucleist.training.summary import by_metric
from nucleist.training.task import ScoresAt, scores_at
from nucleist.types import Complete, Prediction, UserError


class TruthAreas:
    """Where true label images hold every nucleus.

    Args:
        complete: True everywhere, False nowhere; None everywhere, or if the folder has a
            `complete.csv` at its top, where that says so: an image without a row nowhere.
        tree: The folder or zip.
        files: The true label images by what they are called: `gt/a.png` for `a_labels.tif`.

    Attributes:
        everywhere: Whether nothing can be incomplete.

    Raises:
        UserError: If `complete.csv` is damaged, or names an image that is not there.
    """

    def __init__(self, complete: bool | None, tree: FileTree, files: Mapping[str, str]):
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._where = ""
        table = f"{tree.top()}{FILE}"
        self._written = complete is None and table in tree.names({".csv"})
        self.everywhere = complete is not False and not self._written
        if not self._written:
            return
        self._where = tree.describe(table)
        names = Names([_named(alias, file) for alias, file in files.items()])
        for row in read_complete(tree.read(table), self._where):
            self._rows[self._find(names, row)].append(row)

    def _find(self, names: Names, row: Row) -> str:
        """The true file that a row means, by the name of its image or by its own."""
        where, path = f"{self._where}: line {row.line}", PurePosixPath(_slashed(row.image))
        known = path.suffix.lower() in {*IMAGE_SUFFIXES, ".npy"}
        path = path.with_suffix("") if known else path
        try:
            return names.find(str(path), where)
        except UserError:
            return names.find(path.name, where)  # folders of images and of labels differ

    def of(self, file: str, shape: tuple[int, int]) -> Area:
        """Where a true label image is complete, `(H, W)` `bool`; None if it is everywhere.

        Args:
            file: Its path.
            shape: Its height and width, pixels.

        Raises:
            UserError: If a rectangle lies outside the image.
        """
        if self.everywhere:
            return None
        area: Complete = area_of(self._rows.get(file, ()), shape, self._where)
        return None if area is True else mask_of(area, shape)


def _slashed(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/"))


def _named(alias: str, file: str) -> Pair:
    """A true file under the name of its image and under its own."""
    image = str(PurePosixPath(file).with_name(PurePosixPath(alias).name))
    return Pair(file, image, key=PurePosixPath(file).stem)


def note_of_a_table_beside(truth: str | Path, complete: bool | None) -> list[str]:
    """A line if the folder above the truth has a `complete.csv`, which is not read."""
    folder = Path(truth).expanduser()
    table = folder.parent / FILE
    if complete is not None or not folder.is_dir() or (folder / FILE).exists():
        return []
    if not table.is_file():
        return []
    return [
        f"{table}: not read, so the truth counts as all nuclei; give {folder.parent} as the truth, "
        "or write complete=false"
    ]


class MapScores:
    """Collects the scores of one pair of label maps after another.

    Every measure if all images are complete; otherwise precision, mAP and the like in the
    complete areas, and the scores at labelled nuclei. The measures of NuSeT are of whole images.
    """

    def __init__(self) -> None:
        self._whole, self._whole_rows = PairScores(), list[dict[str, Any]]()
        self._some, self._some_rows = scores_at((0.5,)), list[dict[str, Any]]()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The scores of each image that are defined for it."""
        return self._whole_rows if self._all_whole else self._some_rows

    @property
    def _all_whole(self) -> bool:
        return len(self._whole_rows) == len(self._some_rows)

    def add(self, name: str, true: np.ndarray, pred: np.ndarray, area: Area) -> None:
        """Add an image.

        Args:
            name: Its name.
            true: `(H, W)` label map with all nuclei of the area, 0 background.
            pred: `(H, W)` label map.
            area: `(H, W)` `bool`, where it is complete; None if it is everywhere.
        """
        if area is None and self._all_whole:
            self._whole_rows.append({"image": name, **self._whole.add(true, pred)})
        self._some.update([_prediction(pred)], [true], [area], known=[None])
        self._some_rows.append({"image": name, **per_image_scores(true, pred, area)})

    def summary(self) -> dict[str, Any]:
        """`{"map": {"pooled": ..., "per_image": ...}, ..., "labelled_nuclei": ...}`."""
        if self._all_whole:
            means = self._whole.means().items()
            rounded = {name: {how: round(v, 6) for how, v in both.items()} for name, both in means}
            return {**rounded, **self._whole.numbers()}
        values = {name: float(value) for name, value in self._some.compute().items()}
        found = by_metric(ScoresAt(0.5, values))
        del found["score_threshold"]  # label images have no scores
        judged = {key: sum(int(row.get(key, 0)) for row in self.rows) for key in _JUDGED}
        return {**found, **(judged if "map" in found else {})}


_JUDGED = ("nuclei", "detections")
"""Numbers in the complete areas."""


def _prediction(labels: np.ndarray) -> Prediction:
    """A label map as detections that all count."""
    numbered, ids = relabel(torch.from_numpy(labels.astype(np.int64)))
    return {
        "label_map": numbered,
        "scores": torch.ones(len(ids)),
        "boxes": torch.zeros(len(ids), 4),
    }
