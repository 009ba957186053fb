"""Write which images of a data set were cut from one field of view, as a table `image,field`.

    python -m scripts.fields bbbc038 -o src/nucleist/data/readers/bbbc038_fields.csv

The data set is looked for as `nucleist data` does. Images that belong to no other are left out. A
field is called after the size of its images and a number, in the order of its first image's id.
"""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nucleist.data.borders import look_at
from nucleist.data.catalog import open_source
from nucleist.data.fields import fields_of, find_pairs
from nucleist.files import write_text
from nucleist.progress import Console
from nucleist.types import Progress, Source


def table_of(source: Source, progress: Progress) -> str:
    """The table, as text.

    Args:
        source: The data set; all images are read.
        progress: Shows how far it is.
    """
    ids = sorted({image_id for some in source.splits().values() for image_id in some})
    looks = {i: look_at(source.read(i).image) for i in progress.watch(ids, "looking")}
    text, numbers = io.StringIO(), Counter[str]()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "field"])
    for some in fields_of(find_pairs(looks)):
        size = "{}x{}".format(*looks[some[0]].size)
        numbers[size] += 1
        writer.writerows([name, f"{size}-{numbers[size]:03d}"] for name in some)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="data set, or folder of images")
    parser.add_argument("settings", nargs="*", help="such as data_root=FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True, help="table to write")
    words = parser.parse_args(arguments)
    write_text(words.output, table_of(open_source(words.name, words.settings), Console()))


if __name__ == "__main__":
    main()
