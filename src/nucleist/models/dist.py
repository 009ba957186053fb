"""DIST: a U-Net that predicts each pixel's distance to the border of its nucleus.

Source: Naylor et al., *Segmentation of Nuclei in Histopathology Images by Deep Regression of the
Distance Map*, IEEE TMI 38(2), 2019, and the authors' code. What is not known to be background is
not learned, as in `unet`; in the paper whatever is not labelled is background.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucleist.models.map_net import MapNet, at_least, mean_in, stack_target_maps
from nucleist.models.net import given
from nucleist.models.pixel_targets import BACKGROUNDS, known_pixels, with_background
from nucleist.models.unet_body import MARGIN, STRIDE, UNet
from nucleist.ops.distances import METRICS, distance_map, edge_distance
from nucleist.ops.watershed import split_distances
from nucleist.types import one_of


def _initial(module: nn.Module) -> None:
    """The authors' initial values, for a module of any kind."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        fan = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        std = fan**-0.5
        nn.init.trunc_normal_(module.weight, 0.0, std, -2 * std, 2 * std)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.constant_(module.bias, 0.1)


class Dist(MapNet):
    """Distances by a U-Net, nuclei by a watershed; made by `dist`."""

    title = "DIST"

    def __init__(
        self,
        unet: UNet,
        padded: bool,
        metric: str,
        background: tuple[str, int],
        split: dict[str, Any],
        image_mean: Sequence[float],
        image_std: Sequence[float],
    ):
        # Without padding sides of 16 k + 60 go in and sides 2 * MARGIN shorter come out.
        rest, margin = (0, 0) if padded else ((60 - 2 * MARGIN) % STRIDE, MARGIN)
        super().__init__(image_mean, image_std, STRIDE, rest, margin)
        self.unet, self.metric, self.split = unet.apply(_initial), metric, split
        self.background = background  # kind and band, see `with_background`

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`."""
        if self.training:
            pairs = zip(images, given(targets), strict=True)
            targets = [with_background(*pair, *self.background) for pair in pairs]
        return super().forward(images, targets)

    def raw(self, batch: Tensor) -> Tensor:
        """Distances in pixels, `(B, H, W)`; negative ones occur."""
        return self.unet(batch)[:, 0]

    def losses(self, raw: Tensor, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Mean squared error over the pixels whose distance is known.

        Unknown are padding, what may be a nucleus that nobody labelled, and pixels of cut nuclei
        that may lie nearer to a border outside of the image than to the one inside. (The authors
        measure distances before they cut patches, which a crop of a label map does not allow.)
        """
        maps = [distance_map(t["label_map"].cpu().numpy(), self.metric) for t in targets]
        certain = [
            torch.from_numpy((d <= edge_distance(d.shape)) & known_pixels(target))
            for d, target in zip(maps, targets, strict=True)
        ]
        wanted = stack_target_maps([torch.from_numpy(d) for d in maps], certain, raw.shape[1:])
        known = wanted.known.to(raw.device)
        error = (raw - wanted.values.to(raw.device)) * known
        return {"loss_distance": error.square().sum() / known.sum().clamp(min=1)}

    def instances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei by watershed, scored by how deep their basins are for their outlines.

        The prediction with the least squared error is the mean over all possible distances: about
        p times the distance where a pixel is in a nucleus with probability p. So the ratio r of
        the predicted distances to those measured from the found outline, both summed over the
        nucleus, estimates p whatever the nucleus's size. DIST itself keeps every nucleus that its
        watershed finds, so the score is (1 + r) / 2 with r at most 1: all are above 0.5, the usual
        threshold, and higher thresholds drop the flat ones first.
        """
        labels = split_distances(values, **self.split)
        own = mean_in(labels, distance_map(labels, self.metric))
        ratio = mean_in(labels, values.clip(0)) / own
        return labels, 0.5 + 0.5 * np.minimum(ratio, 1.0)


def dist(
    width: int = 16,
    padding: str = "same",
    metric: str = "chessboard",
    background: str = "similar",
    band: int = 4,
    h: float = 1.0,
    threshold: float = 0.5,
    min_size: int = 20,
    parity: bool = False,
    image_mean: Sequence[float] = (0.5, 0.5, 0.5),
    image_std: Sequence[float] = (0.25, 0.25, 0.25),
) -> Dist:
    """DIST, trained on label maps (`Target`).

    The paper's penalty, 5e-5 times half the squared kernels, is `weight_decay=5e-5` of
    `torch.optim.Adam`.

    Args:
        width: Channels of the first level: 16 (1.94 M parameters), 32 or 64 in the paper.
        padding: `"same"`: zeros around each convolution. `"valid"`: none, as the paper; images
            get 92 mirrored pixels on each side instead, and cost several times as much.
        metric: `"chessboard"` (the paper's) or `"euclidean"` distances.
        background: `"similar"`, `"near"` or `"all"`: what is background where labels are partial,
            see `nucleist.models.pixel_targets.with_background`. Where they are complete it changes
            nothing.
        band: See there, pixels.
        h: See `nucleist.ops.watershed.split_distances`, as for the next three; to be chosen on
            labelled images.
        threshold: Larger distances are nucleus, pixels.
        min_size: Smaller nuclei are removed, pixels; 0 in the authors' code.
        parity: Distances cut to whole numbers, as in the authors' code.
        image_mean: Mean of each channel, images being in [0, 1].
        image_std: Standard deviation of each channel.

    Raises:
        UserError: If an option with named values has another, or a number is negative.
    """
    one_of("model.padding", padding, ("same", "valid"))
    one_of("model.metric", metric, METRICS)
    one_of("model.background", background, BACKGROUNDS)
    at_least("model.band", band, 0)
    at_least("model.h", h, 0)
    at_least("model.threshold", threshold, 0)
    split = {"h": h, "threshold": threshold, "min_size": min_size, "parity": parity}
    padded = padding == "same"
    unet, background_of = UNet(width, int(padded)), (background, band)
    return Dist(unet, padded, metric, background_of, split, image_mean, image_std)
