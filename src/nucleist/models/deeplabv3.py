"""DeepLabV3 for nuclei: a probability of foreground a pixel, then nuclei by connectivity.

Source: Chen et al., *Rethinking Atrous Convolution for Semantic Image Segmentation*, 2017;
torchvision's head. Costa et al., MIDL 2022, Table 1, compare with it as a net that learns from
foreground alone. What is not known to be background is not learned, as in `unet`.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead

from nucleist.models.backbones import Encoder
from nucleist.models.map_net import (
    MapNet,
    TargetMaps,
    at_least,
    foreground_scores,
    stack_target_maps,
)
from nucleist.models.net import Capabilities, given
from nucleist.models.norms import for_one_image
from nucleist.models.pixel_targets import BACKGROUNDS, known_pixels, labels_of, with_background
from nucleist.ops.watershed import METHODS, split_foreground
from nucleist.types import BinaryTarget, Target, UserError, one_of


def smooth_dice(probability: Tensor, wanted: TargetMaps, smooth: float = 1.0) -> Tensor:
    """One minus the smooth Dice of each image over its known pixels, averaged over images.

    Args:
        probability: `(B, H, W)` in [0, 1].
        wanted: 0 or 1.
        smooth: Added to numerator and denominator, so that two empty masks agree.
    """
    p, y = probability * wanted.known, wanted.values * wanted.known
    both, each = (p * y).sum((1, 2)), (p + y).sum((1, 2))
    return (1 - (2 * both + smooth) / (each + smooth)).mean()


class DeepLabV3(MapNet):
    """Foreground by atrous convolutions; made by `deeplabv3`."""

    title = "DeepLabV3"
    can = Capabilities(learns_from=("binary", "instances"))

    def __init__(
        self,
        backbone: Encoder,
        atrous_rates: Sequence[int],
        dice: float,
        background: tuple[str, int],
        split: dict[str, Any],
        image_mean: Sequence[float],
        image_std: Sequence[float],
    ):
        super().__init__(image_mean, image_std, multiple=backbone.stride)
        self.backbone = backbone
        self.classifier = DeepLabHead(backbone.out_channels, 1, tuple(atrous_rates))
        for_one_image(cast(ASPP, self.classifier[0]))
        self.dice, self.split = dice, split
        self.background = background  # kind and band, see `with_background`

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`."""
        if self.training:
            pairs = zip(images, given(targets), strict=True)
            targets = [with_background(*pair, *self.background) for pair in pairs]
        return super().forward(images, targets)

    def raw(self, batch: Tensor) -> Tensor:
        """Logits of foreground, `(B, H, W)`, upsampled bilinearly."""
        logits = self.classifier(self.backbone(batch))
        return F.interpolate(logits, batch.shape[-2:], mode="bilinear", align_corners=False)[:, 0]

    def readable(self, raw: Tensor) -> Tensor:
        """Probability of foreground."""
        return raw.sigmoid()

    def losses(self, raw: Tensor, targets: Sequence[Target | BinaryTarget]) -> dict[str, Tensor]:
        """Binary cross-entropy over the known pixels, and smooth Dice if wanted."""
        masks = [(labels_of(target) > 0).to(raw.device) for target in targets]
        areas = [torch.from_numpy(known_pixels(target)).to(raw.device) for target in targets]
        wanted = stack_target_maps(masks, areas, raw.shape[1:])
        counts = wanted.known
        entropy = F.binary_cross_entropy_with_logits(
            raw[counts], wanted.values[counts], reduction="sum"
        )
        entropy = entropy / counts.sum().clamp(min=1)
        if self.dice == 0:
            return {"loss_bce": entropy}
        return {"loss_bce": entropy, "loss_dice": self.dice * smooth_dice(raw.sigmoid(), wanted)}

    def instances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei of the foreground, scored by the mean probability in each."""
        labels = split_foreground(values, **self.split)
        return labels, foreground_scores(labels, values, self.split["threshold"])


def deeplabv3(
    backbone: Encoder,
    atrous_rates: Sequence[int] = (6, 12, 18),
    dice: float = 0.0,
    background: str = "similar",
    band: int = 4,
    instances: str = "components",
    threshold: float = 0.5,
    min_size: int = 20,
    h: float = 1.0,
    image_mean: Sequence[float] = (0.485, 0.456, 0.406),
    image_std: Sequence[float] = (0.229, 0.224, 0.225),
) -> DeepLabV3:
    """DeepLabV3 for one class, nucleus, trained on foreground alone.

    It takes targets of either kind: `BinaryTarget`, or `Target`, of which it reads where the
    label map is positive.

    Args:
        backbone: From `nucleist.models.resnet_body`.
        atrous_rates: Dilations of the head; Chen et al. take 6, 12, 18 at stride 16.
        dice: Weight of the smooth Dice loss beside the cross-entropy.
        background: `"similar"`, `"near"` or `"all"`: what is background where labels are partial,
            see `nucleist.models.pixel_targets.with_background`. Where they are complete it changes
            nothing.
        band: See there, pixels.
        instances: `"components"` or `"watershed"`, see `nucleist.ops.watershed.split_foreground`.
        threshold: Pixels with a higher probability are foreground, in (0, 1).
        min_size: Smaller nuclei are removed, pixels.
        h: For the watershed, see `nucleist.ops.watershed.split_foreground`.
        image_mean: Mean of each channel, images being in [0, 1]; ImageNet's.
        image_std: Standard deviation of each channel; ImageNet's.

    Raises:
        UserError: If an option with named values has another, or a number is out of its range.
    """
    one_of("model.background", background, BACKGROUNDS)
    one_of("model.instances", instances, METHODS)
    at_least("model.band", band, 0)
    at_least("model.h", h, 0)
    if not 0 < threshold < 1:
        raise UserError(f"model.threshold={threshold} is not between 0 and 1; use e.g. 0.5")
    split = {"method": instances, "threshold": threshold, "min_size": min_size, "h": h}
    return DeepLabV3(backbone, atrous_rates, dice, (background, band), split, image_mean, image_std)
