"""What is wrong with a data set: every image is read, every problem names its image.

Errors are images that cannot be used at all. Warnings are what a person should look at: what the
reader had to decide, images without nuclei, nuclei of one pixel, and images of two splits that
show the same thing or were cut from one field, because a test on them proves little.
"""

from dataclasses import dataclass, field

import numpy as np

from nucleist.data.leaks import UNLABELLED, Leaks, Seen, look_for_leaks, seen, warnings_of
from nucleist.types import Progress, Record, Source, UserError


@dataclass
class Report:
    """What was found in a data set.

    Attributes:
        counts: Images and nuclei of each split.
        complete: How many labelled images of each split are complete, in part complete, and
            nowhere complete; splits without labelled images are left out.
        errors: One line each, with the file.
        warnings: One line each, with split and image, or with the file.
        pairing: Which image was paired with which labels; empty where nothing is paired.
        leaks: Which images belong together, and what of them lies in two splits.
    """

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    complete: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pairing: str = ""
    leaks: Leaks = field(default_factory=Leaks)


def examine(source: Source, progress: Progress | None = None) -> Report:
    """Read every image of a data set and report what is wrong with it.

    Args:
        source: The data set.
        progress: Shows how far it is; None shows nothing.

    Raises:
        UserError: If the data set as a whole cannot be read.
    """
    report = Report(pairing=source.describe_pairing())
    progress = progress or Progress()
    images: dict[str, Seen] = {}
    for split, ids in source.splits().items():
        nuclei, areas = 0, []
        for image_id in progress.watch(ids, split):
            try:
                record = source.read(image_id)
            except UserError as error:
                report.errors.append(str(error))
                continue
            count, oddities = _look_at(record, labelled=split != UNLABELLED)
            nuclei += count
            areas.append(record.complete)
            report.warnings += [f"{split}/{image_id}: {text}" for text in oddities]
            if split != UNLABELLED:
                images[image_id] = seen(record)
        report.counts[split] = len(ids), nuclei
        if areas and split != UNLABELLED:
            whole, nowhere = (sum(area is one for area in areas) for one in (True, False))
            report.complete[split] = whole, len(areas) - whole - nowhere, nowhere
    report.leaks = look_for_leaks(source, images)
    report.warnings += _shared_names(source)
    report.warnings += warnings_of(source, report.leaks)
    report.warnings += source.problems()
    return report


def _look_at(record: Record, labelled: bool) -> tuple[int, list[str]]:
    """Number of nuclei, and what is odd about them."""
    areas = np.unique(record.labels[record.labels > 0], return_counts=True)[1]
    oddities = list(record.notes) if labelled else []
    if labelled and not len(areas):
        oddities.append("no nuclei; remove the image if that is a mistake")
    if single := int(np.count_nonzero(areas == 1)):
        oddities.append(
            f"{single} of {len(areas)} nuclei have one pixel; look for slips of the pen"
        )
    return len(areas), oddities


def _shared_names(source: Source) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for split, ids in source.splits().items():
        for image_id in ids:
            if first.setdefault(image_id, split) != split:
                found.append(f"{split}/{image_id}: is in {first[image_id]} too; keep one of them")
    return found
