"""Which file of a folder is an image, which holds labels, and of which image: by names alone.

What a file is follows from the folder it is in (`images/`, `labels/`, `masks/`, `rois/`), else from
the end of its name (`a.png` and `a_labels.tif`, `a_masks.png`, `a_cp_masks.png`, `a.zip`). A name
that ends like labels or like a picture of results is an image all the same if other labels are
named after it in full (`slide_roi.tif` and `slide_roi_labels.tif`).

Labels belong to the image with the same name, extension aside; a folder of masks or of ROIs
(`masks/a/*`, `a_masks/*`, `a/masks/*`, `rois/a/*.roi`) belongs to the image of the folder's name.
Extensions inside a name (`a.ome.tif`, `a.tif_labels.png`) and the form in which Unicode is written
(composed or not) do not matter. Folders `train`, `val` and `test` name the split and are otherwise
ignored. Outlines of QuPath (`a.geojson`) and Cellpose (`a_seg.npy`) are the labels of an image that
has no others; those of `nucleist annotate` (`a.nucleist.geojson`) go before all others. Outlines
called `a_complete` are no labels, but regions of `a`.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from nucleist.data.readers.names import (
    IMAGE_FOLDERS,
    IMAGE_SUFFIXES,
    LABEL_END,
    LABEL_FOLDERS,
    OUTLINE_SUFFIXES,
    OUTPUT_END,
    OWN_END,
    REGION_END,
    ROI_SUFFIXES,
    SPLITS,
    is_roi,
    is_seg,
    plain,
)
from nucleist.types import UserError


@dataclass(frozen=True)
class Pair:
    """An image and what holds its labels.

    Attributes:
        id: Name of the image: the file's without extension, with the folder's or the split's
            before it where that is not unique.
        image: The image's file, relative to the root.
        labels: The file or folder that holds its labels; None if there is none.
        nuclei: Of a folder of masks, its files, sorted.
        split: Named by the folders: `train`, `val`, `test`, or None.
        key: The image's path without extension and without the folders that name kind or split:
            it depends on no other file.
        regions: Files of outlines in which all nuclei are labelled.
    """

    id: str
    image: str
    labels: str | None = None
    nuclei: tuple[str, ...] = ()
    split: str | None = None
    key: str = ""
    regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What belongs to what.

    Attributes:
        pairs: One for each image, sorted by id.
        orphans: Label files whose image is not there.
        pictures: Pictures of results that tools wrote beside images: no image and no labels.
        spare: Labels that are not used, because the image has others that go before them.
    """

    pairs: list[Pair]
    orphans: list[str]
    pictures: list[str]
    spare: list[str]


@dataclass(frozen=True)
class _File:
    name: str
    kind: str  # image, labels, region
    split: str | None
    folders: tuple[str, ...]  # without those that name kind or split
    stem: str
    doubt: str = ""  # "end": labels by the end of its name alone; "picture": perhaps neither

    @property
    def short(self) -> str:
        """The stem without the end that marks labels: `a` of `a_labels`."""
        return LABEL_END.sub("", plain(self.stem))

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def picture(self) -> bool:
        return PurePosixPath(self.name).suffix.lower() in IMAGE_SUFFIXES

    @property
    def second(self) -> bool:
        """Whether it is used only where there are no other labels."""
        suffix = PurePosixPath(self.name).suffix.lower()
        return not self.own and (suffix in OUTLINE_SUFFIXES or is_seg(self.name))

    @property
    def own(self) -> bool:
        """Whether it is used before all other labels."""
        return self.name.lower().endswith(OWN_END)


@dataclass
class _Images:
    """Pairs by split and key (folders and stem), and the ways to look a key up."""

    pairs: dict[tuple[str | None, str], Pair] = field(default_factory=dict)
    splits: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    plain: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, file: _File, where: str) -> None:
        key = "/".join((*file.folders, file.stem))
        if (file.split, key) in self.pairs:
            raise _twice(where, self.pairs[file.split, key].image, file.name)
        self.pairs[file.split, key] = Pair("", file.name, split=file.split, key=key)
        self.splits[key].append(file.split)
        for stem in {file.stem, plain(file.stem)}:
            self.names[stem].add(key)
        self.plain["/".join((*file.folders, plain(file.stem)))].add(key)


