"""Torchvision's region proposal network for images with thousands of nuclei."""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import clip_boxes_to_image

from nucleist.ops.matching import OverlapMatcher, Overlaps, matching_overlaps, overlaps

MOST_CUT = 512
"""Boxes that are kept of those that a cap leaves out: the likeliest ones of a level."""


class GridAnchors(AnchorGenerator):
    """Torchvision's anchors, with the sizes of the grids that were made last.

    Attributes:
        levels: Rows, columns and anchors a cell of each level.
    """

    levels: tuple[tuple[int, int, int], ...] = ()

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors `(A, 4)` of each image."""
        kinds = self.num_anchors_per_location()
        shapes = [(x.shape[-2], x.shape[-1]) for x in feature_maps]
        self.levels = tuple((h, w, k) for (h, w), k in zip(shapes, kinds, strict=True))
        return super().forward(image_list, feature_maps)


class FullBoxCoder(BoxCoder):
    """Torchvision's box coder, which decodes in `float32` under autocast too.

    Torchvision decodes in the precision of the offsets, and casts nuclei to that of the decoded
    proposals to train the RoI heads. From 512 on, bfloat16 represents every fourth number only.
    """

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """`(N, 4 K)` offsets and `(N, 4)` boxes to `(N, 4 K)` `float32` boxes."""
        return super().decode_single(rel_codes.float(), boxes.float())


class GridRPN(RegionProposalNetwork):
    """RPN that matches anchors through the pairs that overlap, with caps that fit the image.

    Its losses are torchvision's, number for number, and so are its proposals where torchvision's
    caps cut anchors with an objectness of at most 0.5 alone. At inference all anchors above 0.5
    pass the caps: images with thousands of nuclei need them, and others are not made slower.

    Args:
        caps_area: Pixels of the image that the caps at inference are meant for; an image that is
            n times as large may have n times as many anchors before suppression. None for
            torchvision's fixed caps.

    Attributes:
        cut: Boxes of anchors with an objectness above 0.5 that a cap left out at inference, the
            likeliest ones, by the key and value of the cap: one `(C, 4)` tensor for each image.
            The RoI heads find out whether a nucleus was lost with them.
    """

    box_coder: BoxCoder

    def __init__(self, *args: Any, caps_area: float | None = None, **kw: Any):
        super().__init__(*args, **kw)
        self.box_coder = FullBoxCoder(self.box_coder.weights, self.box_coder.bbox_xform_clip)
        old: Matcher = self.proposal_matcher
        self.proposal_matcher: OverlapMatcher = OverlapMatcher(
            old.high_threshold, old.low_threshold, old.allow_low_quality_matches
        )
        self.box_similarity = self.overlaps  # type: ignore[assignment]
        self.caps_area = caps_area
        self.cut: dict[str, list[Tensor]] = {}
        self._before: int | None = None  # anchors a level before suppression, in this call

    def overlaps(self, boxes: Tensor, anchors: Tensor) -> Overlaps:
        """Pairs that matter to the matcher, by the grids if the anchors are those made last."""
        levels = self.anchor_generator.levels
        if len(anchors) and len(anchors) == sum(h * w * k for h, w, k in levels):
            return matching_overlaps(boxes, anchors, levels, self.proposal_matcher.low_threshold)
        return overlaps(boxes, anchors)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Torchvision's; at inference likely nuclei pass the caps, or are kept as cut."""
        self.cut.clear()
        inputs = (proposals, objectness, image_shapes, num_anchors_per_level)
        if self.training:
            return super().filter_proposals(*inputs)
        levels = objectness.detach().reshape(len(image_shapes), -1).split(num_anchors_per_level, 1)
        likely = torch.stack([(level > 0).sum(1) for level in levels], 1).tolist()
        cap, area = super().pre_nms_top_n(), max(h * w for h, w in image_shapes)
        limit = round(cap * caps_factor(self.caps_area, area))
        self._before = min(max(cap, *(n for image in likely for n in image)), limit)
        if any(max(image) > limit for image in likely):
            self.cut[f"rpn.pre_nms_top_n.testing={cap}"] = [
                _beyond(boxes, scores, num_anchors_per_level, limit, shape)
                for boxes, scores, shape in zip(
                    proposals.detach(), torch.cat(levels, 1), image_shapes, strict=True
                )
            ]
        boxes, scores = super().filter_proposals(*inputs)
        self._before = None
        counts = self._kept(boxes, torch.stack([(s > 0.5).sum() for s in scores]).tolist())
        kept = [b[:n] for b, n in zip(boxes, counts, strict=True)]
        return kept, [s[:n] for s, n in zip(scores, counts, strict=True)]

    def _kept(self, boxes: list[Tensor], likely: list[int]) -> list[int]:
        """Number of proposals of each image that stay, given how many are likely nuclei."""
        cap = self.post_nms_top_n()
        if self.caps_area is not None:
            return [max(cap, n) for n in likely]
        if any(n > cap for n in likely):
            pairs = zip(boxes, likely, strict=True)
            cut = [found[cap : min(n, cap + MOST_CUT)] for found, n in pairs]
            self.cut[f"rpn.post_nms_top_n.testing={cap}"] = cut
        return [cap] * len(likely)

    def pre_nms_top_n(self) -> int:
        """Anchors of each level before suppression."""
        return super().pre_nms_top_n() if self._before is None else self._before

    def post_nms_top_n(self) -> int:
        """Proposals of an image after suppression."""
        if self._before is None:
            return super().post_nms_top_n()
        return self._before * len(self.anchor_generator.sizes)  # cut afterwards, by objectness


def _beyond(
    boxes: Tensor, scores: Tensor, sizes: list[int], limit: int, shape: tuple[int, int]
) -> Tensor:
    """Boxes `(C, 4)` of the anchors of a level, best first, that a limit leaves out.

    Args:
        boxes: `(A, 4)`, of all levels.
        scores: `(A,)`, their objectness as logits.
        sizes: Anchors of each level.
        limit: Anchors of a level that stay.
        shape: Height and width of the image.
    """
    found = [boxes[:0]]
    for own, chances in zip(boxes.split(sizes), scores.split(sizes), strict=True):
        count = min(int((chances > 0).sum()), limit + MOST_CUT)
        if count > limit:
            found.append(own[chances.topk(count).indices[limit:]])
    return clip_boxes_to_image(torch.cat(found), shape)


def caps_factor(caps_area: float | None, area: float) -> float:
    """How many times larger than `caps_area` an image of `area` pixels is, at least 1."""
    return 1.0 if caps_area is None else max(area / caps_area, 1.0)


def count_reached(limits: dict[str, int], name: str, reached: list[bool]) -> None:
    """Add the images in which a limit was reached to the count under its name."""
    if any(reached):
        limits[name] = limits.get(name, 0) + sum(reached)
