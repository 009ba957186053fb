"""The centre head of partial-annotation Mask R-CNN.

Source: Feng et al., IEEE Access 2019, section II, and the authors' code for what the paper leaves
open; the options of `CenterHead` name which of the two they follow.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import batched_nms

from nucleist.models.rcnn.transform import Sizes
from nucleist.ops.centers import CenterTarget, cell_anchors, center_target, peaks
from nucleist.types import IGNORE, UserError, one_of

PADDING = -2
"""Label of a cell outside its image, which is never sampled, unlike unknown ones."""


def outside(cells: tuple[int, int], sizes: Tensor, stride: float) -> Tensor:
    """Which cells of padded maps begin outside their images, `(B, h, w)` bool.

    Args:
        cells: Rows and columns of the maps.
        sizes: `(B, 2)` height and width of the images in pixels.
        stride: Pixels a cell.
    """
    rows = torch.arange(cells[0], device=sizes.device) * stride >= sizes[:, :1]
    cols = torch.arange(cells[1], device=sizes.device) * stride >= sizes[:, 1:]
    return rows[:, :, None] | cols[:, None]


def clipped(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes `(K, 4)` inside images of `sizes` `(K, 2)` height and width, xyxy in pixels."""
    limit = sizes.flip(1).repeat(1, 2).to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), limit)


