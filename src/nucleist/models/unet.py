"""U-Net for nuclei: a probability of foreground a pixel, then nuclei by watershed or connectivity.

Source: Ronneberger et al., *U-Net*, MICCAI 2015; loss and clean-up as in Yang et al., *NuSeT*,
PLoS Computational Biology 2020, which compares with it. What is not known to be background is not
learned: nuclei that nobody labelled are not taken for background.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nucleist.models.map_net import MapNet, at_least, foreground_scores, surveyed_area
from nucleist.models.net import Capabilities, Part, given
from nucleist.models.pixel_targets import (
    BACKGROUNDS,
    Weigh,
    pixel_targets,
    weighing,
    with_background,
)
from nucleist.models.unet_body import STRIDE, xavier
from nucleist.models.unet_body import UNet as Body
from nucleist.ops.borders import HEIGHT, VARIANCE
from nucleist.ops.pixel_losses import two_class_dice, weighted_entropy
from nucleist.ops.watershed import METHODS, split_foreground
from nucleist.types import Target, UserError, one_of


class UNet(MapNet):
    """Foreground by a U-Net; made by `unet`."""

    title = "U-Net"
    can = Capabilities(surveys=True)

    def __init__(
        self,
        body: Body,
        weigh: Weigh,
        background: str,
        band: int,
        split: dict[str, Any],
        image_mean: Sequence[float],
        image_std: Sequence[float],
    ):
        super().__init__(image_mean, image_std, STRIDE)
        self.unet = body.apply(xavier)
        self.weigh, self.background, self.band, self.split = weigh, background, band, split

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`."""
        if self.training:
            pairs = zip(images, given(targets), strict=True)
            targets = [with_background(*pair, self.background, self.band) for pair in pairs]
        return super().forward(images, targets)

    def raw(self, batch: Tensor) -> Tensor:
        """Logits of foreground, `(B, H, W)`."""
        return self.unet(batch)[:, 0]

    def readable(self, raw: Tensor) -> Tensor:
        """Probability of foreground."""
        return raw.sigmoid()

    def losses(self, raw: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Weighted cross-entropy and Dice over the known pixels; see `nucleist.ops.borders`."""
        wanted = pixel_targets(targets, self.weigh, raw.shape[1:])
        inside, weights, known = (part.to(raw.device) for part in wanted)
        return {
            "loss_entropy": weighted_entropy(raw, inside, weights, known),
            "loss_dice": two_class_dice(raw, inside, known),
        }

    @torch.no_grad()
    def survey(self, parts: Sequence[Part]) -> Mapping[str, float]:
        """See `Net.survey`: the mean area, by which small pieces and holes are told."""
        threshold = self.split["threshold"]
        masks = ((self.maps([p.image])[0].cpu().numpy() > threshold, p.core) for p in parts)
        return {"mean": surveyed_area(masks)}

    def instances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei of the foreground, scored by the mean probability in each."""
        mean = self.surveyed["mean"] if self.surveyed else None
        labels = split_foreground(values, **self.split, mean=mean)
        return labels, foreground_scores(labels, values, self.split["threshold"])


def unet(
    width: int = 16,
    norm: bool = True,
    loss_weights: str = "borders",
    border_height: float = HEIGHT,
    border_variance: float = VARIANCE,
    background: str = "similar",
    band: int = 4,
    instances: str = "watershed",
    threshold: float = 0.5,
    h: float = 1.0,
    min_size: int = 20,
    clean: float = 0.2,
    image_mean: Sequence[float] = (0.5, 0.5, 0.5),
    image_std: Sequence[float] = (0.25, 0.25, 0.25),
) -> UNet:
    """U-Net with NuSeT's loss, trained on label maps (`Target`).

    Args:
        width: Channels of the first of five levels: 16 (1.94 M parameters), 64 in the papers.
        norm: Batch normalisation, which the papers' nets lack.
        loss_weights: `"borders"`, or `"events"` if the nuclei are rare, see
            `nucleist.models.pixel_targets.weighing`.
        border_height: Weight of the gap between two nuclei; 0 for none.
        border_variance: Square of its width, px^2: 5 as NuSeT, 25 as U-Net.
        background: `"similar"`, `"near"` or `"all"`: what is background where labels are partial,
            see `nucleist.models.pixel_targets.with_background`. Where they are complete it changes
            nothing.
        band: See there, pixels.
        instances: `"watershed"` or `"components"`, see
            `nucleist.ops.watershed.split_foreground`, as for the next four.
        threshold: Pixels with a higher probability are foreground, in (0, 1).
        h: Depth of the waist at which the watershed cuts, pixels.
        min_size: Smaller nuclei are removed, pixels.
        clean: Share of the mean area below which nuclei are removed and holes are filled.
        image_mean: Mean of each channel, images being in [0, 1].
        image_std: Standard deviation of each channel.

    Raises:
        UserError: If an option with named values has another, or a number is out of its range.
    """
    one_of("model.background", background, BACKGROUNDS)
    one_of("model.instances", instances, METHODS)
    for option, value in (("border_height", border_height), ("band", band), ("clean", clean)):
        at_least(f"model.{option}", value, 0)
    at_least("model.h", h, 0)
    if not border_variance > 0:
        raise UserError(f"model.border_variance={border_variance} is not above 0; use e.g. 5")
    if not 0 < threshold < 1:
        raise UserError(f"model.threshold={threshold} is not between 0 and 1; use e.g. 0.5")
    split = {"method": instances, "threshold": threshold, "min_size": min_size, "h": h}
    split["clean"] = clean
    weigh = weighing(loss_weights, border_height, border_variance)
    body = Body(width, norm=norm)
    return UNet(body, weigh, background, band, split, image_mean, image_std)
