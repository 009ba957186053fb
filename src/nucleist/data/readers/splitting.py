"""Which images are for training, validation and test, where no folder says so: a hash of each.

A split must not depend on what else lies in a folder: with a shuffle, an image that is added moves
others from the test images to the training images, and a model is tested on what it has learnt.
"""

import hashlib
import json
from collections.abc import Mapping


def place_of(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on a name and a seed alone, for each name another.

    The first 53 bits of SHA-256 of the JSON list `[seed, name]`: the same on every machine.
    """
    digest = hashlib.sha256(json.dumps([seed, name]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_by_name(
    names: Mapping[str, str], shares: Mapping[str, float], seed: int, closed: frozenset[str]
) -> dict[str, str]:
    """Split of each image: consecutive parts of [0, 1), the rest for training.

    Images of one name, those of a group, have one split. At least one name is for training: that
    with the largest number, if each has another split.

    Args:
        names: Of each image, by its id; what the hash is made of.
        shares: Of each split but `train`, in order; their sum is below 1.
        seed: Of the hash.
        closed: Splits that get no image; their part of [0, 1) is for training.

    Returns:
        By id: `train` or a split of `shares`.
    """
    places = {image_id: place_of(name, seed) for image_id, name in names.items()}
    found = dict.fromkeys(names, "train")
    end = 0.0
    for split, share in shares.items():
        start, end = end, end + share
        if split not in closed:
            inside = [image_id for image_id, place in places.items() if start <= place < end]
            found |= dict.fromkeys(inside, split)
    if found and "train" not in found.values():
        last = max(places.values())
        found |= {image_id: "train" for image_id, place in places.items() if place == last}
    return found
