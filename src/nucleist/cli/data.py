"""`nucleist data`: see what data sets are there, look at them, check, convert and download them."""

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from nucleist.cli.parser import Parser
from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.annotation import Annotation, Window
from nucleist.data.downloads import PUBLISHED, download
from nucleist.data.prepare import prepare
from nucleist.data.problems import examine
from nucleist.plots import LabelledImage, contact_sheet
from nucleist.types import Record, Source, UserError

HELP = """usage: nucleist data VERB [NAME] [key=value ...]

  list      what is there: place, images and nuclei of each split
  show      a contact sheet: kept labels in colour, the rest gray
  check     read every image and tell what is wrong, by name
  prepare   convert to images and 16-bit label PNGs
  download  fetch a published data set, checked and whole or not at all

  nucleist data list
  nucleist data check folder data.source.root=my_images

nucleist data VERB --help tells more. Data sets are looked for in data_root=FOLDER, or the
environment variable NUCLEIST_DATA, or data/.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns the exit status."""
    verbs = {"list": list_sets, "show": show, "check": check, "prepare": convert, "download": fetch}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if arguments[0] not in verbs:
        raise UserError(f"data: there is no {arguments[0]!r}; use one of {', '.join(verbs)}")
    verbs[arguments[0]](arguments[1:])
    return 0


def list_sets(arguments: Sequence[str]) -> None:
    """Print a table of data sets; one that is missing says how to get it."""
    parser = _Parser(
        "list",
        "Print where each data set is looked for, and the images and nuclei of its splits.",
        "nucleist data list --quick",
        "nucleist data list bbbc360 kumar data_root=../shared/data",
    )
    parser.add_argument("--quick", action="store_true", help="count images only")
    options, names, overrides = parser.parse(arguments)
    rows = [("data set", "split", "images", "nuclei", "place")]
    for name in names or known():
        rows += _rows(name, configure(name, overrides), options.quick)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, split, images, nuclei, place in rows:
        numbers = f"{images:>{widths[2]}}  {nuclei:>{widths[3]}}"
        print(f"{name:<{widths[0]}}  {split:<{widths[1]}}  {numbers}  {place}".rstrip())


def _rows(name: str, config: DictConfig, quick: bool) -> list[tuple[str, str, str, str, str]]:
    """One line a split; a line with the reason if the data set cannot be read."""
    rows: list[tuple[str, str, str, str, str]] = []
    try:
        source: Source = build(config.data.source)
        for split, ids in source.splits().items():
            first = not rows
            row = (name if first else "", split, str(len(ids)), _place(config) if first else "")
            rows.append((*row[:3], "-" if quick else "?", row[3]))
            if not quick:
                nuclei = sum(_count(source.read(i)) for i in _watch(ids, f"{name} {split}"))
                rows[-1] = (*row[:3], str(nuclei), row[3])
    except UserError as error:
        rows.append(("" if rows else name, "-", "-", "-", str(error)))
    return rows


def show(arguments: Sequence[str]) -> None:
    """Draw a contact sheet."""
    parser = _Parser(
        "show",
        "Draw images of a data set on one page: kept labels in colour, the rest thin and gray.",
        "nucleist data show bbbc360 -o sheet.png data.annotation_fraction=0.25",
        "nucleist data show kumar -o sheet.png --split test --images 6 data_root=../shared/data",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="the PNG to write")
    parser.add_argument("--split", default="train", help="default: train")
    parser.add_argument("--images", type=int, default=20, help="at most so many (default 20)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier sheet")
    options, names, overrides = parser.parse(arguments)
    config = configure(parser.one(names), overrides)
    if options.output.suffix.lower() != ".png":
        raise UserError(f"{options.output}: the sheet is a PNG; let -o end in .png")
    if options.output.exists() and not options.overwrite:
        raise UserError(f"{options.output}: is there already; choose another or add --overwrite")
    if options.images < 1:
        raise UserError(f"--images {options.images}: give 1 or more")
    partial = _annotation(config) if options.split == "train" else None
    source: Source = build(config.data.source)
    ids = source.splits().get(options.split, [])
    if not ids:
        there = ", ".join(split for split, some in source.splits().items() if some)
        raise UserError(f"{names[0]}: no images in split {options.split!r}; there is {there}")
    # Spread over the set, for neighbours in a list tend to look alike.
    chosen = np.linspace(0, len(ids) - 1, min(options.images, len(ids))).round().astype(int)
    records = (source.read(ids[i]) for i in _watch(list(chosen), "drawing"))
    contact_sheet(options.output, [_item(record, partial) for record in records])
    print(options.output)


def _annotation(config: DictConfig) -> Annotation:
    data = config.data
    return Annotation(
        data.annotation_fraction,
        data.exemplars,
        data.crop_fraction,
        data.annotation_seed,
        data.manifest,
    )


def _item(record: Record, partial: Annotation | None) -> LabelledImage:
    if partial is None:
        return LabelledImage(record.image, truth=record.labels, title=record.id)
    choice = partial.choose(record)
    if isinstance(choice, Window):
        kept = np.zeros_like(record.labels)
        window = np.s_[choice.y0 : choice.y1, choice.x0 : choice.x1]
        kept[window] = record.labels[window]
    else:
        kept = np.where(np.isin(record.labels, choice), record.labels, 0)
    return LabelledImage(record.image, kept, record.labels, title=record.id)


