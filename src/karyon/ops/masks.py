"""Masks between boxes and label maps, touching only the pixels inside the boxes.

Both functions equal what torchvision does with a stack of full-size masks
(`project_masks_on_boxes`, `paste_masks_in_image`) without ever building one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

DILATIONS = {
    "none": None,
    "cross3": torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]),
    "square3": torch.ones(3, 3, dtype=torch.int64),
}


def mask_targets(label_map: Tensor, boxes: Tensor, nucleus: Tensor, side: int) -> Tensor:
    """Resample the mask of one nucleus inside each box: the mask head's soft targets.

    Args:
        label_map: `(H, W)` integer; nucleus `i` has the value `i + 1`.
        boxes: `(K, 4)` xyxy in pixels.
        nucleus: `(K,)` index of the nucleus that each box was matched to.
        side: Cells of the square output.

    Returns:
        `(K, side, side)` in [0, 1], as RoIAlign of the full mask would give.
    """
    if len(boxes) == 0:
        return boxes.new_zeros((0, side, side))
    height, width = label_map.shape
    origin = boxes[:, :2].floor().long()
    extent = int((boxes[:, 2:].ceil() - origin).max()) + 2
    steps = torch.arange(extent, device=boxes.device)
    rows = (origin[:, 1, None] + steps).clamp_(max=height - 1)
    cols = (origin[:, 0, None] + steps).clamp_(max=width - 1)
    crops = label_map[rows[:, :, None], cols[:, None, :]] == (nucleus + 1)[:, None, None]
    local = boxes - origin.repeat(1, 2).to(boxes.dtype)
    numbers = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    rois = torch.cat([numbers[:, None], local], 1)
    return roi_align(crops[:, None].to(boxes.dtype), rois, (side, side), 1.0)[:, 0]


def _pasted(mask: Tensor, box: list[int], threshold: float) -> Tensor:
    """One mask resized to its (already expanded, whole-pixel) box and cut at the threshold."""
    size = (max(box[3] - box[1] + 1, 1), max(box[2] - box[0] + 1, 1))
    return (
        F.interpolate(mask[None], size=size, mode="bilinear", align_corners=False)[0, 0] > threshold
    )


def _dilated(mask: Tensor, structure: Tensor) -> Tensor:
    """Binary dilation by a 3 x 3 structure; the result is one pixel wider on every side."""
    weight = structure.to(mask.device, torch.float32)[None, None]
    return F.conv2d(F.pad(mask.float(), (2, 2, 2, 2))[None, None], weight)[0, 0] > 0.5


def _inside(
    mask: Tensor, left: int, top: int, shape: tuple[int, int]
) -> tuple[Tensor, tuple[slice, slice]]:
    """The part of a mask at `(left, top)` that is in an image, and where it is there."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + mask.shape[0], shape[0]), min(left + mask.shape[1], shape[1])
    y1, x1 = max(y0, y1), max(x0, x1)
    return mask[y0 - top : y1 - top, x0 - left : x1 - left], (slice(y0, y1), slice(x0, x1))


def _whole_pixel_boxes(boxes: Tensor, side: int) -> list[list[int]]:
    """Boxes grown by one mask cell on each side, truncated as torchvision's `expand_boxes`."""
    scale = (side + 2) / side
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5
    middle = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    half = half * scale
    return torch.cat([middle - half, middle + half], 1).to(torch.int64).tolist()


def paste_label_map(
    masks: Tensor,
    boxes: Tensor,
    shape: tuple[int, int],
    threshold: float = 0.5,
    dilation: str = "none",
    overlap: str = "high",
    max_lost: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Paint predicted masks into one label map.

    Where masks overlap each pixel goes to one nucleus, and a nucleus that loses more than
    `max_lost` of its area is dropped and frees its pixels (authors' code, section 7 of their
    evaluation; there the lowest score wins).

    Args:
        masks: `(K, 1, M, M)` probabilities, best score first.
        boxes: `(K, 4)` xyxy in pixels of the output.
        shape: `(H, W)` of the output.
        threshold: A pixel belongs to a mask if its probability is strictly above.
        dilation: `"none"`, `"cross3"` or `"square3"`, applied once to each mask.
        overlap: `"high"` or `"low"`: which score has the pixel.
        max_lost: Largest share of its area that a nucleus may lose, in [0, 1].

    Returns:
        `(H, W)` `int32` label map on the CPU in which detection `i` has the value `i + 1`, and
        `(K,)` bool, which detections are in it.
    """
    structure = DILATIONS[dilation]
    painted = torch.zeros(shape, dtype=torch.int32)
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    corners = _whole_pixel_boxes(boxes.float().cpu(), masks.shape[-1])
    padded = F.pad(masks.detach().float().cpu(), (1, 1, 1, 1))
    order = range(len(corners)) if overlap == "high" else range(len(corners) - 1, -1, -1)
    for i in order:
        mask = _pasted(padded[i], corners[i], threshold)
        mask, place = _inside(mask, corners[i][0], corners[i][1], shape)
        if mask.numel() == 0:
            continue
        if structure is not None:  # of what is in the image: nothing grows in from outside
            mask = _dilated(mask, structure)
            mask, place = _inside(mask, place[1].start - 1, place[0].start - 1, shape)
        window = painted[place]
        free = mask & (window == 0)
        area, visible = int(mask.sum()), int(free.sum())
        if visible == 0 or (area - visible) > max_lost * area:
            continue
        window[free] = i + 1
        kept[i] = True
    return painted, kept
