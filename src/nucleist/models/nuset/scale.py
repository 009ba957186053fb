"""Images enlarged for a net whose cells are too coarse for their nuclei, and labels taken back.

Source: Yang et al., *NuSeT*, whose program has a resize ratio: cells of 16 px cannot tell small
nuclei apart.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import Target


def enlarged(image: Tensor, scale: float) -> Tensor:
    """An image `(C, H, W)` at another scale, bilinearly, at least one pixel each way."""
    if scale == 1:
        return image
    size = [max(round(side * scale), 1) for side in image.shape[-2:]]
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]


def enlarged_target(target: Target, size: Sequence[int]) -> Target:
    """A target at the size of an enlarged image; nuclei without a pixel there are left out."""
    if target["label_map"].shape == tuple(size):
        return target
    label_map, ids = relabel(_nearest(target["label_map"], size))
    found: Target = {"boxes": boxes_of(label_map, len(ids)), "label_map": label_map}
    if "known" in target:
        found["known"] = _nearest(target["known"], size)
    return found


def taken_back(labels: np.ndarray, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A label map at the size of the image as it was.

    Args:
        labels: `(h, w)` `int32` with values 0..N.
        size: Height and width `(H, W)`.

    Returns:
        `(H, W)` `int32`, the labels under the middles of its pixels numbered 1..M in their order,
        and `(M,)` the numbers they had.
    """
    if labels.shape == tuple(size):
        return labels, np.unique(labels[labels > 0])
    outer, ids = relabel(_nearest(torch.from_numpy(labels), size))
    return outer.numpy(), ids.numpy()


def _nearest(values: Tensor, size: Sequence[int]) -> Tensor:
    """Integers or booleans `(H, W)` at another size: those under the middles of its pixels."""
    rows, cols = (
        ((torch.arange(new, device=values.device) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for old, new in zip(values.shape, size, strict=True)
    )
    return values[rows][:, cols]
