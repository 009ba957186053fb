"""How large the nuclei and the pixels of a training were: what prediction rescales images to."""

from collections.abc import Iterable

import numpy as np

from nucleist.data.module import NucleiData


def scale_of(data: NucleiData) -> dict[str, float | None]:
    """What a checkpoint says of the scale of its training.

    Args:
        data: The training's.

    Returns:
        `nucleus_diameter`, the median of the labelled nuclei that training sees, pixels; with
        `supervision="binary"`, which hides the instances, that of their mean area. `pixel_size`,
        micrometres; None if unknown.
    """
    seen = data.train_set
    maps = (seen.partial(image_id)[1] for image_id in seen.ids)
    diameter = typical_diameter(maps, seen.supervision == "binary")
    return {"nucleus_diameter": diameter, "pixel_size": data.source.pixel_size}


def typical_diameter(maps: Iterable[np.ndarray], of_mean: bool = False) -> float | None:
    """Diameter of circles of the nuclei's areas, pixels: the median; None without nuclei.

    Args:
        maps: `(H, W)` label maps.
        of_mean: That of the mean area instead, for which only foreground and count are needed.
    """
    none = np.zeros(0, np.int64)
    counts = [np.bincount(labels[labels > 0]) for labels in maps]
    areas = np.concatenate([none, *(count[count > 0] for count in counts)])
    if not areas.size:
        return None
    return float(2 * np.sqrt((areas.mean() if of_mean else np.median(areas)) / np.pi))
