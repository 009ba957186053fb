"""The region proposal network of NuSeT: one level, anchors by the size of the image's own nuclei.

Source: Yang et al., PLoS Comput Biol 2020, and the authors' code. What is matched, sampled, coded
and suppressed is torchvision's, or equal to it number for number. Differences to torchvision's RPN:
two logits an anchor, and the loss of the boxes is a mean over the positives, not over all samples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import clip_boxes_to_image, nms

from nucleist.models.nuset.anchors import (
    RATIOS,
    SCALES,
    STRIDE,
    anchor_sides,
    anchors_on,
    inside,
    median_size,
    padded_boxes,
)
from nucleist.ops.matching import OverlapMatcher, Overlaps, overlaps
from nucleist.types import IGNORE

BETA = 1 / 9
"""Where the smooth L1 loss turns from a square to a line (sigma = 3)."""

KNOWN = 0.5
"""Share of an anchor's pixels that must be known for it to be a negative one."""


class Proposals(NamedTuple):
    """Boxes of one image, best first.

    Attributes:
        boxes: `(K, 4)` `float32`, cut at the border of the image.
        scores: `(K,)` probabilities of a nucleus.
        limits: Options, with their values, by which some were left out as too many.
    """

    boxes: Tensor
    scores: Tensor
    limits: tuple[str, ...]


def assign(boxes: Tensor, anchors: Tensor, high: float, low: float) -> tuple[Tensor, Tensor]:
    """Which anchors are nuclei, and which one each is.

    Positive are those with an IoU of `high` or more, and the best of each box with all its ties.
    A box that touches no anchor has no best one. (In the authors' code, and in torchvision's
    matcher, it makes all anchors positive that touch no box.)

    Args:
        boxes: `(N, 4)` of the nuclei.
        anchors: `(P, 4)`.
        high: IoU from which an anchor is positive.
        low: IoU below which it is negative.

    Returns:
        `(P,)` `int64`: 1, 0 or `IGNORE`; and `(P,)` `int64`, the box of the positive ones.
    """
    nothing = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    if len(boxes) == 0 or len(anchors) == 0:
        return nothing, nothing
    box, candidate, iou, shape = overlaps(boxes, anchors)
    touched, number = box.unique(return_inverse=True)
    if len(touched) == 0:
        return nothing, nothing
    matcher = OverlapMatcher(high, low, allow_low_quality_matches=True)
    found = matcher(Overlaps(number, candidate, iou, (len(touched), shape[1])))
    label = torch.where(found >= 0, 1, torch.where(found == matcher.BELOW_LOW_THRESHOLD, 0, IGNORE))
    return label, touched[found.clamp(min=0)]