def pair(
    names: Iterable[str], where: str, images: str | None = None, labels: str | None = None
) -> Found:
    """Pair images and labels.

    Args:
        names: All files, relative POSIX paths; those of other kinds are ignored.
        where: The root, for messages.
        images: Folder in which the images are; None to recognise them by name.
        labels: Folder in which the labels are; None to recognise them by name.

    Raises:
        UserError: If two images or two label files claim the same name.
    """
    files = [file for name in sorted(names) if (file := _classify(name, images, labels))]
    files, pictures = _settled(files)
    found = _Images()
    for file in files:
        if file.kind == "image":
            found.add(file, where)
    orphans: list[str] = []
    spare: list[str] = []
    for file in sorted(files, key=lambda file: (not file.own, file.second)):  # then by name
        if file.kind != "image" and not _attach(file, found, where, spare):
            orphans.append(file.name)
    return Found(_named(found.pairs), sorted(orphans), pictures, spare)


def _classify(name: str, images: str | None, labels: str | None) -> _File | None:
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    suffix, stem, folders = path.suffix.lower(), path.stem, list(path.parts[:-1])
    picture = suffix in IMAGE_SUFFIXES
    if not picture and suffix not in ROI_SUFFIXES | OUTLINE_SUFFIXES and not is_seg(name):
        return None
    kind, doubt = None, ""
    for own, prefix in (("labels", labels), ("image", images)):
        parts = list(PurePosixPath(prefix).parts) if prefix is not None else None
        if kind is None and parts is not None and folders[: len(parts)] == parts:
            kind, folders = own, folders[len(parts) :]
    if kind is None:
        kind, folders, doubt = _by_names(folders, plain(stem))
        if (kind == "image" and images is not None) or (kind == "labels" and labels is not None):
            return None
    if not picture:
        kind, doubt = "labels", ""
    elif OUTPUT_END.search(plain(stem)):
        doubt = "picture"
    split = next((SPLITS[f.lower()] for f in folders if f.lower() in SPLITS), None)
    folders = [folder for folder in folders if folder.lower() not in SPLITS]
    return _File(name, kind, split, tuple(folders), stem, doubt)


def _settled(files: list[_File]) -> tuple[list[_File], list[str]]:
    """The files, those in doubt as what they are, without the pictures; and the pictures."""
    images = {plain(file.stem) for file in files if file.kind == "image"}
    sure = {plain(file.stem) for file in files if file.kind == "image" and not file.doubt}
    about = {file.short for file in files if file.doubt != "picture"} | sure
    labels = [file for file in files if file.kind == "labels" and file.doubt != "picture"]
    beside = {(file.folder, file.short) for file in labels if file.short != plain(file.stem)}
    beside |= {(f.folder, plain(f.stem)) for f in labels if not f.doubt and is_roi(f.name)}
    in_full = {plain(f.stem) for f in labels if not f.doubt} | {f.short for f in labels}
    in_full |= {LABEL_END.sub("", plain(f.folders[-1])) for f in labels if f.folders}  # masks/a/*
    kept, pictures = [], []
    for file in files:
        stem = plain(file.stem)
        if file.doubt == "picture" and stem not in in_full:
            if OUTPUT_END.sub("", stem) in about:
                pictures.append(file.name)
                continue
        elif REGION_END.search(stem) and not file.picture and stem not in images:
            file = replace(file, kind="region", stem=REGION_END.sub("", stem))
        elif file.doubt == "end":
            alone = file.short not in sure and stem in in_full
            roi = re.search(r"(?i)rois?$", stem) and (file.folder, stem) in beside
            if alone or roi:
                file = replace(file, kind="image")
        kept.append(file)
    return kept, pictures