def check(arguments: Sequence[str]) -> None:
    """Print every problem of a data set.

    Raises:
        UserError: If there is an error, not for warnings.
    """
    parser = _Parser(
        "check",
        "Read every image and tell what is wrong: errors (exit status 2) and warnings (0).",
        "nucleist data check bbbc038 data_root=../shared/data",
        "nucleist data check folder data.source.root=my_images",
    )
    _, names, overrides = parser.parse(arguments)
    config = configure(parser.one(names), overrides)
    source: Source = build(config.data.source)
    if pairing := source.describe_pairing():
        print(pairing)
    report = examine(source, lambda ids, split: _watch(ids, f"{names[0]} {split}"))
    warnings = [*report.warnings, *source.problems()]
    for kind, lines in (("error", report.errors), ("warning", warnings)):
        for line in lines:
            print(f"{kind}: {line}")
    for split, (images, nuclei) in report.counts.items():
        print(f"{split}: {images} images, {nuclei} nuclei")
    print(f"errors: {len(report.errors)}, warnings: {len(warnings)}")
    if report.errors:
        total = sum(images for images, _ in report.counts.values())
        raise UserError(
            f"{names[0]}: {len(report.errors)} of {total} images cannot be used; mend or remove "
            f"them, first {report.errors[0]}"
        )


def convert(arguments: Sequence[str]) -> None:
    """Convert a data set to plain files."""
    parser = _Parser(
        "prepare",
        "Write images and 16-bit label PNGs, by split, as data=folder reads them.",
        "nucleist data prepare kumar -o prepared/kumar data_root=../shared/data",
        "nucleist train data=folder data.source.root=prepared/kumar",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder, new or empty")
    options, names, overrides = parser.parse(arguments)
    source: Source = build(configure(parser.one(names), overrides).data.source)
    written = prepare(source, options.output, _watch)
    told = ", ".join(f"{split} {count}" for split, count in written.items())
    left = {s: len(ids) for s, ids in source.splits().items() if ids and s not in written}
    told += "".join(f"; left out: {split} {count}" for split, count in left.items())
    print(f"{told}; use it with data=folder data.source.root={options.output}", file=sys.stderr)
    print(options.output)


def fetch(arguments: Sequence[str]) -> None:
    """Download a published data set to where it is looked for."""
    parser = _Parser(
        "download",
        f"Fetch a published data set ({', '.join(PUBLISHED)}), or say how to get it by hand.",
        "nucleist data download tnbc",
        "nucleist data download bbbc038 -o /data/bbbc038 --url http://mirror/stage1_train.zip",
    )
    parser.add_argument("-o", "--output", type=Path, help="folder; default: where it is looked for")
    parser.add_argument("--url", help="another address of the same file")
    parser.add_argument("--checksum", help="sha256:<hex> or md5:<hex>; unknown to check none")
    options, names, overrides = parser.parse(arguments)
    name = parser.one(names)
    source = configure(name, overrides).data.source
    if OmegaConf.is_missing(source, "root"):
        raise UserError(f"{name}: is no published data set; nothing to download")
    root = source.get("root")
    if root is None:
        raise UserError(f"{name}: is drawn as needed; there is nothing to download")
    # Variants such as bbbc360 lie in the folder that has the name of what was published.
    folder = Path(root).name
    entry = folder if folder in PUBLISHED and name not in PUBLISHED else name
    shown = Console(stderr=True).is_terminal
    print(download(entry, options.output or root, options.url, options.checksum, shown))


def known() -> list[str]:
    """Names of the data sets: the files in `conf/data`."""
    files = (
        Path(file.name) for file in resources.files("nucleist.conf").joinpath("data").iterdir()
    )
    return sorted(file.stem for file in files if file.suffix == ".yaml" and file.stem != "base")


def configure(name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a data set.

    Raises:
        UserError: For an unknown data set or key, with the nearest that exists.
    """
    names = known()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
        raise UserError(f"there is no data set {name!r}; {hint}")
    return compose("train", [*overrides, f"data={name}"])


def _place(config: DictConfig) -> str:
    source = config.data.source
    source = source.get("source", source)  # of a data set that shows another one's images
    return str(source.get("root") or "drawn, needs no files")


def _count(record: Record) -> int:
    return len(np.unique(record.labels[record.labels > 0]))


def _watch(items: Sequence[Any], title: str) -> Iterable[Any]:
    """Pass items on under a progress bar, on a terminal."""
    console = Console(stderr=True)
    return track(items, title, console=console, disable=not console.is_terminal, transient=True)


class _Parser(Parser):
    """Options of one verb, names and `key=value` in any order; one line if they are wrong."""

    def __init__(self, verb: str, description: str, *examples: str):
        super().__init__(
            f"nucleist data {verb}", description, "\n  ".join(("examples:", *examples))
        )
        self.add_argument("words", nargs="*", metavar="NAME or key=value", help=", ".join(known()))

    def parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
        """Options, names and overrides."""
        options = self.parse_intermixed_args(list(arguments))
        names = [word for word in options.words if "=" not in word]
        return options, names, [word for word in options.words if "=" in word]

    def one(self, names: Sequence[str]) -> str:
        """The only name."""
        if len(names) != 1:
            self.error(f"{len(names)} data sets named; name one of {', '.join(known())}")
        return names[0]
