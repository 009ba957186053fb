"""Label maps: boxes, renumbering and erasing without a mask per nucleus."""

import torch
from torch import Tensor

from nucleist.types import Prediction


def relabel(label_map: Tensor) -> tuple[Tensor, Tensor]:
    """Renumber a label map 1..N in the order of its ids.

    Args:
        label_map: `(H, W)` integer, 0 background, any positive ids.

    Returns:
        `(H, W)` `int32` with values 0..N, and the `(N,)` `int64` ids that became 1..N.
    """
    values, inverse = label_map.unique(return_inverse=True)
    has_background = bool(len(values)) and int(values[0]) == 0
    new = inverse.to(torch.int32) + (0 if has_background else 1)
    return new, values[1 if has_background else 0 :].to(torch.int64)


def boxes_of(label_map: Tensor, count: int) -> Tensor:
    """Tight boxes of the nuclei 1..count in one pass over the labelled pixels.

    Args:
        label_map: `(H, W)` integer with values 0..count; every id must be present.
        count: Number of nuclei N.

    Returns:
        `(N, 4)` `float32` xyxy in pixels, right and bottom exclusive, so that a nucleus of one
        pixel has a box of area one.
    """
    rows, cols = label_map.nonzero(as_tuple=True)
    ids = label_map[rows, cols].long() - 1
    yx = torch.stack([cols, rows], 1)
    index = ids[:, None].expand(-1, 2)
    big = max(label_map.shape)
    low = yx.new_full((count, 2), big).scatter_reduce_(0, index, yx, "amin")
    high = yx.new_full((count, 2), -1).scatter_reduce_(0, index, yx, "amax")
    return torch.cat([low, high + 1], 1).float()


def keep_ids(label_map: Tensor, keep: Tensor) -> Tensor:
    """Erase the nuclei of a label map numbered 1..N that are not kept, without renumbering.

    Args:
        label_map: `(H, W)` integer with values 0..N.
        keep: `(N,)` bool; entry `i` is about the value `i + 1`.
    """
    table = torch.zeros(len(keep) + 1, dtype=label_map.dtype, device=label_map.device)
    table[1:] = torch.arange(1, len(keep) + 1, device=label_map.device) * keep
    return table[label_map.long()]


def at_threshold(prediction: Prediction, threshold: float) -> Tensor:
    """The label map of the detections with a higher score, `(H, W)` `int32` on the CPU."""
    keep = prediction["scores"].cpu() > threshold
    return keep_ids(prediction["label_map"].cpu(), keep)