def _by_names(folders: list[str], stem: str) -> tuple[str, list[str], str]:
    """Kind of a file, its folders without the one that names the kind, and "end" if doubtful."""
    for place in reversed(range(len(folders))):
        word = folders[place].lower()
        if word in IMAGE_FOLDERS | LABEL_FOLDERS:
            rest = folders[:place] + folders[place + 1 :]
            return ("image" if word in IMAGE_FOLDERS else "labels"), rest, ""
        if LABEL_END.search(word):  # a folder of masks, a_masks/
            outer = [i for i in range(place) if folders[i].lower() in LABEL_FOLDERS]
            return "labels", [f for i, f in enumerate(folders) if i not in outer[-1:]], ""
    return ("labels", folders, "end") if LABEL_END.search(stem) else ("image", folders, "")


def _attach(file: _File, images: _Images, where: str, spare: list[str]) -> bool:
    """Give labels to their image, or to `spare`; returns whether there is an image."""
    for whole, key in _keys(file, images):
        splits = images.splits.get(key, [])
        if file.split is not None:
            splits = [file.split] if file.split in splits else []
        if len(splits) != 1:
            continue
        at = (splits[0], key)
        held = images.pairs[at]
        if file.kind == "region":
            images.pairs[at] = replace(held, regions=(*held.regions, file.name))
            return True
        folder = file.folder + "/"
        if held.labels is not None and (file.second or held.labels.lower().endswith(OWN_END)):
            spare.append(file.name)
            return True
        if held.labels is not None and (whole or held.labels != folder):
            raise _twice(where, held.labels, file.name)
        nuclei = () if whole else (*held.nuclei, file.name)
        images.pairs[at] = replace(held, labels=file.name if whole else folder, nuclei=nuclei)
        return True
    return False


def _keys(file: _File, images: _Images) -> list[tuple[bool, str]]:
    """Images a label file may belong to, likeliest first; False if as one nucleus of it."""
    short = file.short
    stems = [file.stem, short, f"{short}_img", f"{short}_image"]
    keys = [(True, "/".join((*file.folders, stem))) for stem in stems]
    for stem in (plain(file.stem), plain(short)):  # a.ome.tif and a_labels.tif
        keys += _only(images.plain.get("/".join((*file.folders, stem)), set()))
    if short.lower() in ("roiset", "rois"):  # named by no image: that of the only one beside it
        beside = {key for key in images.splits if tuple(key.split("/")[:-1]) == file.folders}
        keys += _only(beside)
    one_nucleus = IMAGE_SUFFIXES | {".roi"}
    if file.folders and PurePosixPath(file.name).suffix.lower() in one_nucleus:
        *above, last = file.folders
        for folder in (last, LABEL_END.sub("", last)):
            keys.append((False, "/".join((*above, folder))))
            keys.append((False, "/".join((*above, folder, folder))))  # a/images/a.png, a/masks/*
            at = "/".join((*above, plain(folder)))
            keys += [(False, key) for _, key in _only(images.plain.get(at, set()))]
    # Last, the name alone, whatever the folders, if a single image has it.
    return keys + _only(
        set().union(*(images.names.get(stem, set()) for stem in [*stems, plain(short)]))
    )


def _only(keys: set[str]) -> list[tuple[bool, str]]:
    return [(True, key) for key in keys if len(keys) == 1]


def _named(pairs: dict[tuple[str | None, str], Pair]) -> list[Pair]:
    """Give ids: the shortest of three kinds of names that is unique for each image."""
    stems = [key.split("/")[-1] for _, key in pairs]
    paths = [key.replace("/", "_") for _, key in pairs]
    named = []
    for (split, _), stem, path, held in zip(pairs, stems, paths, pairs.values(), strict=True):
        name = stem if stems.count(stem) == 1 else path
        if name == path and paths.count(path) > 1:
            name = f"{split}_{path}" if split else path
        named.append(replace(held, id=name, nuclei=tuple(sorted(held.nuclei))))
    return sorted(named, key=lambda pair: pair.id)


def _twice(where: str, first: str, second: str) -> UserError:
    return UserError(f"{where}: {first} and {second} claim the same name; remove one or rename it")
