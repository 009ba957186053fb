"""Take corrections back: results of `predict` that a person edited become a set to train on."""

import csv
import datetime
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from nucleist import __version__
from nucleist.data.corrections import ADDED, KEPT, MOVED, REJECTED, Change, compare, shapes_of
from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.data.formats.complete import FILE as COMPLETE_FILE
from nucleist.data.formats.complete import write_complete
from nucleist.data.formats.images import write_image
from nucleist.data.formats.label_maps import load_label_map, suffix_for, write_label_map
from nucleist.data.formats.tables import write_table
from nucleist.data.formats.traced import nucleus_id
from nucleist.data.outlines import Shape, compose
from nucleist.data.readers.corrected import SUFFIXES, Read, find_corrected
from nucleist.data.readers.names import IMAGE_SUFFIXES
from nucleist.files import checksum, make_folder, making_folder, write_text
from nucleist.inference import earlier
from nucleist.inference.opened import Item
from nucleist.inference.outputs import title_of
from nucleist.inference.save import ENDS
from nucleist.progress import shown
from nucleist.types import Complete, Progress, UserError, one_of

STATES = (KEPT, MOVED, ADDED, REJECTED)
LINES, SUMMARY = "corrections.csv", "corrections.yaml"
"""Where the set says what became of each nucleus, and where all is from."""

COLUMNS = ("image", "label", "uuid", "state", "origin", "score", "iou", "boundary_shift_px")
"""Of `corrections.csv`: a line for each nucleus. `label` is that in the set, of a rejected nucleus
that of the prediction; `origin` is `model` for a kept outline, else `person`."""


@dataclass(frozen=True)
class Imported:
    """What was taken back.

    Attributes:
        folder: The set.
        kept: Number of nuclei with the same outline as before.
        moved: Number of those with a changed outline.
        added: Number of those that were not predicted.
        rejected: Number of predicted ones that were removed.
        boundary_shift: Mean distance of the changed outlines from before, pixels; 0 without any.
        images: Number of nuclei by state, by file name of the image.
    """

    folder: Path
    kept: int
    moved: int
    added: int
    rejected: int
    boundary_shift: float
    images: Mapping[str, Mapping[str, int]]


