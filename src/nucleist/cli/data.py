"""`nucleist data`: list, show, check, convert and download data sets."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nucleist.cli.words import Words, count, read, switch, text, wants_help
from nucleist.types import UserError

if TYPE_CHECKING:
    from nucleist.data.problems import Report

HELP = """usage: nucleist data VERB [WHAT] [key=value ...] [-o PLACE]

  list      where each data set is looked for, and the images and nuclei of its splits
  show      a contact sheet: kept labels in colour, the others gray
  check     read every image and report what is wrong with it
  prepare   convert to images and 16-bit label PNGs
  download  fetch a published data set, whole and checked

  nucleist data list
  nucleist data check my_images

WHAT is the name of a data set, or a folder of your own images. Data sets are looked for in
data_root=FOLDER, else in the folder that the environment variable NUCLEIST_DATA names, else in
data/. nucleist data VERB --help explains the verb.
"""

HELP_OF = {
    "list": """usage: nucleist data list [NAME ...] [key=value ...]

  nucleist data list quick=true
  nucleist data list bbbc360 kumar data_root=../shared/data

Prints where each data set is looked for, and the images and nuclei of its splits; of one that is
missing how to get it. Without a NAME, all data sets.

  quick=true    count images alone, not nuclei
""",
    "show": """usage: nucleist data show WHAT -o SHEET.png [key=value ...]

  nucleist data show bbbc360 -o sheet.png data.annotation_fraction=0.25
  nucleist data show kumar -o sheet.png split=test images=6 data_root=../shared/data

Draws images on one page. Of training images the labels that are kept are in colour, the others
thin and gray; other splits have all labels in colour.

  split=train       the split
  images=20         at most so many, spread over the split
  overwrite=true    replace an earlier sheet
""",
    "check": """usage: nucleist data check WHAT [-o PAIRS.png] [key=value ...]

  nucleist data check my_images
  nucleist data check bbbc360 -o pairs.png data_root=../shared/data

Reads every image and reports what is wrong: images that cannot be used are errors (exit status
2), what a person should look at are warnings (0). Of a folder it prints which image goes with
which labels, and how many images are complete: every nucleus is labelled.

Images of two splits that were cut from one field, or that show the same, are warnings too: a test
on them is too easy. How much of a split they touch is said at the end.

  -o PAIRS.png      draw some of these pairs
  overwrite=true    replace an earlier picture
""",
    "prepare": """usage: nucleist data prepare WHAT -o FOLDER [key=value ...]

  nucleist data prepare kumar -o prepared/kumar data_root=../shared/data
  nucleist train prepared/kumar

Writes images and 16-bit label PNGs, by split, into a new folder, and complete.csv, which names the
images or rectangles of which every nucleus is labelled.
""",
    "download": """usage: nucleist data download NAME [-o FOLDER] [key=value ...]

  nucleist data download tnbc
  nucleist data download bbbc038 -o /data/bbbc038 url=http://mirror/stage1_train.zip

Fetches a published data set to where it is looked for (-o: elsewhere), or prints how to get it
by hand.

  url=ADDRESS            another address of the same file
  checksum=sha256:HEX    or md5:HEX; unknown checks none
""",
}


PARTIAL = (
    "not complete: where not every nucleus is labelled for sure, a pixel without label counts as "
    "unknown, not as background; if all are labelled, add data.source.complete=true, list images "
    "in complete.csv, or draw regions called complete"
)


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns the exit status."""
    verbs = {"list": list_sets, "show": show, "check": check, "prepare": prepare, "download": fetch}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    verb = arguments[0]
    if verb not in verbs:
        raise UserError(f"data: there is no {verb!r}; use one of {', '.join(verbs)}")
    if wants_help(arguments):
        print(HELP_OF[verb], end="")
        return 0
    words = read(f"data {verb}", arguments[1:])
    if verb == "list":
        words.no_place()
    verbs[verb](words)
    return 0


def list_sets(words: Words) -> None:
    """Print a table of data sets; of one that is missing how to get it."""
    quick = words.take(quick=switch).get("quick", False)
    from nucleist.data.catalog import list_data_sets

    found = list_data_sets(words.what or None, words.settings, quick, _progress())
    rows = [("data set", "split", "images", "nuclei", "place")]
    for one in found:
        name, place = one.name, one.place or "needs no files"
        for split, images, nuclei in one.splits:
            unknown = "-" if quick else "?"
            rows.append(
                (name, split, str(images), unknown if nuclei is None else str(nuclei), place)
            )
            name = place = ""
        if one.problem:
            rows.append((name, "-", "-", "-", one.problem))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        left, right = row[:2], row[2:4]
        cells = [*map(str.ljust, left, widths[:2]), *map(str.rjust, right, widths[2:]), row[4]]
        print("  ".join(cells).rstrip())


def show(words: Words) -> None:
    """Draw a contact sheet."""
    own = words.take(split=text, images=count, overwrite=switch)
    what, output = words.one("data set or folder"), words.place()
    from nucleist.plots.sheets import show_data_set

    print(show_data_set(what, output, overrides=words.settings, progress=_progress(), **own))


def check(words: Words) -> None:
    """Print every problem of a data set.

    Raises:
        UserError: If there is an error, not for warnings.
    """
    own = words.take(overwrite=switch)
    what = words.one("data set or folder")
    from nucleist.data.catalog import check_data_set, open_source

    if words.output is not None:  # only then: pictures need torch
        from nucleist.plots.neighbours import check_place, draw_pairs

        check_place(words.output, **own)
    report = check_data_set(what, words.settings, _progress())
    if report.pairing:
        print(report.pairing)
    for kind, lines in (("error", report.errors), ("warning", report.warnings)):
        for line in lines:
            print(f"{kind}: {line}")
    for split, (images, nuclei) in report.counts.items():
        print(f"{split}: {images} images, {nuclei} nuclei{_completeness(report, split)}")
    if any(part or nowhere for _, part, nowhere in report.complete.values()):
        print(PARTIAL)
    for line in report.leaks.summary():
        print(line)
    print(f"errors: {len(report.errors)}, warnings: {len(report.warnings)}")
    if words.output is not None:
        source = open_source(what, words.settings)
        print(draw_pairs(source, report.leaks.across, words.output))
    if report.errors:
        total = sum(images for images, _ in report.counts.values())
        raise UserError(
            f"{what}: {len(report.errors)} of {total} images cannot be used; mend or remove "
            f"them, first {report.errors[0]}"
        )


def _completeness(report: "Report", split: str) -> str:
    """How many images of a split are complete, in words; nothing if it has none with labels."""
    if split not in report.complete:
        return ""
    whole, part, nowhere = report.complete[split]
    return f"; complete: {whole}, in part: {part}, not: {nowhere}"


def prepare(words: Words) -> None:
    """Convert a data set to plain files."""
    what, output = words.one("data set or folder"), words.place()
    from nucleist.data.catalog import prepare_data_set

    written = prepare_data_set(what, output, words.settings, _progress())
    counts = ", ".join(f"{split} {images}" for split, images in written.items())
    print(f"{counts}; train on it with: nucleist train {output}", file=sys.stderr)
    print(output)


def fetch(words: Words) -> None:
    """Download a published data set to where it is looked for."""
    own = words.take(url=text, checksum=text)
    name = words.one("data set")
    from nucleist.data.catalog import download_data_set

    settings: dict[str, Any] = {"overrides": words.settings, "progress": _progress()}
    print(download_data_set(name, words.output, **own, **settings))


def _progress() -> Any:
    from nucleist.progress import Console

    return Console()
