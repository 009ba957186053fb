"""Which labelled nuclei a training does not see, so that validation can look for them.

Where few images are labelled in part, none can be spared for validation. Some of their labelled
nuclei are taken out of the labels instead: for the training they are unknown, like all that nobody
outlined.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

from nucleist.data.choosing import digest
from nucleist.types import UserError, one_of


def hold_out(kept: Mapping[str, Sequence[int]], share: float, seed: int) -> dict[str, list[int]]:
    """Choose nuclei over all training images.

    They are ranked by a hash of seed, image and nucleus, and the first are taken, so a larger share
    contains the smaller. The last labelled nucleus of an image stays, unless no image has two; one
    stays in any case.

    Args:
        kept: Ids of the labelled nuclei of each training image.
        share: Of all labelled nuclei, in (0, 1).
        seed: Seed of the order.

    Returns:
        Ids by image, ascending, of `max(1, round(share * n))` nuclei if there are so many that may
        be taken; of none if there is a single labelled nucleus.

    Raises:
        UserError: If the share is not in (0, 1).

    >>> hold_out({"a": [1, 2, 3], "b": [7]}, 0.25, seed=0)["b"]
    []
    """
    is_number = isinstance(share, Real) and not isinstance(share, bool)
    if not is_number or not 0 < share < 1:
        raise UserError(f"data.held_out={share} is not a share; give a number above 0 and below 1")
    ranked = sorted(
        ((image, int(nucleus)) for image, ids in kept.items() for nucleus in ids),
        key=lambda one: (digest(seed, "held out", *one), one),
    )
    wanted = min(max(1, round(share * len(ranked))), len(ranked) - 1)
    left = {image: len(ids) for image, ids in kept.items()}
    found: dict[str, list[int]] = {image: [] for image in kept}
    spare = 1 if any(count > 1 for count in left.values()) else 0
    for image, nucleus in ranked:
        if wanted > 0 and left[image] > spare:
            found[image].append(nucleus)
            left[image] -= 1
            wanted -= 1
    return {image: sorted(ids) for image, ids in found.items()}


def checked_validation(asked: str | None, supervision: str, has_images: bool) -> str:
    """On what a training is validated: `"images"` or `"nuclei"`.

    Args:
        asked: What the setting says; None takes images where there are any, else nuclei.
        supervision: `"instances"` or `"binary"`.
        has_images: Whether the data set has validation images.

    Raises:
        UserError: If that is not possible, or unknown.
    """
    one_of("data.validation", asked, (None, "images", "nuclei"))
    if asked == "nuclei" and supervision == "binary":
        raise UserError(
            "data.validation=nuclei takes nuclei out of the labels, so that they are "
            "background with data.supervision=binary; give validation images (data.splits.val)"
        )
    if asked == "images" and not has_images:
        raise UserError(
            "data.validation=images: the data set has no validation images; put some into a "
            "folder called val, or write data.validation=nuclei"
        )
    return asked or ("images" if has_images or supervision == "binary" else "nuclei")
