"""How many labels, and which: choices by hashes, the same on every machine, and nested.

How it works: every choice comes from SHA-256 of the seed, the image id and (for a nucleus) the
nucleus id, so it is the same in every process, on every machine, with every version of NumPy, and
does not depend on the model or on the order in which images are read. Nuclei are ranked by their
hash and the first of them are kept, so a larger fraction contains the smaller one.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from nucleist.types import UserError, Window


def keep_fraction(ids: Sequence[int], fraction: float, seed: int, image_id: str) -> list[int]:
    """Keep a fraction of the nuclei of an image, at least one.

    Args:
        ids: Ids of all nuclei of the image, in any order.
        fraction: Share to keep, in (0, 1].
        seed: Seed of the order in which nuclei are kept.
        image_id: Name of the image.

    Returns:
        `max(1, round(fraction * n))` ids, ascending; none if there are none. Nested: a larger
        fraction, like a larger count in `keep_exemplars`, contains the smaller.

    Raises:
        UserError: If the fraction is not in (0, 1].

    >>> keep_fraction([1, 2, 3, 4], 0.5, seed=0, image_id="a") == keep_exemplars(
    ...     [4, 3, 2, 1], 2, seed=0, image_id="a")
    True
    """
    check_share("fraction", fraction)
    ranked = by_hash(ids, seed, image_id)
    return sorted(ranked[: number_of(len(ranked), fraction)])


def keep_exemplars(ids: Sequence[int], count: int, seed: int, image_id: str) -> list[int]:
    """Keep a number of nuclei of an image, all of them if there are fewer.

    Args:
        ids: Ids of all nuclei of the image, in any order.
        count: How many to keep, 1 or more.
        seed: Seed of the order in which nuclei are kept.
        image_id: Name of the image.

    Returns:
        The first `count` ids in the order `keep_fraction` uses, ascending.

    Raises:
        UserError: If the count is not a whole number of 1 or more.
    """
    check_count(count)
    return sorted(by_hash(ids, seed, image_id)[:count])


def crop_window(shape: tuple[int, int], crop_fraction: float, seed: int, image_id: str) -> Window:
    """Place a rectangle with a share of the area of an image, uniformly.

    Each side is the image's side times `sqrt(crop_fraction)`, rounded, at least one pixel.

    How it nests: the offset along a side of length `L` is `floor(u * (L - l + 1))`, `l` the side
    of the window and `u` in [0, 1) the same for every fraction. That is uniform over all
    offsets, and for `l + 1` the offset is the same or one less, so the longer side begins no
    later and ends no earlier: a larger window contains the smaller.

    Args:
        shape: Height and width of the image, pixels; more than these two are ignored.
        crop_fraction: Share of the area, in (0, 1]; 0.25 is half the height and half the width.
        seed: Seed of the position.
        image_id: Name of the image.

    Raises:
        UserError: If the share is not in (0, 1].
    """
    check_share("crop_fraction", crop_fraction)
    height, width = (max(1, round(side * math.sqrt(crop_fraction))) for side in shape[:2])
    y0 = int(_uniform(seed, image_id, "y") * (shape[0] - height + 1))
    x0 = int(_uniform(seed, image_id, "x") * (shape[1] - width + 1))
    return Window(y0, x0, y0 + height, x0 + width)


def nucleus_ids(labels: np.ndarray) -> list[int]:
    """Ids of the nuclei of a label map `(H, W)`, ascending."""
    return [int(value) for value in np.unique(labels) if value > 0]


def number_of(nuclei: int, fraction: float) -> int:
    """How many of some nuclei a fraction is: at least one, if there is one."""
    return min(nuclei, max(1, round(fraction * nuclei)))


def by_hash(ids: Iterable[int], seed: int, image_id: str) -> list[int]:
    """Ids of an image in the order of their hashes, each once."""
    unique = {int(value) for value in ids}
    return sorted(unique, key=lambda value: (digest(seed, image_id, value), value))


def digest(*key: object) -> bytes:
    """SHA-256 of the parts of a key, each as text: the same on every machine."""
    # JSON keeps apart what concatenation would mix up: ("a1", 2) and ("a", 12).
    return hashlib.sha256(json.dumps([str(part) for part in key]).encode()).digest()


def _uniform(*key: object) -> float:
    return (int.from_bytes(digest(*key)[:8], "big") >> 11) / 2**53  # [0, 1), 53 bits


def check_share(name: str, value: object) -> None:
    """Refuse what is not a share in (0, 1].

    Raises:
        UserError: With the key `data.NAME`.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) <= 1:  # type: ignore[arg-type]
        name = {"fraction": "data.annotation_fraction"}.get(name, f"data.{name}")
        raise UserError(f"{name}={value} is not a share; give a number above 0 and at most 1")


def check_count(value: object) -> None:
    """Refuse what is not a number of exemplars.

    Raises:
        UserError: If it is not a whole number of 1 or more.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"data.exemplars={value} is not a count; give a whole number of 1 or more")
