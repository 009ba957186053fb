"""Nuclei as copies of one learned shape, from foreground masks and counts alone.

Costa et al., *Explainable Weakly-Supervised Cell Nuclei Segmentation by Canonical Shape Learning
and Transformation*, MIDL 2022. A ResNet of stride 16 predicts two slots a cell; a slot is an
affine map into the frame of the canonical shape and a presence (see
`nucleist.models.canonical.shape`). What follows the encoder is computed in `float32`, whatever the
precision of the training.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from nucleist.models.backbones import Encoder
from nucleist.models.canonical.shape import (
    PATCH_PX,
    UNIT_PX,
    UPSAMPLED,
    ShapeMLP,
    Slots,
    combine,
    decode,
    from_upsampled,
    lattice,
    to_upsample,
)
from nucleist.models.canonical.slot_masks import PARAMETERS, to_prediction
from nucleist.models.net import Capabilities, Net, given
from nucleist.models.norms import for_one_image
from nucleist.ops.log_space import log_bce, smooth_dice
from nucleist.types import BinaryTarget, Prediction, UserError, one_of

CELL_PX, SLOTS = 16, 2
"""Side of a cell of the encoder's map, and the slots in it."""

OVERLAP_PX, RIM_PX = 32, 8
"""Overlap of tiles; a slot counts if it is so far inside its tile or at the image's border."""


