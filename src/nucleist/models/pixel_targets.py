"""What the pixels of a batch should be, for nets that learn maps and ignore the unknown.

Source of the weights: Yang et al., *NuSeT*, PLoS Computational Biology 2020.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from nucleist.models.map_net import stack_target_maps
from nucleist.ops.borders import border_weights, event_weights, like_band, near, separated
from nucleist.types import BinaryTarget, Target, one_of

BACKGROUNDS = ("similar", "near", "all")
"""What of an image is background, see `with_background`."""


WEIGHTS = ("borders", "events")
"""Weights of the pixels in the cross-entropy, see `weighing`."""

Weigh = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Weights from a label map and what is known, `(H, W)` each."""


def weighing(kind: str, height: float, variance: float) -> Weigh:
    """The function that gives the pixels their weights.

    Args:
        kind: `"borders"`: more for background between two nuclei, see
            `nucleist.ops.borders.border_weights`. `"events"`: more for nuclei that are rare, and
            for what is around them, see `nucleist.ops.borders.event_weights`.
        height: Of the first.
        variance: Of the first, px^2.

    Raises:
        UserError: If `kind` is another.
    """
    one_of("model.loss_weights", kind, WEIGHTS)
    if kind == "events":
        return event_weights
    return partial(border_weights, height=height, variance=variance)


AnyTarget = TypeVar("AnyTarget", Target, BinaryTarget)


class PixelTargets(NamedTuple):
    """What a batch's pixels should be, `(B, H, W)` each; padding is not known.

    Attributes:
        inside: `float32`, 1 in nuclei.
        weights: `float32`, of the cross-entropy.
        known: bool, pixels that the losses count.
    """

    inside: Tensor
    weights: Tensor
    known: Tensor


def pixel_targets(targets: Sequence[Target], weigh: Weigh, size: Sequence[int]) -> PixelTargets:
    """Target maps of a batch, on the CPU.

    Args:
        targets: Of each image, with what is known as `with_background` gives it.
        weigh: From `weighing`.
        size: Height and width of the batch.
    """
    known = [known_pixels(target) for target in targets]
    labels = [separated(target["label_map"].cpu().numpy()) for target in targets]
    weights = [torch.from_numpy(weigh(one, area)) for one, area in zip(labels, known, strict=True)]
    areas = [torch.from_numpy(area) for area in known]
    inside = stack_target_maps([torch.from_numpy(one > 0) for one in labels], areas, size)
    weight = stack_target_maps(weights, None, size).values
    return PixelTargets(inside.values, weight, inside.known)


def with_background(image: Tensor, target: AnyTarget, background: str, band: int) -> AnyTarget:
    """Declare background where a target does not know whether a pixel is in a nucleus.

    Args:
        image: `(3, H, W)`.
        target: Its target, of either kind.
        background: `"near"`: a band around the labelled nuclei. `"similar"`: the band, and what
            looks at least as different from the nuclei as it does, see
            `nucleist.ops.borders.like_band`. `"all"`: whatever is not labelled.
        band: Width of the band, pixels.

    Returns:
        A target that knows more; the same one if it knows all.
    """
    if "known" not in target:
        return target
    labels = labels_of(target).cpu().numpy().astype(np.int32)
    around = near(labels, band)
    if background == "all":
        around[:] = True
    elif background == "similar":
        around |= like_band(image.mean(0).float().cpu().numpy(), labels, around)
    known = target["known"] | torch.from_numpy(around).to(target["known"].device)
    return cast(AnyTarget, {**target, "known": known})


def known_pixels(target: Target | BinaryTarget) -> np.ndarray:
    """Where a target knows whether a pixel is in a nucleus, `(H, W)` bool."""
    if "known" in target:
        return target["known"].cpu().numpy()
    return np.ones(labels_of(target).shape, bool)


def labels_of(target: Target | BinaryTarget) -> Tensor:
    """Integers `(H, W)`, positive in nuclei, from either kind of target."""
    if "mask" in target:
        return cast(BinaryTarget, target)["mask"]
    return cast(Target, target)["label_map"]
