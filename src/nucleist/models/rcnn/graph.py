"""Mask R-CNN without Python control flow, so that it can be traced for other runtimes.

It is the net's own layers. What differs from `MaskRCNN` in evaluation: the caps on proposals and
detections are fixed numbers whatever the image, and boxes that a centre head finds do not join the
proposals.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, nms

from nucleist.models.rcnn.net import MaskRCNN

MULTIPLE = 32
"""Images are padded to a multiple of it, so that each level has whole cells."""


class DetectionGraph(nn.Module):
    """One image to boxes, scores and masks.

    Args:
        net: A net in eval mode, whose images keep their scale.
        score: Detections with a higher score are given, in [0, 1].
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, net: MaskRCNN, score: float):
        super().__init__()
        self.net, self.score = net, score
        transform = net.transform
        for name in ("image_mean", "image_std"):
            value = torch.tensor(getattr(transform, name)).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detections, best score first.

        Args:
            image: `(3, H, W)` `float32` in [0, 1].

        Returns:
            Boxes `(N, 4)`, xyxy in pixels; scores `(N,)`; masks `(N, 28, 28)`, probabilities in
            the cells of each box.
        """
        net, shape = self.net, torch._shape_as_tensor(image)
        limit = shape[torch.tensor([2, 1, 2, 1])].to(image.dtype)
        height, width = image.shape[1], image.shape[2]
        x = (image - self.image_mean) / self.image_std
        x = F.pad(x[None], (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        features = net.backbone(x)
        proposals = self._proposals(features, limit)
        sizes: Any = [(x.shape[2], x.shape[3])]
        heads = net.roi_heads
        pooled = heads.box_roi_pool(features, [proposals], sizes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        decoded = heads.box_coder.decode_single(deltas, proposals)[:, 4:]
        boxes = torch.minimum(decoded.clamp(min=0), limit)
        scores = logits.softmax(1)[:, 1]
        keep = torch.nonzero(scores > self.score)[:, 0]
        boxes, scores = boxes[keep], scores[keep]
        best = nms(boxes, scores, heads.nms_thresh)[: heads.detections_per_img]
        boxes, scores = boxes[best], scores[best]
        pooled = heads.mask_roi_pool(features, [boxes], sizes)
        masks = heads.mask_predictor(heads.mask_head(pooled))[:, 1].sigmoid()
        return boxes, scores, masks

    def _proposals(self, features: dict[str, Tensor], limit: Tensor) -> Tensor:
        """Boxes `(P, 4)` that may be nuclei, likeliest first."""
        rpn = self.net.rpn
        before, after = rpn._pre_nms_top_n["testing"], rpn._post_nms_top_n["testing"]
        boxes, scores, levels = [], [], []
        for number, level in enumerate(features.values()):
            trunk = rpn.head.conv(level)
            logits, deltas = rpn.head.cls_logits(trunk), rpn.head.bbox_pred(trunk)
            chance = logits.permute(0, 2, 3, 1).reshape(-1)
            offsets = deltas.permute(0, 2, 3, 1).reshape(-1, 4)
            chance, order = chance.sort(descending=True)
            order = order[:before]
            anchors = self._anchors(number, level)[order]
            boxes.append(rpn.box_coder.decode_single(offsets[order], anchors))
            scores.append(chance[:before])
            levels.append(torch.full_like(order, number))
        found, chances = torch.minimum(torch.cat(boxes).clamp(min=0), limit), torch.cat(scores)
        best = batched_nms(found, chances, torch.cat(levels), rpn.nms_thresh)
        return found[best[:after]]

    def _anchors(self, number: int, level: Tensor) -> Tensor:
        """Anchors `(h w k, 4)` of a level, whose cells are `4 * 2^number` pixels."""
        stride = 4 * 2**number
        # Of the map itself: the ONNX exporter takes arange and ones_like for constants.
        ones = level[0, 0] * 0 + 1
        y, x = (ones.cumsum(axis) * stride - stride for axis in (0, 1))
        places = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        own = self.net.rpn.anchor_generator.cell_anchors[number]
        return (places + own[None]).reshape(-1, 4)


class LabelGraph(nn.Module):
    """One image to a label map.

    Args:
        net: See `DetectionGraph`.
        score: See there.
        painter: `painted`, or the same as TorchScript, which tracing keeps as a loop.
    """

    def __init__(self, net: MaskRCNN, score: float, painter: Any):
        super().__init__()
        self.graph, self.painter = DetectionGraph(net, score), painter
        self.max_lost = float(net.transform.paste["max_lost"])

    def forward(self, image: Tensor) -> Tensor:
        """Label map `(1, 1, H, W)` `int32` of a `(1, 3, H, W)` image in [0, 1]."""
        boxes, _, masks = self.graph(image[0])
        return self.painter(boxes, masks, image, self.max_lost)


def painted(boxes: Tensor, masks: Tensor, image: Tensor, max_lost: float) -> Tensor:
    """Paint masks into a label map one by one; a pixel is the first one's.

    `nucleist.ops.masks.paste_label_map` with exact alignment, as a loop that TorchScript takes.

    Args:
        boxes: `(N, 4)`, xyxy in pixels, best score first.
        masks: `(N, M, M)`, probabilities.
        image: `(1, 3, H, W)`, for its size.
        max_lost: A nucleus that has lost more of its area to others is left out.

    Returns:
        `(1, 1, H, W)` `int32`.
    """
    height, width = image.shape[2], image.shape[3]
    labels = torch.zeros([height, width], dtype=torch.int32)
    number = 0
    for k in range(boxes.shape[0]):
        x0, y0 = float(boxes[k, 0]), float(boxes[k, 1])
        x1, y1 = float(boxes[k, 2]), float(boxes[k, 3])
        left, right = max(math.floor(x0) - 1, 0), min(math.ceil(x1) + 1, width)
        top, bottom = max(math.floor(y0) - 1, 0), min(math.ceil(y1) + 1, height)
        if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
            continue
        u = (torch.arange(left, right).float() + 0.5 - x0) / (x1 - x0) * 2 - 1
        v = (torch.arange(top, bottom).float() + 0.5 - y0) / (y1 - y0) * 2 - 1
        shape = [bottom - top, right - left]
        grid = torch.stack([u[None].expand(shape), v[:, None].expand(shape)], 2)[None]
        inside = F.grid_sample(masks[k][None, None].float(), grid, align_corners=False)[0, 0] > 0.5
        window = labels[top:bottom, left:right]
        free = inside & (window == 0)
        area, kept = int(inside.sum()), int(free.sum())
        if kept > 0 and area - kept <= max_lost * area:
            number += 1
            labels[top:bottom, left:right] = torch.where(
                free, torch.full_like(window, number), window
            )
    return labels[None, None]