def share_in(boxes: Tensor, mask: Tensor) -> Tensor:
    """Share of each box's pixels that are in a mask, `(P,)`; 0 for a box without a pixel.

    Args:
        boxes: `(P, 4)`; corners are rounded to whole pixels and cut at the image.
        mask: `(H, W)` bool.
    """
    sums = F.pad(mask.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    height, width = mask.shape
    x0, y0, x1, y1 = clip_boxes_to_image(boxes, (height, width)).round().long().unbind(1)
    total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return total.float() / ((x1 - x0) * (y1 - y0)).clamp(min=1)


class NucleusRPN(nn.Module):
    """Scores and boxes of nuclei from the U-Net's features of stride 16.

    Args:
        channels: Of the features, and of the 3x3 convolution on them.
        relu: A ReLU after this convolution, as in Faster R-CNN; the authors' code has none.
        scales: See `nucleist.models.nuset.anchors.anchor_sides`.
        ratios: As `scales`.
        anchor_offset: See `nucleist.models.nuset.anchors.anchors_on`; 0.5 is the authors' code.
        box_pad: Pixels added to each side of the nuclei's boxes in training; 10 or 25 in the
            authors' code, which makes the boxes of touching nuclei overlap and suppress each other.
        fallback_size: Median size for images without nuclei, pixels.
        high: IoU from which an anchor is positive.
        low: IoU below which an anchor is negative.
        samples: Anchors of an image that the losses count.
        positive_share: Most of them that are positive.
        min_score: Score above which a box is a proposal.
        nms_iou: IoU above which the lower of two proposals is suppressed.
        max_anchors: Most anchors of an image before suppression.
        max_proposals: Most proposals of an image.

    Attributes:
        counts: Sampled anchors of the last training step, by class.
    """

    def __init__(
        self,
        channels: int,
        relu: bool = True,
        scales: Sequence[float] = SCALES,
        ratios: Sequence[float] = RATIOS,
        anchor_offset: float = STRIDE / 2,
        box_pad: float = 0.0,
        fallback_size: float = 32.0,
        high: float = 0.7,
        low: float = 0.3,
        samples: int = 256,
        positive_share: float = 0.5,
        min_score: float = 0.85,
        nms_iou: float = 0.15,
        max_anchors: int = 6000,
        max_proposals: int = 800,
    ):
        super().__init__()
        self.scales, self.ratios, self.anchor_offset = scales, ratios, anchor_offset
        self.box_pad, self.fallback_size = box_pad, fallback_size
        self.high, self.low = high, low
        self.min_score, self.nms_iou = min_score, nms_iou
        self.max_anchors, self.max_proposals = max_anchors, max_proposals
        kinds = len(scales) * len(ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls_logits = nn.Conv2d(channels, 2 * kinds, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * kinds, 1)
        self.act = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.counts: dict[str, Tensor] = {}
        self.sampler = BalancedPositiveNegativeSampler(samples, positive_share)
        for layer, std in ((self.conv, 0.01), (self.cls_logits, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (background, nucleus) `(B, P, 2)` and offsets `(B, P, 4)` of all anchors."""
        x = self.act(self.conv(features))
        return _by_anchor(self.cls_logits(x), 2), _by_anchor(self.bbox_pred(x), 4)

    def anchors(self, grid: tuple[int, int], boxes: Tensor) -> Tensor:
        """Anchors of an image with these nuclei, `(P, 4)`.

        Args:
            grid: Rows and columns of the features.
            boxes: `(N, 4)`, tight.
        """
        sides = anchor_sides(median_size(boxes, self.fallback_size), self.scales, self.ratios)
        return anchors_on(grid, sides.to(boxes.device), self.anchor_offset)

    def targets(
        self, anchors: Tensor, boxes: Tensor, size: tuple[int, int], known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What `assign` returns, with anchors ignored that reach out of the image.

        Args:
            anchors: `(P, 4)`.
            boxes: `(N, 4)`, tight.
            size: Height and width of the image.
            known: `(H, W)` bool, pixels that are known to be nucleus or background; negative
                anchors of which less than `KNOWN` is known are ignored. None for all.
        """
        own = inside(anchors, size).nonzero()[:, 0]
        label = torch.full((len(anchors),), IGNORE, dtype=torch.int64, device=anchors.device)
        matched = torch.zeros_like(label)
        wide = padded_boxes(boxes, self.box_pad, size)
        label[own], matched[own] = assign(wide, anchors[own], self.high, self.low)
        if known is not None:
            label[(label == 0) & (share_in(anchors, known) < KNOWN)] = IGNORE
        return label, matched

    def losses(
        self,
        found: tuple[Tensor, Tensor],
        grid: tuple[int, int],
        boxes: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        known: Sequence[Tensor | None],
    ) -> dict[str, Tensor]:
        """Cross-entropy over the sampled anchors, and smooth L1 summed over 4, mean of positives.

        Args:
            found: What `forward` returned.
            grid: Rows and columns of the features.
            boxes: Tight boxes of the nuclei of each image.
            sizes: Height and width of each image.
            known: See `targets`, for each image.
        """
        logits, deltas = (x.float() for x in found)
        labels, codes = [], []
        for own, size, seen in zip(boxes, sizes, known, strict=True):
            anchors = self.anchors(grid, own)
            label, matched = self.targets(anchors, own, size, seen)
            wanted = padded_boxes(own, self.box_pad, size)[matched] if len(own) else anchors
            labels.append(label)
            codes.append(self.coder.encode_single(wanted, anchors))
        positive, negative = (torch.stack(m).bool() for m in self.sampler(labels))
        chosen = positive | negative
        self.counts = {
            "positive_anchors": positive.sum().float(),
            "negative_anchors": negative.sum().float(),
        }
        classes = F.cross_entropy(logits[chosen], positive[chosen].long(), reduction="sum")
        wanted = torch.stack(codes)[positive]
        box = F.smooth_l1_loss(deltas[positive], wanted, reduction="sum", beta=BETA)
        return {
            "loss_rpn_class": classes / chosen.sum().clamp(min=1),
            "loss_rpn_box": box / positive.sum().clamp(min=1),
        }

    def proposals(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, size: tuple[int, int]
    ) -> Proposals:
        """Boxes of one image with a score above `min_score` after suppression.

        That score is looked at first, which changes nothing: suppression goes from high to low.

        Args:
            logits: `(P, 2)`.
            deltas: `(P, 4)`.
            anchors: `(P, 4)`.
            size: Height and width of the image; boxes around a point outside of it are left out.
        """
        scores = logits.float().softmax(1)[:, 1]
        boxes = self.coder.decode_single(deltas.float(), anchors)
        middle, limit = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes.new_tensor(size[::-1])
        fits = ((middle >= 0) & (middle < limit)).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        keep = (fits & (scores > self.min_score)).nonzero()[:, 0]
        order = keep[scores[keep].argsort(descending=True, stable=True)]
        first = order[: self.max_anchors]
        best = first[nms(boxes[first], scores[first], self.nms_iou)]
        limits = (
            *[f"rpn.max_anchors={self.max_anchors}"] * (len(order) > self.max_anchors),
            *[f"rpn.max_proposals={self.max_proposals}"] * (len(best) > self.max_proposals),
        )
        best = best[: self.max_proposals]
        return Proposals(clip_boxes_to_image(boxes[best], size), scores[best], limits)


def _by_anchor(x: Tensor, values: int) -> Tensor:
    """`(B, A * values, h, w)` to `(B, h * w * A, values)`, cell by cell as the anchors."""
    batch, channels, rows, cols = x.shape
    split = x.view(batch, channels // values, values, rows, cols)
    return split.permute(0, 3, 4, 1, 2).reshape(batch, -1, values)