class _Image(NamedTuple):
    """An image with results: their name, its file, and what is recorded about them."""

    name: str
    file: Path
    line: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its name in tables and in COCO."""
        return title_of(self.file, self.line)


def import_corrections(
    folder: str | Path,
    form: str,
    output: str | Path,
    *,
    results: str | Path | None = None,
    images: str | Path | None = None,
    complete: bool = False,
    progress: bool | Progress = False,
) -> Imported:
    """Take corrected outlines back and write a set of images and labels to train on.

    A nucleus is recognised by its UUID, which selections of ImageJ, features of QuPath and COCO
    annotations carry, else by its overlap. What was not touched keeps its pixels exactly.

    Args:
        folder: Holds the corrected files. Images without one are left out.
        form: What they are: `imagej`, `geojson`, `splines`, `coco`, `labels` or `cellpose`.
        output: The set: a new folder with `images/`, `labels/`, `corrections.csv`,
            `corrections.yaml` and perhaps `complete.csv`. It is written whole or not at all.
        results: Folder in which `predict` wrote the results; None: `folder`.
        images: Folder of the images, if they are not any more where they were predicted.
        complete: Whether in these images every nucleus is labelled now. If not, pixels without
            label may be nuclei, but for regions called `complete` in the corrected files.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        How many nuclei were kept, moved, added and rejected.

    Raises:
        UserError: If a file is missing or damaged, or the set is there already.
    """
    one_of("from", form, tuple(SUFFIXES))
    watcher, place = shown(progress), Path(folder).expanduser()
    target = Path(output).expanduser()
    origin = place if results is None else Path(results).expanduser()
    known = _known(origin, images)
    if not place.is_dir():
        raise UserError(f"{place}: no such folder; give the folder of the corrected files")
    found = find_corrected(place, form, {one.name: one.title for one in known})
    if not found:
        ends = " or ".join(SUFFIXES[form])
        raise UserError(
            f"{place}: no corrected files ({ends}) of the {len(known)} images of {origin}; save "
            f"them there as NAME{SUFFIXES[form][0]}"
        )
    chosen = {one.name: one for one in known if one.name in found}
    with making_folder(target) as temporary:
        gathered = _Gathered(temporary, origin, complete, watcher)
        for name in watcher.watch(list(chosen), "importing"):
            gathered.add(chosen[name], *found[name])
        gathered.end(form)
    if left := len(known) - len(chosen):
        watcher.note(f"{place}: {left} of {len(known)} images have no corrected file; left out")
    return gathered.imported(target)


class _Gathered:
    """The set while it is written into a temporary folder."""

    def __init__(self, folder: Path, results: Path, complete: bool, progress: Progress) -> None:
        self._folder, self._results, self._progress = folder, results, progress
        self._complete = complete
        self._counts: dict[str, Counter[str]] = {}
        self._shifts: list[float] = []
        self._rows: list[list[object]] = []
        self._areas: dict[str, Complete] = {}
        self._sources: dict[str, dict[str, str]] = {}

    def add(self, one: _Image, file: str, read: Read) -> None:
        """Write an image with its corrected labels."""
        if earlier.image_hash(one.file) != one.line["image"]:
            raise UserError(
                f"{one.file}: is not there, or not the image that was predicted; bring it back, "
                "or add images=FOLDER"
            )
        exported = _exported(one, self._results, file, self._progress)
        origin = earlier.origin_of(one.line)
        ids = {nucleus_id(origin, nucleus.id): nucleus.id for nucleus in exported}
        shape = int(one.line["height"]), int(one.line["width"])
        corrected = read(shape)
        changes = _numbered(compare(exported, ids, corrected.nuclei))
        shapes = [change.shape for change in changes if change.shape is not None]
        labels, overlaps = compose(shape, shapes)
        image = _copied(one, make_folder(self._folder / "images"))
        stem = Path(image).stem
        write_label_map(self._folder / "labels" / f"{stem}{suffix_for(labels)}", labels)
        self._counts[image] = Counter(change.state for change in changes)
        self._shifts += [change.shift for change in changes if change.state == MOVED]
        self._rows += _rows(one, image, changes, self._results)
        self._areas[stem] = self._complete or corrected.complete
        hashes = {key: one.line[key] for key in ("image", "settings")}
        self._sources[image] = {"corrected": file, "predicted": str(one.file), **hashes}
        for line in (*corrected.notes, *overlaps):
            self._progress.note(f"{file}: {line}")
        self._progress.note(f"{image}: {_words(self._counts[image])}")

    def end(self, form: str) -> None:
        """Write what became of each nucleus, where all is from, and what is complete."""
        write_table(self._folder / LINES, COLUMNS, self._rows)
        if any(self._areas.values()):
            write_complete(self._folder / COMPLETE_FILE, self._areas)
        found = self.imported(self._folder)
        summary = {
            "nucleist": __version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "from": form,
            **{state: getattr(found, state) for state in STATES},
            "boundary_shift_px": round(found.boundary_shift, 4),
            "images": self._sources,
        }
        write_text(self._folder / SUMMARY, yaml.safe_dump(summary, sort_keys=False))

    def imported(self, folder: Path) -> Imported:
        """The numbers of all images."""
        total = sum(self._counts.values(), Counter[str]())
        shift = float(np.mean(self._shifts)) if self._shifts else 0.0
        each = {image: dict(counts) for image, counts in self._counts.items()}
        kept, moved, added, rejected = (total[state] for state in STATES)
        return Imported(folder, kept, moved, added, rejected, shift, each)


def _copied(one: _Image, folder: Path) -> str:
    """Copy an image into the set, or what of its file was outlined; returns the new file's name.

    A set holds what its labels are of: the chosen channel, a plane, a file that training reads.
    """
    choice = Choice(*one.line.get("choice", ()))
    part = one.line.get("part", "")
    if not part and choice == CLEAR and one.file.suffix.lower() in IMAGE_SUFFIXES:
        shutil.copyfile(one.file, folder / one.file.name)
        return one.file.name
    with Item(one.file, part).open(choice) as picture:
        return write_image(folder / one.name, picture.read(picture.whole)).name


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in STATES)


def _known(results: Path, images: str | Path | None) -> list[_Image]:
    """The images of a folder of results."""
    lines = earlier.read(results)
    finished = {name: line for name, line in lines.items() if line["nuclei"] is not None}
    if not finished:
        raise UserError(
            f"{results}: no results of nucleist predict; give their folder, or add results=FOLDER"
        )
    found = []
    for name, line in sorted(finished.items()):
        if "file" not in line:
            raise UserError(
                f"{results}: made by an earlier release, which did not record where the images "
                "are; predict again with overwrite=true"
            )
        file = Path(line["file"])
        found.append(_Image(name, Path(images).expanduser() / file.name if images else file, line))
    return found


def _exported(one: _Image, results: Path, corrected: str, progress: Progress) -> list[Shape]:
    """The nuclei as they were predicted, with their labels; none if they are not known any more."""
    path = results / f"{one.name}{ENDS['labels']}"
    if not path.exists():
        raise UserError(
            f"{path}: is missing, and without it nothing says what was changed; predict again with "
            "save=labels"
        )
    labels = load_label_map(path)
    if one.line.get("labels") not in (None, checksum([("labels", [labels])])):
        progress.warn(
            f"{path}: is not any more what was predicted, so all nuclei of {corrected} count as "
            "added; save corrected labels beside it by another name"
        )
        return []
    return shapes_of(labels)


def _numbered(changes: list[Change]) -> list[Change]:
    """The changes, whose shapes have the labels of the prediction, and new ones those above."""
    highest = max((change.label or 0 for change in changes), default=0)
    found = []
    for change in changes:
        if change.shape is not None:
            highest += change.label is None
            number = highest if change.label is None else change.label
            change = change._replace(shape=change.shape._replace(id=number))
        found.append(change)
    return found


def _rows(one: _Image, image: str, changes: list[Change], results: Path) -> list[list[object]]:
    """The lines of `corrections.csv` about an image."""
    scores = _scores(results / f"{one.name}{ENDS['csv']}")
    rows: list[list[object]] = []
    for change in changes:
        label = change.label if change.shape is None else change.shape.id
        known = change.label is not None
        uuid = nucleus_id(earlier.origin_of(one.line), change.label) if change.label else ""
        origin = "model" if change.state in (KEPT, REJECTED) else "person"
        score = scores.get(str(change.label), "")
        iou, shift = (f"{v:.4f}" if known and change.shape else "" for v in change[3:])
        rows.append([image, label, uuid, change.state, origin, score, iou, shift])
    return rows


def _scores(path: Path) -> dict[str, str]:
    """Scores by label from the table of an image; empty if there is none."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row.get("label", ""): row.get("score", "") for row in csv.DictReader(file)}
