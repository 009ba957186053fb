"""Torchvision's region proposal network for images with thousands of nuclei."""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

from karyon.ops.matching import OverlapMatcher, Overlaps, grid_overlaps, overlaps


class GridAnchors(AnchorGenerator):
    """Torchvision's anchors; remembers the grids that it made last.

    `levels` holds rows, columns and anchors a cell of each level.
    """

    levels: tuple[tuple[int, int, int], ...] = ()

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors `(A, 4)` of each image."""
        kinds = self.num_anchors_per_location()
        shapes = [(x.shape[-2], x.shape[-1]) for x in feature_maps]
        self.levels = tuple((h, w, k) for (h, w), k in zip(shapes, kinds, strict=True))
        return super().forward(image_list, feature_maps)


class GridRPN(RegionProposalNetwork):
    """RPN that matches anchors through the pairs that overlap, with caps that fit the image.

    Losses and proposals are torchvision's, number for number.

    Args:
        caps_area: Pixels of the image that the caps at inference are meant for; a larger image
            gets as many times more. None for torchvision's fixed numbers.
    """

    def __init__(self, *args: Any, caps_area: float | None = None, **kw: Any):
        super().__init__(*args, **kw)
        old: Matcher = self.proposal_matcher
        self.proposal_matcher: OverlapMatcher = OverlapMatcher(
            old.high_threshold, old.low_threshold, old.allow_low_quality_matches
        )
        self.box_similarity = self.overlaps  # type: ignore[assignment]
        self.caps_area = caps_area
        self.caps_factor = 1.0
        self.capped: dict[str, int] = {}

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals `(P, 4)` of each image, and losses in training."""
        self.caps_factor = caps_factor(self.caps_area, images.tensors.shape[-2:])
        return super().forward(images, features, targets)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's, told if at inference the cap cut what looks like nuclei."""
        boxes, scores = super().filter_proposals(
            proposals, objectness, image_shapes, num_anchors_per_level
        )
        cap = self.post_nms_top_n()
        full = [s[-1] > 0.5 for s in scores if len(s) >= cap]
        if full and not self.training:
            name = f"post_nms_top_n={self._post_nms_top_n['testing']}"
            count_capped(self.capped, name, torch.stack(full).tolist())
        return boxes, scores

    def overlaps(self, boxes: Tensor, anchors: Tensor) -> Overlaps:
        """Pairs of boxes and anchors, by the grids if the anchors are those made last."""
        levels = self.anchor_generator.levels
        if len(anchors) and len(anchors) == sum(h * w * k for h, w, k in levels):
            return grid_overlaps(boxes, anchors, levels)
        return overlaps(boxes, anchors)

    def pre_nms_top_n(self) -> int:
        """Proposals of each level before suppression."""
        return self._sized(super().pre_nms_top_n())

    def post_nms_top_n(self) -> int:
        """Proposals of an image after suppression."""
        return self._sized(super().post_nms_top_n())

    def _sized(self, cap: int) -> int:
        return cap if self.training else round(cap * self.caps_factor)


def caps_factor(area: float | None, size: torch.Size) -> float:
    """How many times larger than `area` an image of `size` is, at least 1."""
    return 1.0 if area is None else max(size[0] * size[1] / area, 1.0)


def count_capped(capped: dict[str, int], name: str, reached: list[bool]) -> None:
    """Add the images that reached a cap to the count under its name."""
    if any(reached):
        capped[name] = capped.get(name, 0) + sum(reached)
