"""Label maps as targets: what a net learns from."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import BinaryTarget, Target, one_of

UNKNOWN = -1
"""In a label map on its way to a target: perhaps a nucleus that nobody labelled."""


def to_tensor(image: np.ndarray) -> Tensor:
    """`(H, W, 3)` `float32` array to a `(3, H, W)` tensor."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def to_target(labels: np.ndarray) -> Target:
    """`(H, W)` `int32` label map with any ids, perhaps `UNKNOWN`, to a target numbered 1..N."""
    known = labels != UNKNOWN
    label_map, ids = relabel(torch.from_numpy(np.where(known, labels, 0)))
    target: Target = {"boxes": boxes_of(label_map, len(ids)), "label_map": label_map}
    if not known.all():
        target["known"] = torch.from_numpy(known)
    return target


def to_binary(labels: np.ndarray) -> BinaryTarget:
    """`(H, W)` `int32` label map to foreground and count, without the instances.

    Unknown pixels are 0 in the mask, and not known.
    """
    count = len(np.unique(labels[labels > 0]))
    target: BinaryTarget = {
        "mask": torch.from_numpy((labels > 0).astype(np.uint8)),
        "count": torch.tensor(count, dtype=torch.int64),
    }
    if (labels == UNKNOWN).any():
        target["known"] = torch.from_numpy(labels != UNKNOWN)
    return target


def supervised(name: str) -> Callable[[np.ndarray], Target] | Callable[[np.ndarray], BinaryTarget]:
    """The function from label maps to targets, for `data.supervision=instances` or `binary`.

    Raises:
        UserError: If the name is another.
    """
    kinds = {"instances": to_target, "binary": to_binary}
    one_of("data.supervision", name, tuple(kinds))
    return kinds[name]  # type: ignore[return-value]
