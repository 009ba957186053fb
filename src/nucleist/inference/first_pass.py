"""`diameter=auto`: how large the nuclei are, from those that are found at the image's own scale."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nucleist.data.pictures.picture import Picture
from nucleist.inference.outline import outline
from nucleist.inference.scaling import Scaling
from nucleist.models.net import Net
from nucleist.types import Progress, Window

FEWEST = 3
"""From fewer nuclei nothing is concluded."""

LOOKED_AT = 2048
"""Side of the window in the middle of a large image that the first pass looks at, pixels."""


def settled(
    net: Net,
    normalize: Callable[[np.ndarray], np.ndarray],
    picture: Picture,
    asked: Scaling,
    threshold: float,
    progress: Progress,
) -> Scaling:
    """What was said of the scale, with a number in place of `diameter=auto`.

    Args:
        net: In any mode.
        normalize: Of images.
        picture: As it was opened.
        asked: What the user said.
        threshold: Nuclei with a higher score are measured.
        progress: Gets a line if too few were found.

    Returns:
        With the median of the diameters of circles as large as the nuclei; without a diameter if
        fewer than `FEWEST` are found.
    """
    if asked.diameter != "auto":
        return asked
    found = outline(net, normalize(picture.read(_middle(picture))), threshold)
    large = (found["scores"] > threshold).nonzero()[:, 0].cpu().numpy() + 1
    areas = np.bincount(found["label_map"].cpu().numpy().ravel(), minlength=1)
    areas = areas[large[large < len(areas)]]
    areas = areas[areas > 0]
    if len(areas) < FEWEST:
        progress.note(f"{picture.name}: diameter=auto found {len(areas)} nuclei, not rescaled")
        return replace(asked, diameter=None)
    return replace(asked, diameter=round(2 * float(np.sqrt(np.median(areas) / np.pi)), 1))


def _middle(picture: Picture) -> Window:
    """The whole of a picture, or the middle of a large one."""
    height, width = min(picture.height, LOOKED_AT), min(picture.width, LOOKED_AT)
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    return Window(top, left, top + height, left + width)
