"""What is wrong with a data set: every image is read, every problem names its image.

Errors are images that cannot be used at all. Warnings are what a person should look at: what the
reader had to decide, images without nuclei, nuclei of one pixel, and images of two splits that
show the same thing, because a test on them proves nothing.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from nucleist.types import Progress, Record, Source, UserError

SIDE = 32
"""Blocks a side in which images are compared."""

ALIKE = 0.95
"""Correlation from which two images count as the same. Between the splits of BBBC038 it is at
most 0.63, of Kumar's images 0.08; brightness, noise and file format hardly change it."""

UNLABELLED = "unlabelled"
"""Split of images that have no labels on purpose."""


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
    """

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    complete: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pairing: str = ""


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
    seen: dict[str, dict[str, np.ndarray]] = {}
    for split, ids in source.splits().items():
        nuclei, seen[split], areas = 0, {}, []
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
            seen[split][image_id] = block_means(record.image)
        report.counts[split] = len(ids), nuclei
        if areas and split != UNLABELLED:
            whole, nowhere = (sum(area is one for area in areas) for one in (True, False))
            report.complete[split] = whole, len(areas) - whole - nowhere, nowhere
    report.warnings += [*_shared_names(source), *_alike(seen), *source.problems()]
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


def block_means(image: np.ndarray) -> np.ndarray:
    """Normalised means of 32 x 32 blocks: the dot product of two such vectors is a correlation.

    Args:
        image: `(H, W, 3)`, any number type.

    Returns:
        `(1024,)` `float32` with mean 0 and length 1, or all 0 if the image is flat.
    """
    gray = Image.fromarray(image.astype(np.float32).mean(2))
    blocks = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX)).ravel()
    blocks = blocks - blocks.mean()
    length = float(np.linalg.norm(blocks))
    flat = length <= 1e-5 * SIDE * float(np.abs(image).max(initial=0))  # rounding is no content
    return np.zeros_like(blocks) if flat else blocks / length


def _shared_names(source: Source) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for split, ids in source.splits().items():
        for image_id in ids:
            if first.setdefault(image_id, split) != split:
                found.append(f"{split}/{image_id}: is in {first[image_id]} too; keep one of them")
    return found


def _alike(seen: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Images of different splits that are nearly the same."""
    found = []
    splits = [split for split, images in seen.items() if images and split != UNLABELLED]
    for place, split in enumerate(splits):
        here = np.stack(list(seen[split].values()))
        for other in splits[place + 1 :]:
            names = list(seen[split])
            for image_id, vector in seen[other].items():
                correlation = here @ vector
                best = int(correlation.argmax())
                if correlation[best] >= ALIKE:
                    found.append(
                        f"{other}/{image_id}: shows nearly the same as {split}/{names[best]} "
                        f"(correlation {correlation[best]:.2f}); keep both in one split"
                    )
    return found
