"""More labelled nuclei in a training image: those of other images are pasted into it.

After Ghiasi et al., *Simple Copy-Paste is a Strong Data Augmentation Method*, CVPR 2021. With
few labels a training image shows one or two labelled nuclei among many unknown ones; pasted
ones are labelled for certain, and stand at the border as often as anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Exemplar:
    """A labelled nucleus: `(h, w, 3)` `float32` pixels and its mask `(h, w)` `bool`."""

    image: np.ndarray
    mask: np.ndarray


def exemplars(images: Iterable[Pair]) -> list[Exemplar]:
    """Cut the labelled nuclei out, with a margin of 2 px for a soft edge.

    Not those that the border cuts: in the middle of an image they would have a straight side.

    Args:
        images: `(H, W, 3)` images and `(H, W)` label maps.
    """
    found = []
    for image, labels in images:
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is None or _at_border(box, labels.shape):
                continue
            rows, cols = (slice(max(part.start - 2, 0), part.stop + 2) for part in box)
            found.append(Exemplar(image[rows, cols].copy(), labels[rows, cols] == number))
    return found


def _at_border(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(p.start == 0 or p.stop == side for p, side in zip(box, shape, strict=True))


def paste(
    image: np.ndarray,
    labels: np.ndarray,
    pool: list[Exemplar],
    most: int,
    rng: np.random.Generator,
) -> Pair:
    """Put up to `most` nuclei of the pool where no labelled nucleus is.

    Args:
        image: `(H, W, 3)` `float32` in [0, 1].
        labels: `(H, W)` `int32`; 0 and negative values are no nucleus.
        pool: Nuclei to choose from, each as likely as the others.
        most: Their number is uniform in `0 .. most`.
        rng: Decides everything.

    Returns:
        New image and label map; the pasted nuclei have new ids and cover what lay below.
    """
    image, labels = image.copy(), labels.copy()
    for _ in range(int(rng.integers(0, most + 1)) if pool else 0):
        nucleus = _turned(pool[int(rng.integers(len(pool)))], rng)
        for _ in range(5):  # tries to find a free place
            row, col = (int(rng.integers(side)) for side in labels.shape)
            if _put(image, labels, nucleus, row, col):
                break
    return image, labels


def _turned(nucleus: Exemplar, rng: np.random.Generator) -> Exemplar:
    """One of the eight symmetries of the square."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    image, mask = np.rot90(nucleus.image, turns), np.rot90(nucleus.mask, turns)
    return Exemplar(image[::-1], mask[::-1]) if flip else Exemplar(image, mask)


def _put(image: np.ndarray, labels: np.ndarray, nucleus: Exemplar, row: int, col: int) -> bool:
    """Paste with the middle at a pixel; False, and nothing done, on a labelled nucleus."""
    spans = []
    for middle, side, size in zip((row, col), labels.shape, nucleus.mask.shape, strict=True):
        start = middle - size // 2
        low, high = max(start, 0), min(start + size, side)
        spans.append((slice(low, high), slice(low - start, high - start)))
    there = spans[0][0], spans[1][0]
    here = spans[0][1], spans[1][1]
    mask = nucleus.mask[here]
    if not mask.any() or (labels[there][mask] > 0).any():
        return False
    soft = ndimage.gaussian_filter(nucleus.mask.astype(np.float32), 1.0)[here]
    soft[labels[there] > 0] = 0  # the edge must not shade a labelled nucleus
    alpha = np.where(mask, 1.0, soft)[..., None].astype(np.float32)
    image[there] = alpha * nucleus.image[here] + (1 - alpha) * image[there]
    labels[there][mask] = labels.max(initial=0) + 1
    return True
