"""`nucleist import`: corrected outlines become a set to train on."""

import sys
from collections.abc import Sequence

from nucleist.cli.words import read, switch, text, wants_help

HELP = """usage: nucleist import FOLDER from=FORM -o SET [key=value ...]

  nucleist predict runs/NAME/ID images/ -o out save=labels,csv,imagej
  (correct out/*_rois.zip in Fiji: ROI Manager, drag anchors, Update, More > Save)
  nucleist import out from=imagej -o corrected
  nucleist train corrected

FOLDER holds corrected files of images that nucleist predict outlined. FORM says what they are:

  imagej     ROI zips of Fiji: NAME_rois.zip
  geojson    objects exported from QuPath: NAME_labels.geojson, NAME.geojson
  splines    NAME_splines.geojson
  coco       json files of COCO, as CVAT exports them
  labels     label images: NAME_masks.tif, NAME_labels.png
  cellpose   NAME_seg.npy, whose pickle is not run

Prints how many outlines were kept, moved, added and rejected, and how far outlines were moved.
SET has images, labels, and for each nucleus in corrections.csv what became of it.

  results=FOLDER   where predict wrote its results, if not in FOLDER
  images=FOLDER    where the images are now
  complete=true    in these images every nucleus is labelled now; else the rest is unknown
"""

SETTINGS = {"from": text, "results": text, "images": text, "complete": switch}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns the exit status."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("import", arguments)
    settings = words.take(**SETTINGS)
    words.nothing_left(SETTINGS)
    folder, output = words.one("FOLDER"), words.place()
    form = settings.pop("from", None)
    if form is None:
        words.refuse("needs from=FORM, such as from=imagej")
    import nucleist
    from nucleist.progress import Console

    found = nucleist.import_corrections(folder, form, output, progress=Console(), **settings)
    print(
        f"kept {found.kept}, moved {found.moved}, added {found.added}, rejected {found.rejected}; "
        f"moved outlines shifted by {found.boundary_shift:.2f} px on average; "
        f"train on them with: nucleist train {output}",
        file=sys.stderr,
    )
    print(output)
    return 0