class CanonicalShapeNet(Net):
    """Learns from `BinaryTarget`s, predicts nuclei with the parameters of their shapes.

    In training `net(images, targets)` returns `loss_bce`, `loss_dice` and `loss_count`; in
    evaluation `net(images)` returns a list of `nucleist.types.Prediction` with `parameters`
    `(N, 6)`, whose columns are `nucleist.models.canonical.slot_masks.PARAMETERS`.

    Args:
        backbone: An encoder with stride 16, such as `nucleist.models.resnet_body()`.
        alpha: Weight of the count loss; 0 trains from masks alone.
        translation: What the encoder predicts of the centre: `"cell"`, where it lies from the
            middle of the cell, which holds on images of any size; or `"absolute"`, the paper's
            `t` in a patch of 128 px, in which case larger images are tiled.
        two_pass: See `nucleist.models.canonical.shape.combine`.
        point_px: Pixels between the points at which training evaluates the shape: 1, 2, 4, 8, 16.
        grid: Points a side of 128 px at inference: 32, 64 or 128.
        group: Whether post-processing P joins masks that lie in larger ones.
        presence: Slots of at least this probability are nuclei; below 0.5 none has a mask.
        presence_bias: Initial bias of the presence, the logit of nuclei over slots.
        aspp: Whether DeepLabV3's pooling pyramid follows the ResNet.
        temperature: See `nucleist.models.canonical.shape.combine`.
        upsample: What is interpolated between points: `"log"` or `"logit"` of the probability,
            see `nucleist.models.canonical.shape.to_upsample`.
        image_mean: Mean of each channel, images being in [0, 1]; ImageNet's.
        image_std: Standard deviation of each channel; ImageNet's.

    Raises:
        UserError: If an option has an unknown value, or two do not go together.
    """

    title = "canonical shape"
    can = Capabilities(
        learns_from=("binary",), canonical_shape=True, shape_parameters=tuple(PARAMETERS)
    )

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Encoder,
        alpha: float = 0.01,
        translation: str = "cell",
        two_pass: bool = True,
        point_px: int = 4,
        grid: int = 128,
        group: bool = True,
        presence: float = 0.5,
        presence_bias: float = -3.0,
        aspp: bool = False,
        temperature: float = 0.0,
        upsample: str = "logit",
        image_mean: Sequence[float] = (0.485, 0.456, 0.406),
        image_std: Sequence[float] = (0.229, 0.224, 0.225),
    ):
        one_of("model.translation", translation, ("cell", "absolute"))
        one_of("model.point_px", point_px, (1, 2, 4, 8, 16))
        one_of("model.grid", grid, (32, 64, 128))
        one_of("model.upsample", upsample, UPSAMPLED)
        if temperature > 0 and two_pass:
            raise UserError(
                f"model.temperature={temperature} weights all slots, model.two_pass=true takes one "
                "a pixel; set model.two_pass=false, or model.temperature=0"
            )
        if backbone.stride != CELL_PX:
            raise UserError(
                f"model.backbone has stride {backbone.stride}, canonical shape needs {CELL_PX}; "
                "set model.backbone.dilated=true"
            )
        super().__init__()
        self.backbone = backbone
        self.alpha, self.translation, self.two_pass = alpha, translation, two_pass
        self.point_px, self.grid_px, self.group = point_px, PATCH_PX // grid, group
        self.presence, self.temperature, self.upsample = presence, temperature, upsample
        channels = backbone.out_channels
        self.aspp = for_one_image(ASPP(channels, [6, 12, 18])) if aspp else nn.Identity()
        channels = 256 if aspp else channels
        self.map_head = nn.Conv2d(channels, SLOTS * 5, 1)
        self.presence_head = nn.Conv2d(channels, SLOTS, 1)
        self.shape = ShapeMLP()
        diagonal = math.log(math.expm1(4.0))  # softplus makes it 4: nuclei of 7 px
        start = torch.tensor([diagonal, 0.0, diagonal, 0.0, 0.0]).repeat(SLOTS)
        self.map_head.bias = nn.Parameter(start)
        self.presence_head.bias = nn.Parameter(torch.full((SLOTS,), float(presence_bias)))
        self.register_buffer("mean", torch.tensor(image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(image_std).view(3, 1, 1), persistent=False)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[BinaryTarget] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """See `Net.forward`."""
        if not self.training:
            return [self.predict(image) for image in images]
        return self.losses(images, given(targets))

    def slots(self, images: Sequence[Tensor]) -> Slots:
        """The `(B, N)` slots of images, padded to one size; slots in the padding are absent."""
        # Two cells a side: batch normalisation learns nothing from one, and torch refuses it.
        least = PATCH_PX if self.translation == "absolute" else 2 * CELL_PX
        sides = zip(*(image.shape[1:] for image in images), strict=True)
        rows, cols = (_whole_cells(max(least, *side)) for side in sides)
        batch = torch.stack([_reflected((i - self.mean) / self.std, rows, cols) for i in images])
        features = self.aspp(self.backbone(batch))
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits = self.presence_head(features)
            slots = decode(self.map_head(features), logits, self.translation, CELL_PX)
        row, col = (torch.arange(n, device=features.device) * CELL_PX for n in logits.shape[2:])
        inside = [(row < i.shape[1])[:, None] & (col < i.shape[2]) for i in images]
        real = torch.stack(inside).repeat(1, SLOTS, 1).flatten(1)
        # Finite: the gradient of an infinite logit would be NaN.
        return slots._replace(logit=slots.logit.masked_fill(~real, -1e4))

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[BinaryTarget]
    ) -> dict[str, Tensor]:
        """`loss_bce`, `loss_dice` and `loss_count` (times `alpha`), means over the images."""
        sizes = [(int(i.shape[1]), int(i.shape[2])) for i in images]
        if self.translation == "absolute" and max(max(size) for size in sizes) > PATCH_PX:
            raise UserError(
                f"model.translation=absolute learns from patches of {PATCH_PX} px, this batch has "
                f"{max(sizes)}; set augment.crop={PATCH_PX}, or model.translation=cell"
            )
        slots = self.slots(images)
        with torch.autocast(slots.logit.device.type, enabled=False):
            return self.losses_of(slots, targets)

    def losses_of(self, slots: Slots, targets: Sequence[BinaryTarget]) -> dict[str, Tensor]:
        """The losses of given `(B, N)` slots."""
        sizes = [t["mask"].shape for t in targets]
        rows, cols = (_whole_cells(max(side)) for side in zip(*sizes, strict=True))
        x, y = lattice((rows, cols), self.point_px, slots.logit.device)
        combined = combine(self.shape, slots, x, y, self.two_pass, self.temperature)
        coarse = to_upsample(combined, self.upsample).view(len(sizes), 1, rows // self.point_px, -1)
        fine = F.interpolate(coarse, size=(rows, cols), mode="bilinear", align_corners=False)
        log_p = from_upsampled(fine, self.upsample)
        bce, dice = [], []
        for one, target, (height, width) in zip(log_p[:, 0], targets, sizes, strict=True):
            mask = target["mask"].float()
            bce.append(log_bce(one[:height, :width], mask).mean())
            dice.append(smooth_dice(one[:height, :width], mask))
        found = slots.logit.sigmoid().sum(1)
        wanted = torch.stack([target["count"] for target in targets]).to(found)
        return {
            "loss_bce": torch.stack(bce).mean(),
            "loss_dice": torch.stack(dice).mean(),
            "loss_count": self.alpha * ((found - wanted) ** 2).mean(),
        }

    @torch.no_grad()
    def predict(self, image: Tensor) -> Prediction:
        """The nuclei of one `(3, H, W)` image of any size."""
        height, width = int(image.shape[1]), int(image.shape[2])
        tiled = self.translation == "absolute" and max(height, width) > PATCH_PX
        slots, tile = self._tiled(image) if tiled else (self.slots([image]).at((0,)), None)
        with torch.autocast(image.device.type, enabled=False):
            present = (slots.logit.sigmoid() >= self.presence).nonzero()[:, 0]
            tile = tile[present] if tile is not None else None
            return to_prediction(
                self.shape,
                slots.at(present),
                (height, width),
                self.grid_px,
                self.group,
                tile,
                self.upsample,
            )

    def _tiled(self, image: Tensor) -> tuple[Slots, Tensor]:
        """Slots of overlapping tiles in the frame of the image, and the tile of each."""
        found: list[Slots] = []
        tiles: list[Tensor] = []
        for top in _starts(image.shape[1]):
            for left in _starts(image.shape[2]):
                part = image[:, top : top + PATCH_PX, left : left + PATCH_PX]
                slots = self.slots([part]).at((0,))
                corner = slots.center.new_tensor([left, top])
                center = slots.center + corner / UNIT_PX
                size = center.new_tensor([image.shape[2], image.shape[1]])
                low = torch.where(corner > 0, corner + RIM_PX, -torch.inf)
                high = torch.where(corner + PATCH_PX < size, corner + PATCH_PX - RIM_PX, torch.inf)
                inside = ((center * UNIT_PX >= low) & (center * UNIT_PX < high)).all(1)
                found.append(slots._replace(center=center).at(inside))
                tiles.append(torch.full_like(found[-1].logit, len(tiles), dtype=torch.int64))
        return Slots(*(torch.cat(part) for part in zip(*found, strict=True))), torch.cat(tiles)

    @torch.no_grad()
    def canonical_shape(self, size: int) -> Tensor:
        """See `Net.canonical_shape` (paper, Fig. 3)."""
        step = (torch.arange(size, device=self.mean.device) + 0.5) / size * 2 - 1
        return self.shape(step.expand(size, -1), step[:, None].expand(-1, size)).exp()

    def outline_radius(self) -> float:
        """Mean over the angle of the radius at `p = 0.5`; NaN if some direction has none."""
        return float(self.shape.radii().mean())

    def angular_deviation(self) -> float:
        """How far the shape is from a circle: 0 for one, NaN if some direction has no outline.

        The standard deviation over the angle of the radius of the outline at `p = 0.5`, seen from
        the origin of the canonical frame, divided by its mean over the angle.
        """
        return float(self.shape.radii().std(correction=0)) / self.outline_radius()

    def facts(self) -> dict[str, float]:
        """Outline radius and angular deviation of the learned shape."""
        return {
            "outline_radius": self.outline_radius(),
            "angular_deviation": self.angular_deviation(),
        }


def _whole_cells(side: int) -> int:
    return -(-side // CELL_PX) * CELL_PX


def _reflected(image: Tensor, rows: int, cols: int) -> Tensor:
    """`(C, H, W)` grown downwards and to the right to `rows` x `cols`, by reflections."""
    for axis, wanted in ((1, rows), (2, cols)):
        last = image.shape[axis] - 1
        place = torch.arange(wanted, device=image.device)
        if last < wanted - 1:
            place = last - (place % max(2 * last, 1) - last).abs()
        image = image.index_select(axis, place)
    return image


def _starts(side: int) -> list[int]:
    """Where tiles begin; the last one is shifted inward."""
    if side <= PATCH_PX:
        return [0]
    return [*range(0, side - PATCH_PX, PATCH_PX - OVERLAP_PX), side - PATCH_PX]


def canonical_shape(backbone: Encoder, **options: Any) -> CanonicalShapeNet:
    """The canonical-shape net.

    Args:
        backbone: From `nucleist.models.resnet_body`.
        **options: See `CanonicalShapeNet`.
    """
    return CanonicalShapeNet(backbone, **options)
