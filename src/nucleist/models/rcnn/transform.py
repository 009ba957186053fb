"""What happens to images and label maps before a Mask R-CNN, and to its masks after it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from nucleist.ops.masks import ALIGNMENTS, DILATIONS, paste_label_map
from nucleist.types import UserError, one_of

Sizes = list[tuple[int, int]]
"""Height and width of each image of a batch, pixels."""


class LabelMapTransform(GeneralizedRCNNTransform):
    """Normalises and resizes images with their label maps; paints predictions into a label map.

    Args:
        min_size: Short side that images are resized to, in pixels; None for `scale` alone.
        max_size: Largest long side after such a resizing.
        scale: Factor by which images of any size are enlarged (or made smaller) without
            `min_size`, above 0: 2 for nuclei that are few pixels wide, as those of Kumar at 40x.
        image_mean: Mean of each channel, images being in [0, 1]; ImageNet's.
        image_std: Standard deviation of each channel; ImageNet's.
        dilation: See `nucleist.ops.masks.paste_label_map`.
        overlap: See there. With `"low"`, the authors' choice, the label map at a higher score
            threshold is not this one with detections erased; set `roi.score_thresh` instead.
        max_lost: See there.
        size_divisible: Batches are padded to a multiple of it.
        mask_alignment: One of `nucleist.ops.masks.ALIGNMENTS`, for pasting. With `"exact"` a label
            map is resized to the pixels under the middles of the new ones, as its image is; with
            `"torchvision"` to those under their upper left corners.
    """

    def __init__(
        self,
        min_size: int | None = None,
        max_size: int = 1333,
        image_mean: Sequence[float] = (0.485, 0.456, 0.406),
        image_std: Sequence[float] = (0.229, 0.224, 0.225),
        dilation: str = "none",
        overlap: str = "high",
        max_lost: float = 0.7,
        size_divisible: int = 32,
        mask_alignment: str = "exact",
        scale: float = 1.0,
    ):
        if scale <= 0 or (min_size is not None and scale != 1):
            raise UserError(
                f"model.transform.scale={scale} with min_size={min_size}: give a number above 0, "
                "and min_size=null for another than 1"
            )
        one_of("model.mask_alignment", mask_alignment, ALIGNMENTS)
        one_of("model.transform.dilation", dilation, DILATIONS)
        one_of("model.transform.overlap", overlap, ("high", "low"))
        mean, std = list(image_mean), list(image_std)
        super().__init__(min_size or 1, max_size, mean, std, size_divisible)
        self.scale, self.native_scale = scale, min_size is None and scale == 1
        self.has_min_size = min_size is not None
        self.paste: dict[str, Any] = {
            "dilation": dilation,
            "overlap": overlap,
            "max_lost": max_lost,
            "alignment": mask_alignment,
        }

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize an image bilinearly, its label map to the nearest pixel, and its boxes."""
        if self.native_scale:
            return image, target
        before = image.shape[-2:]
        if self.has_min_size:
            image, _ = super().resize(image, None)
        else:
            size = tuple(max(round(side * self.scale), 1) for side in before)
            image = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
        if target is None:
            return image, None
        after = image.shape[-2:]
        target["boxes"] = resize_boxes(target["boxes"], before, after)
        target["label_map"] = self.resized_labels(target["label_map"], after)
        if "known" in target:
            target["known"] = self.resized_labels(target["known"], after).bool()
        return image, target

    def resized_labels(self, label_map: Tensor, size: Sequence[int]) -> Tensor:
        """An `(H, W)` integer label map at another size, `int32`, with the nearest labels.

        With exact alignment these are the labels under the middles of the new pixels. A middle
        between two pixels, which occurs at scales like 1/2 and 3/2, has the right or lower one's.
        """
        mode = "nearest-exact" if self.paste["alignment"] == "exact" else "nearest"
        # float32 holds every integer up to 2^24, so ids survive.
        resized = F.interpolate(label_map[None, None].float(), size=tuple(size), mode=mode)
        return resized[0, 0].to(torch.int32)

    def postprocess(
        self, result: list[dict[str, Tensor]], image_shapes: Sizes, original_image_sizes: Sizes
    ) -> list[dict[str, Tensor]]:
        """Boxes at the original scale, and all masks of an image in one label map."""
        if self.training:
            return result
        return [
            self._painted(found, inner, outer)
            for found, inner, outer in zip(result, image_shapes, original_image_sizes, strict=True)
        ]

    def _painted(
        self, found: dict[str, Tensor], inner: tuple[int, int], outer: tuple[int, int]
    ) -> dict[str, Tensor]:
        boxes = resize_boxes(found["boxes"], inner, outer)
        # Apple's GPUs lack the float64 and the integer scatter of painting.
        place = "cpu" if boxes.device.type == "mps" else boxes.device
        masks = found["masks"].to(place)
        painted, kept = paste_label_map(masks, boxes.to(place), outer, **self.paste)
        numbers = F.pad(kept.cumsum(0), (1, 0)).to(torch.int32)  # the dropped ones do not occur
        kept = kept.to(boxes.device)
        return {
            "boxes": boxes[kept],
            "scores": found["scores"][kept],
            "label_map": numbers[painted.long()],
        }