class CenterHead(nn.Module):
    """One centre logit and four box deltas a cell, as two 1x1 convolutions.

    Args:
        channels: Channels of the RPN trunk.
        anchor_size: Width and height of the cells' anchor in pixels: the median box of the
            kept training labels (papers) or `[32, 32]` (authors' code).
        threshold: Centre score in [0, 1] above which a cell is found, in training. The papers take
            0.95, which a start from COCO weights reaches.
        test_threshold: The same at inference; None for `threshold`.
        connectivity: 4 or 8, for the components of found cells.
        num_samples: Cells sampled for the losses, at most half of them centres.
        sample_scope: Whether that number is per `"image"` (code) or per `"batch"` (papers).
        center_share: Part of a box that counts as its centre.
        overlap: Owner of a cell claimed by several centres, `"nearest"` or `"last"`.
        anchor_offset: Anchor's position in its cell, 0 corner (code) or 0.5 middle.
        clip_anchor: Clip anchors to the image before decoding, as the code does.
        nms_iou: NMS among found boxes (papers' introduction); None for none (code).
        reg_norm: Divisor of the box loss, `"sampled"` cells (code) or `"pos"`.
        unknown_ratio: Cells outside the labelled nuclei sampled as negatives, for each sampled
            centre. With 0, the papers' value, no loss lowers the score on the background; with 1
            few of them are centres of unlabelled nuclei, whose scores stay high.
        mask_alignment: See `nucleist.ops.centers.center_target`.

    Raises:
        UserError: If an option has an unknown value.
    """

    def __init__(
        self,
        channels: int,
        anchor_size: Sequence[float],
        threshold: float = 0.5,
        test_threshold: float | None = None,
        connectivity: int = 4,
        num_samples: int = 128,
        sample_scope: str = "image",
        center_share: float = 0.3,
        overlap: str = "nearest",
        anchor_offset: float = 0.0,
        clip_anchor: bool = True,
        nms_iou: float | None = None,
        reg_norm: str = "sampled",
        unknown_ratio: float = 1.0,
        mask_alignment: str = "exact",
    ):
        super().__init__()
        one_of("model.center.connectivity", connectivity, (4, 8))
        one_of("model.center.sample_scope", sample_scope, ("image", "batch"))
        one_of("model.center.overlap", overlap, ("nearest", "last"))
        one_of("model.center.reg_norm", reg_norm, ("sampled", "pos"))
        self.logits = nn.Conv2d(channels, 1, 1)
        self.deltas = nn.Conv2d(channels, 4, 1)
        for layer in (self.logits, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        for name, value in (("threshold", threshold), ("test_threshold", test_threshold)):
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"model.center.{name}={value} is not in [0, 1]; use e.g. 0.5")
        width, height = anchor_size
        self.anchor_size = (float(width), float(height))
        self.threshold = threshold
        self.test_threshold = threshold if test_threshold is None else test_threshold
        self.connectivity = connectivity
        self.num_samples = num_samples
        self.sample_scope = sample_scope
        self.center_share = center_share
        self.overlap = overlap
        self.anchor_offset = anchor_offset
        self.clip_anchor = clip_anchor
        self.nms_iou = nms_iou
        self.reg_norm = reg_norm
        self.unknown_ratio = unknown_ratio
        self.mask_alignment = mask_alignment

    def forward(self, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, C, h, w)` to centre logits `(B, h, w)` and deltas `(B, 4, h, w)`."""
        return self.logits(trunk)[:, 0], self.deltas(trunk)

    def anchors(self, row: Tensor, col: Tensor, stride: float, sizes: Tensor) -> Tensor:
        """`(K, 4)` anchors of cells in images of `sizes` `(K, 2)` height and width."""
        boxes = cell_anchors(row, col, self.anchor_size, stride, self.anchor_offset)
        return clipped(boxes, sizes) if self.clip_anchor else boxes

    def probability(self, logits: Tensor, sizes: Sizes, stride: float) -> Tensor:
        """Centre scores `(B, h, w)`, 0 in the padding of each image."""
        score = logits.detach().float().sigmoid()
        padding = outside(_cells(logits), torch.tensor(sizes, device=logits.device), stride)
        return score.masked_fill(padding, 0.0)

    @torch.no_grad()
    def find(
        self, logits: Tensor, deltas: Tensor, coder: BoxCoder, sizes: Sizes, stride: float
    ) -> list[Tensor]:
        """Found boxes of each image, `(K, 5)`: xyxy in pixels and the centre score.

        Boxes thinner than a pixel are dropped: one without area has an IoU of 0 with every anchor,
        which makes all of them its best, and no negatives would be left.
        """
        threshold = self.threshold if self.training else self.test_threshold
        score = self.probability(logits, sizes, stride)
        image, row, col, peak = peaks(score, threshold, self.connectivity)
        at_peak = deltas.detach()[image, :, row, col].float()
        own = torch.tensor(sizes, device=logits.device)[image]
        boxes = coder.decode_single(at_peak, self.anchors(row, col, stride, own))
        rows = torch.cat([clipped(boxes, own), peak[:, None]], 1)
        keep = (rows[:, 2:4] - rows[:, :2] >= 1).all(1).nonzero()[:, 0]
        if self.nms_iou is not None:
            chosen = batched_nms(rows[keep, :4], peak[keep], image[keep], self.nms_iou)
            keep = keep[chosen.sort().values]
        counts = torch.bincount(image[keep], minlength=len(sizes)).tolist()
        return list(rows[keep].split(counts))

    def loss(
        self,
        logits: Tensor,
        deltas: Tensor,
        coder: BoxCoder,
        targets: list[dict[str, Tensor]],
        sizes: Sizes,
        stride: float,
    ) -> dict[str, Tensor]:
        """Binary cross entropy of sampled cells, smooth L1 of the centres among them."""
        labels, nucleus = self.target(targets, _cells(logits), sizes, stride)
        boxes = torch.cat([t["boxes"] for t in targets])
        image, row, col = (labels == 1).nonzero(as_tuple=True)
        own = torch.tensor(sizes, device=logits.device)[image]
        anchors = self.anchors(row, col, stride, own)
        regression = coder.encode_single(boxes[nucleus[image, row, col]], anchors)
        return self._sampled_loss(logits, deltas, labels, regression)

    def target(
        self, targets: list[dict[str, Tensor]], cells: tuple[int, int], sizes: Sizes, stride: float
    ) -> CenterTarget:
        """What the centre logits of a batch should be.

        Args:
            targets: Boxes and label map of each image, at the net's scale.
            cells: Rows and columns of the maps.
            sizes: Height and width of each image, pixels.
            stride: Pixels a cell.

        Returns:
            As `nucleist.ops.centers.center_target`, with the label `PADDING` outside the images.
        """
        boxes, maps = [t["boxes"] for t in targets], [t["label_map"] for t in targets]
        how = self.center_share, self.overlap, self.mask_alignment
        wanted = center_target(boxes, maps, cells, stride, *how)
        padding = outside(cells, torch.tensor(sizes, device=wanted.labels.device), stride)
        return wanted._replace(labels=wanted.labels.masked_fill(padding, PADDING))

    def _sampled_loss(
        self, logits: Tensor, deltas: Tensor, labels: Tensor, regression: Tensor
    ) -> dict[str, Tensor]:
        positive, negative = self._sample(labels)
        sampled = positive | negative
        count = int(sampled.sum())
        if count == 0:  # nothing is labelled: zero, with the gradients that DDP waits for
            zero = (logits.sum() + deltas.sum()) * 0
            return {"loss_centerness": zero, "loss_center_box": zero}
        centerness = F.binary_cross_entropy_with_logits(
            logits[sampled], positive[sampled].to(logits.dtype)
        )
        chosen = positive[labels == 1]  # rows of `regression` are the centres in this order
        at_centers = deltas.permute(0, 2, 3, 1)[labels == 1]
        box = F.smooth_l1_loss(at_centers[chosen], regression[chosen], beta=1 / 9, reduction="sum")
        divisor = count if self.reg_norm == "sampled" else max(int(positive.sum()), 1)
        return {"loss_centerness": centerness, "loss_center_box": box / divisor}

    def _sample(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Boolean maps `(B, h, w)` of sampled centres and of cells sampled as none."""
        rows = [labels.flatten()] if self.sample_scope == "batch" else list(labels.flatten(1))
        # The same random numbers as without a centre head must reach the samplers that follow.
        devices = [labels.device] if labels.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            positive, negative = BalancedPositiveNegativeSampler(self.num_samples, 0.5)(rows)
            chosen = [p.bool() for p in positive]
            others = [
                n.bool() | self._unknown(row, int(p.sum()))
                for row, p, n in zip(rows, chosen, negative, strict=True)
            ]
        return torch.cat(chosen).view(labels.shape), torch.cat(others).view(labels.shape)

    def _unknown(self, labels: Tensor, centers: int) -> Tensor:
        """Some of the unknown cells `(N,)`, `unknown_ratio` times the number of centres."""
        unknown = (labels == IGNORE).nonzero()[:, 0]
        count = min(round(self.unknown_ratio * centers), len(unknown))
        picked = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        if count:
            picked[unknown[torch.randperm(len(unknown), device=labels.device)[:count]]] = True
        return picked


def _cells(logits: Tensor) -> tuple[int, int]:
    return int(logits.shape[1]), int(logits.shape[2])
