"""Which file of a folder is an image, which holds labels, and of which image: by names alone.

What a file is follows from the folder it is in (`images/`, `labels/`, `masks/`, `rois/`), else from
the end of its name (`a.png` and `a_labels.tif`, `a_masks.png`, `a_cp_masks.png`, `a.zip`).
Labels belong to the image with the same name, extension aside; a folder of masks (`masks/a/*`,
`a_masks/*`, `a/masks/*`) belongs to the image of the folder's name. Folders `train`, `val` and
`test` name the split and are otherwise ignored.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from nucleist.types import UserError

IMAGE_SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}
ROI_SUFFIXES = {".zip", ".roi"}

_IMAGE_FOLDERS = {"images", "image", "imgs", "img", "raw"}
_LABEL_FOLDERS = {
    *("labels", "label", "masks", "mask", "rois", "roi", "gt", "ground_truth", "annotations")
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LABEL_END = re.compile(r"(?i)[._ -](cp_masks?|labels?|masks?|seg|instances|gt|rois?|roiset)$")
_OUTPUT_END = re.compile(r"(?i)_(cp_output|flows|overlay|outlines)$")
"""What tools write beside their results: pictures, neither images nor labels."""


def is_annotation(stem: str, stems: Collection[str]) -> bool:
    """Whether a file is about an image beside it: `a_masks` where there is an `a`.

    Args:
        stem: The file's name without its suffix.
        stems: Those of all files in its folder.
    """
    ends = (pattern.sub("", stem) for pattern in (LABEL_END, _OUTPUT_END))
    return any(short != stem and short in stems for short in ends)


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
    """

    id: str
    image: str
    labels: str | None = None
    nuclei: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True)
class _File:
    name: str
    kind: str  # image, labels
    split: str | None
    folders: tuple[str, ...]  # without those that name kind or split
    stem: str


def pair(
    names: Iterable[str], where: str, images: str | None = None, labels: str | None = None
) -> tuple[list[Pair], list[str]]:
    """Pair images and labels.

    Args:
        names: All files, relative POSIX paths; those of other kinds are ignored.
        where: The root, for messages.
        images: Folder in which the images are; None to recognise them by name.
        labels: Folder in which the labels are; None to recognise them by name.

    Returns:
        A pair for every image, sorted by id, and the label files whose image is not there.

    Raises:
        UserError: If two images or two label files claim the same name.
    """
    files = [file for name in sorted(names) if (file := _classify(name, images, labels))]
    pairs: dict[tuple[str | None, str], Pair] = {}
    for file in files:
        if file.kind == "image":
            key = (file.split, "/".join((*file.folders, file.stem)))
            if key in pairs:
                raise _twice(where, pairs[key].image, file.name)
            pairs[key] = Pair("", file.name, split=file.split)
    orphans = []
    for file in files:
        if file.kind == "labels" and not _attach(file, pairs, where):
            orphans.append(file.name)
    return _named(pairs), orphans


def split_of(name: str) -> str | None:
    """The split that a path's folders, or else the words of its file name, name."""
    path = PurePosixPath(name)
    words = [*path.parts[:-1], *re.split("[^a-z]+", path.stem.lower())]
    return next((_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS), None)


def is_among_images(name: str) -> bool:
    """Whether a path has a folder that marks images: `test/images/a.png`."""
    return any(folder.lower() in _IMAGE_FOLDERS for folder in PurePosixPath(name).parts[:-1])


def _classify(name: str, images: str | None, labels: str | None) -> _File | None:
    path = PurePosixPath(name)
    suffix, stem, folders = path.suffix.lower(), path.stem, list(path.parts[:-1])
    if suffix not in IMAGE_SUFFIXES | ROI_SUFFIXES or _OUTPUT_END.search(stem):
        return None
    kind = None
    for own, prefix in (("labels", labels), ("image", images)):
        parts = list(PurePosixPath(prefix).parts) if prefix is not None else None
        if kind is None and parts is not None and folders[: len(parts)] == parts:
            kind, folders = own, folders[len(parts) :]
    if kind is None:
        kind, folders = _by_names(folders, stem)
        if (kind == "image" and images is not None) or (kind == "labels" and labels is not None):
            return None
    if kind == "image" and suffix in ROI_SUFFIXES:
        kind = "labels"
    split = next((_SPLITS[f.lower()] for f in folders if f.lower() in _SPLITS), None)
    folders = [folder for folder in folders if folder.lower() not in _SPLITS]
    return _File(name, kind, split, tuple(folders), stem)


def _by_names(folders: list[str], stem: str) -> tuple[str, list[str]]:
    """Kind of a file, and its folders without the one that names the kind."""
    for place in reversed(range(len(folders))):
        word = folders[place].lower()
        if word in _IMAGE_FOLDERS | _LABEL_FOLDERS:
            rest = folders[:place] + folders[place + 1 :]
            return ("image" if word in _IMAGE_FOLDERS else "labels"), rest
        if LABEL_END.search(word):  # a folder of masks, a_masks/
            return "labels", folders
    return ("labels" if LABEL_END.search(stem) else "image"), folders


def _attach(file: _File, pairs: dict[tuple[str | None, str], Pair], where: str) -> bool:
    """Give labels to their image; returns whether there is one."""
    for whole, key in _keys(file, pairs):
        splits = [key_split for key_split, there in pairs if there == key]
        if file.split is not None:
            splits = [file.split] if file.split in splits else []
        if len(splits) != 1:
            continue
        at = (splits[0], key)
        held = pairs[at]
        folder = file.name.rpartition("/")[0] + "/"
        if held.labels is not None and (whole or held.labels != folder):
            raise _twice(where, held.labels, file.name)
        nuclei = () if whole else (*held.nuclei, file.name)
        pairs[at] = replace(held, labels=file.name if whole else folder, nuclei=nuclei)
        return True
    return False


def _keys(file: _File, pairs: Collection[tuple[str | None, str]]) -> list[tuple[bool, str]]:
    """Images a label file may belong to, likeliest first; False if as one nucleus of it."""
    short = LABEL_END.sub("", file.stem)
    stems = [file.stem, short, f"{short}_img", f"{short}_image"]
    keys = [(True, "/".join((*file.folders, stem))) for stem in stems]
    if short.lower() in ("roiset", "rois"):  # named by no image: that of the only one beside it
        beside = {key for _, key in pairs if tuple(key.split("/")[:-1]) == file.folders}
        keys += [(True, key) for key in beside if len(beside) == 1]
    if file.folders and PurePosixPath(file.name).suffix.lower() in IMAGE_SUFFIXES:
        *above, last = file.folders
        for folder in (last, LABEL_END.sub("", last)):
            keys.append((False, "/".join((*above, folder))))
            keys.append((False, "/".join((*above, folder, folder))))  # a/images/a.png, a/masks/*
    # Last, the name alone, whatever the folders, if a single image has it.
    alike = {key for _, key in pairs if key.split("/")[-1] in stems}
    return keys + [(True, key) for key in alike if len(alike) == 1]


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
