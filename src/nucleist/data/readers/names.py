"""What names of files and folders say: kinds of files, splits, stems without ends.

Unicode may be composed or not (macOS writes it decomposed); names are compared composed.
"""

import re
import unicodedata
from collections.abc import Collection
from pathlib import PurePosixPath

IMAGE_SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}
ROI_SUFFIXES = {".zip", ".roi"}
OUTLINE_SUFFIXES = {".geojson", ".json"}
SEG_END = "_seg.npy"
"""What Cellpose stores beside an image."""

IGNORED_SUFFIXES = {
    *("", ".md", ".txt", ".pdf", ".html", ".csv", ".tsv", ".xlsx", ".docx", ".sha256", ".md5"),
    *(".bib", ".yaml", ".yml", ".toml", ".log", ".py", ".ipynb", ".ini", ".db", ".lnk", ".ckpt"),
}
"""Of texts, tables and what systems leave: certainly neither images nor labels."""

IMAGE_FOLDERS = {"images", "image", "imgs", "img", "raw"}
LABEL_FOLDERS = {
    *("labels", "label", "masks", "mask", "rois", "roi", "gt", "ground_truth", "annotations")
}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LABEL_END = re.compile(
    r"(?i)([._ -](cp_masks?|labels?|label_?(map|image)s?|masks?|seg|segmentation|instances?"
    r"|annotations?|gt|rois?|roiset|splines)|\.nucleist)$"
)
OWN_END = ".nucleist.geojson"
"""What `nucleist annotate` stores beside an image: it goes before all other labels."""

REGION_END = re.compile(r"(?i)[._ -]complete$")
"""Of outlines that are no nuclei: in them all nuclei are labelled."""

OUTPUT_END = re.compile(r"(?i)_(cp_output|flows|overlay|outlines)$")
"""What tools write beside their results: pictures, neither images nor labels."""

_INNER_SUFFIX = re.compile(
    r"(?i)(\.(ome|tiff?|png|jpe?g|bmp|czi|nd2|lif|lsm|svs|vsi|oib|oif|ics))+$"
)


def is_annotation(stem: str, stems: Collection[str]) -> bool:
    """Whether a file is about an image beside it: `a_masks` where there is an `a`.

    Not if it is an image with labels of its own: `a_roi` where there is an `a_roi_labels`.

    Args:
        stem: The file's name without its suffix.
        stems: Those of all files in its folder, a set if there are many.
    """
    if any(f"{stem}_{end}" in stems for end in ("labels", "masks", "cp_masks", "mask", "label")):
        return False
    shorts = {
        pattern.sub("", one)
        for one in (stem, plain(stem))
        for pattern in (LABEL_END, OUTPUT_END)
        if pattern.search(one)
    }
    return any(
        unicodedata.normalize(form, short) + inner in stems
        for short in shorts
        for form in ("NFC", "NFD")
        for inner in ("", ".ome", ".tif")
    )


def plain(stem: str) -> str:
    """A stem without extensions inside it, in composed Unicode: `a` of `a.ome`."""
    stem = unicodedata.normalize("NFC", stem)
    return _INNER_SUFFIX.sub("", stem) or stem


def split_of(name: str) -> str | None:
    """The split that a path's folders, or else the words of its file name, name."""
    path = PurePosixPath(name)
    words = [*path.parts[:-1], *re.split("[^a-z]+", path.stem.lower())]
    return next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), None)


def is_among_images(name: str) -> bool:
    """Whether a path has a folder that marks images: `test/images/a.png`."""
    return any(folder.lower() in IMAGE_FOLDERS for folder in PurePosixPath(name).parts[:-1])


def is_roi(name: str) -> bool:
    """Whether a file holds ROIs of ImageJ, by its suffix."""
    return PurePosixPath(name).suffix.lower() in ROI_SUFFIXES


def is_seg(name: str) -> bool:
    """Whether a file is what Cellpose stores beside an image."""
    return name.lower().endswith(SEG_END)
