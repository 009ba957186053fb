"""A contact sheet of a data set: kept labels in colour, the others thin and gray."""

from pathlib import Path

import numpy as np

from nucleist.data.catalog import Overrides, open_annotated
from nucleist.data.complete import mask_of
from nucleist.plots.overlay import LabelledImage, contact_sheet
from nucleist.progress import shown
from nucleist.types import Progress, Source, UserError


def show_data_set(
    data: str | Path | Source,
    output: str | Path,
    split: str = "train",
    images: int = 20,
    overwrite: bool = False,
    overrides: Overrides = (),
    progress: bool | Progress = False,
) -> Path:
    """Draw images of a data set on one page, spread evenly over a split.

    Training images show which labels training may see (`data.annotation_fraction=0.25` and the
    like among the overrides) in colour and the hidden ones in gray; other splits show all labels.

    Args:
        data: A data set's name, a folder of your own images, or a source.
        output: The PNG to write.
        split: Of the data set.
        images: At most so many, 1 or more.
        overwrite: Whether to replace a file that is there.
        overrides: Settings, such as `data_root=FOLDER`.
        progress: True shows a bar on stderr.

    Returns:
        The file.

    Raises:
        UserError: If the file is there already or cannot be written, the data set cannot be
            read, or the split has no images.
    """
    output = Path(output)
    if output.suffix.lower() != ".png":
        raise UserError(f"{output}: the sheet is a PNG; choose a name that ends in .png")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: is there already; choose another name, or overwrite it")
    if images < 1:
        raise UserError(f"images={images}: give 1 or more")
    source, annotation = open_annotated(data, overrides)
    ids = source.splits().get(split, [])
    if not ids:
        there = ", ".join(name for name, some in source.splits().items() if some)
        raise UserError(f"{data}: no images in split {split!r}; there is {there}")
    # Spread over the set, because neighbours in a list tend to look alike.
    chosen = np.linspace(0, len(ids) - 1, min(images, len(ids))).round().astype(int)
    items = []
    for image_id in shown(progress).watch([ids[i] for i in chosen], "drawing"):
        record = source.read(image_id)
        kept = annotation.visible(record) if split == "train" else None
        height, width = record.labels.shape
        complete = mask_of(record.complete, (height, width))
        item = LabelledImage(record.image, kept, record.labels, title=record.id, complete=complete)
        items.append(item)
    contact_sheet(output, items)
    return output
