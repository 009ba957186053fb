"""Whom the labels come from: in which order a person outlines nuclei who will stop before the end.

A policy is an order of the nuclei of an image. The first of them are kept, as many as are asked
for, so that a larger share contains the smaller and all policies keep equally many.

- `random`: in the order of hashes (`nucleist.data.choosing`), as if labels were missing at random.
- `clustered`: from a corner of the image on, by the distance of the centroid. The corner is one of
  four, by a hash of seed and image.
- `easy_first`: those first that are seen best, by `ease`. The seed decides between equal ones.
- `per_image`: in the order of hashes, but of each image the same number, not the same share.
"""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from nucleist.data.choosing import by_hash, digest, nucleus_ids
from nucleist.types import Record

POLICIES = ("random", "clustered", "easy_first", "per_image")

RING = 5
"""Width of the ring around a nucleus to whose brightness it is compared, pixels."""


def in_order(record: Record, policy: str, seed: int) -> list[int]:
    """Ids of the nuclei of an image, those first that would be outlined first.

    Args:
        record: The image as it is stored, with all its labels.
        policy: Of `POLICIES`.
        seed: Seed of hashes and corners.
    """
    ids = by_hash(nucleus_ids(record.labels), seed, record.id)
    if policy not in ("clustered", "easy_first") or len(ids) < 2:
        return ids
    if policy == "clustered":
        last = _distance_from_a_corner(record.labels, seed, record.id)
    else:
        last = {i: -value for i, value in ease(record.image, record.labels).items()}
    return sorted(ids, key=lambda i: last[i])  # a stable sort: equal ones stay in order of hashes


def _distance_from_a_corner(labels: np.ndarray, seed: int, image_id: str) -> dict[int, float]:
    corner = digest(seed, image_id, "corner")[0] % 4
    height, width = labels.shape
    y, x = (height - 1) * (corner // 2), (width - 1) * (corner % 2)
    rows, cols = np.nonzero(labels)
    ids = labels[rows, cols]
    count = np.bincount(ids)
    dy, dx = (np.bincount(ids, p) / np.maximum(count, 1) for p in (rows, cols))
    return {i: float((dy[i] - y) ** 2 + (dx[i] - x) ** 2) for i in nucleus_ids(labels)}


def ease(image: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """How easily a nucleus is seen and outlined: contrast x isolation x wholeness.

    - Contrast: the difference between the mean brightness (mean of the channels) of the nucleus and
      of the ring of `RING` pixels around it that is in no nucleus and nearest to this one; the mean
      of all background if there is no such pixel. Nuclei may be brighter (fluorescence) or darker
      (H&E) than what surrounds them.
    - Isolation: `g / (g + d)`, `g` the pixels between it and the nearest other nucleus and `d` the
      diameter of the disc of its area: 0 if they touch, 1/2 at one diameter, 1 if it is alone.
    - Wholeness: 0 if a pixel of it lies on the border of the image, else 1.

    Args:
        image: `(H, W, 3)` of any numbers; their scale does not matter for the order.
        labels: `(H, W)` `int32` label map of all nuclei.

    Returns:
        At least 0, by id.
    """
    ids = nucleus_ids(labels)
    if not ids:
        return {}
    gray = image.reshape(*labels.shape, -1).mean(-1, dtype=np.float64)
    distance, place = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    nearest = labels[tuple(place)]
    area = np.bincount(labels.ravel())
    isolation = _isolation(nearest, distance, area)
    border = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    contrast = _contrast(gray, labels, np.where(distance <= RING, nearest, 0))
    value = contrast * isolation * ~np.isin(np.arange(len(area)), border)
    return {i: float(value[i]) for i in ids}


def _contrast(gray: np.ndarray, labels: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Difference in brightness by id; `near` has the id of each pixel that is in or around one."""
    size, background = int(labels.max()) + 1, labels == 0
    inside = np.bincount(labels.ravel(), gray.ravel(), size) / _counts(labels.ravel(), size)
    around = np.bincount(near[background], gray[background], size)
    pixels = np.bincount(near[background], minlength=size)
    everywhere = gray[background].mean() if background.any() else 0.0
    return np.abs(inside - np.where(pixels > 0, around / np.maximum(pixels, 1), everywhere))


def _counts(values: np.ndarray, size: int) -> np.ndarray:
    return np.maximum(np.bincount(values, minlength=size), 1)


def _isolation(nearest: np.ndarray, distance: np.ndarray, area: np.ndarray) -> np.ndarray:
    """`g / (g + d)` by id.

    How it works: the shortest way from a nucleus to its nearest neighbour crosses the line between
    what is nearest to the one and to the other, so only neighbouring pixels there are compared.
    """
    gap = np.full(len(area), np.inf)
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        first, second = nearest[one], nearest[other]
        at = first != second
        way = distance[one][at] + distance[other][at]
        np.minimum.at(gap, first[at], way)
        np.minimum.at(gap, second[at], way)
    diameter = np.sqrt(4 * np.maximum(area, 1) / np.pi)
    return np.where(np.isinf(gap), 1.0, gap / (np.where(np.isinf(gap), 0, gap) + diameter))


def quotas(nuclei: Mapping[str, int], total: int, seed: int) -> dict[str, int]:
    """Share a number of labels out among images, to each the same number.

    Args:
        nuclei: Of each image.
        total: Labels in all.
        seed: Decides which images get one more than others.

    Returns:
        For each image at most as many as it has. A larger total gives none of them less.

    >>> quotas({"a": 9, "b": 2, "c": 9}, 10, seed=0)
    {'a': 4, 'b': 2, 'c': 4}
    """
    left = min(total, sum(nuclei.values()))
    found = dict.fromkeys(nuclei, 0)
    order = sorted(nuclei, key=lambda name: (digest(seed, name, "quota"), name))
    while left:
        for name in order:
            if left and found[name] < nuclei[name]:
                found[name] += 1
                left -= 1
    return found
