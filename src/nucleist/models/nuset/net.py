"""NuSeT: foreground by a U-Net, boxes by an RPN on its encoder, nuclei by a watershed from both.

Source: Yang et al., *NuSeT: A deep learning tool for reliably separating and analyzing crowded
cells*, PLoS Computational Biology 2020, and the authors' code. Where the two differ, or the code
has an error, an option has the other; the defaults follow the paper, and what its text leaves open
the code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nucleist.models.map_net import at_least, mean_in, stack, to_prediction
from nucleist.models.net import Capabilities, Net, Part, Parts, given, knowing
from nucleist.models.nuset.anchors import median_size
from nucleist.models.nuset.inputs import gray, moments, shifted, standardized
from nucleist.models.nuset.losses import ForegroundLoss
from nucleist.models.nuset.rpn import NucleusRPN
from nucleist.models.nuset.scale import enlarged, enlarged_target, taken_back
from nucleist.models.nuset.seeds import cleaned, cut_foreground
from nucleist.models.pixel_targets import BACKGROUNDS, known_pixels, weighing, with_background
from nucleist.models.unet_body import STRIDE, UNet, xavier
from nucleist.ops.borders import HEIGHT, VARIANCE
from nucleist.ops.cleaning import pieces_from
from nucleist.ops.labels import boxes_of
from nucleist.ops.watershed import METHODS, SQUARE, without_small
from nucleist.types import Prediction, Target, UserError, Window, one_of


class Cut(NamedTuple):
    """How a foreground becomes nuclei; see `nuset`."""

    instances: str
    min_area: int
    clean: float
    size_connectivity: int
    seeds: Mapping[str, Any]


class Found(NamedTuple):
    """What the net computes for a batch.

    Attributes:
        classes: `(B, 2, H, W)` `float32`, logits of background and foreground.
        scores: `(B, P, 2)`, logits of the anchors.
        deltas: `(B, P, 4)`, offsets of the anchors.
        grid: Rows and columns of the anchors' cells.
    """

    classes: Tensor
    scores: Tensor
    deltas: Tensor
    grid: tuple[int, int]


class NuSeT(Net):
    """Foreground, boxes and a watershed; made by `nuset`."""

    title = "NuSeT"
    can = Capabilities(surveys=True)

    def __init__(
        self,
        unet: UNet,
        rpn: NucleusRPN,
        loss: ForegroundLoss,
        cut: Cut,
        standardize: bool,
        background: tuple[str, int],
        scale: float,
    ):
        super().__init__()
        self.scale = scale
        self.unet, self.rpn = unet.apply(xavier), rpn
        self.loss, self.cut, self.standardize = loss, cut, standardize
        self.background = background  # kind and band, see `with_background`

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`."""
        inner = [enlarged(image, self.scale) for image in images]
        found = self._run(inner)
        sizes = [(image.shape[-2], image.shape[-1]) for image in inner]
        if self.training:
            pairs = zip(images, given(targets), strict=True)
            known = [with_background(*pair, *self.background) for pair in pairs]
            wanted = [enlarged_target(*pair) for pair in zip(known, sizes, strict=True)]
            return self._losses(found, sizes, wanted)
        return [
            self._nuclei(found, index, size, image.shape[-2:])
            for index, (size, image) in enumerate(zip(sizes, images, strict=True))
        ]

    def step_counts(self) -> Mapping[str, Tensor]:
        """See `Net.step_counts`: anchors that the last step sampled, of either class."""
        return self.rpn.counts

    def box_weights(self) -> tuple[float, ...]:
        """See `Net.box_weights`."""
        return tuple(self.rpn.coder.weights)

    def _run(self, images: Sequence[Tensor]) -> Found:
        grays = [gray(image) for image in images]
        known = None if self.training else self.surveyed
        inputs = [standardized(g, known) if self.standardize else shifted(g) for g in grays]
        encoded = self.unet.encode(stack(inputs, STRIDE))
        classes = self.unet.head(self.unet.decode(encoded)).float()
        scores, deltas = self.rpn(encoded.pooled)
        rows, cols = encoded.pooled.shape[-2:]
        return Found(classes, scores, deltas, (rows, cols))

    def _losses(
        self, found: Found, sizes: Sequence[tuple[int, int]], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        device = found.classes.device
        wanted = self.loss.targets(targets, found.classes.shape[-2:])
        areas = [torch.from_numpy(known_pixels(target)).to(device) for target in targets]
        boxes = [target["boxes"].to(device) for target in targets]
        return {
            **self.loss(found.classes, wanted),
            **self.rpn.losses((found.scores, found.deltas), found.grid, boxes, sizes, areas),
        }

    @torch.no_grad()
    def _nuclei(
        self, found: Found, index: int, size: tuple[int, int], outer: Sequence[int]
    ) -> Prediction:
        """Nuclei of one image, scored by the mean probability of foreground, above 0.5.

        `size` is that of the image as the net has seen it, `outer` its own.
        """
        logits = self._foreground(found, index, size)
        mask = (logits > 0).cpu().numpy()
        mean = (self.surveyed or {}).get("area")
        labels = cleaned(self._labels(mask, found, index), self.cut.clean, mean)
        # Filled holes are of the nucleus, but would lower its score, perhaps below 0.5.
        means = mean_in(labels, np.where(mask, logits.sigmoid().cpu().numpy(), 0.5))
        labels, kept = taken_back(labels, outer)
        return to_prediction(labels, means[kept - 1], logits.device)

    def _foreground(self, found: Found, index: int, size: tuple[int, int]) -> Tensor:
        """Logits of the foreground of one image, `(H, W)`."""
        background, foreground = found.classes[index, :, : size[0], : size[1]]
        return foreground - background

    @torch.no_grad()
    def survey(self, parts: Sequence[Part]) -> Mapping[str, float]:
        """See `Net.survey`: mean and deviation, the nuclei's median size and their mean area."""
        inner = Parts(len(parts), lambda index: self._inner(parts[index]))
        known = moments([gray(part.image)[0, *part.core.slices] for part in inner])
        with knowing(self, known):  # all that the foreground depends on
            boxes = [self._survey(part, sized=False)[1] for part in inner]
        known["size"] = median_size(torch.cat(boxes), self.rpn.fallback_size)
        with knowing(self, known):
            areas = np.concatenate([self._survey(part, sized=True)[0] for part in inner])
        return {**known, "area": float(areas.mean()) if len(areas) else 0.0}

    def _inner(self, part: Part) -> Part:
        """A part at the scale of the net."""
        core = Window(*(round(end * self.scale) for end in part.core))
        return Part(enlarged(part.image, self.scale), core)

    def _survey(self, part: Part, sized: bool) -> tuple[np.ndarray, Tensor]:
        """Areas and boxes of what begins in a core: of the nuclei if the anchors have their size.

        Else of the pieces of the foreground, by which that size is measured.
        """
        found = self._run([part.image])
        size = (part.image.shape[-2], part.image.shape[-1])
        mask = (self._foreground(found, 0, size) > 0).cpu().numpy()
        if sized:
            labels = self._labels(mask, found, 0)
        else:
            labels = self._pieces(mask, self.cut.size_connectivity)
        ids, areas = pieces_from(labels, part.core.slices)
        return areas, boxes_of(torch.from_numpy(labels), int(labels.max()))[ids - 1]

    def _labels(self, mask: np.ndarray, found: Found, index: int) -> np.ndarray:
        """The foreground `(H, W)` of one image cut into nuclei, before they are cleaned."""
        if self.cut.instances == "components":
            return self._pieces(mask, None)
        boxes = self._sizes(mask).to(found.deltas.device)
        anchors = self.rpn.anchors(found.grid, boxes)
        size = (mask.shape[0], mask.shape[1])
        proposals = self.rpn.proposals(found.scores[index], found.deltas[index], anchors, size)
        for limit in proposals.limits:
            self.limits_reached[limit] = self.limits_reached.get(limit, 0) + 1
        return cut_foreground(
            mask, proposals.boxes.cpu().numpy(), min_area=self.cut.min_area, **self.cut.seeds
        )

    def _sizes(self, mask: np.ndarray) -> Tensor:
        """Boxes `(N, 4)` with the median size of an image's pieces of foreground."""
        if self.surveyed is not None:
            size = self.surveyed["size"]
            return torch.tensor([[0.0, 0.0, size, size]])
        pieces = torch.from_numpy(self._pieces(mask, self.cut.size_connectivity))
        return boxes_of(pieces, int(pieces.max()))

    def _pieces(self, mask: np.ndarray, connectivity: int | None) -> np.ndarray:
        structure = SQUARE if connectivity == 8 else None
        pieces = ndimage.label(mask, structure, output=np.int32)[0]
        return without_small(pieces, self.cut.min_area)


def nuset(
    width: int = 64,
    norm: bool = False,
    deep_skip: bool = False,
    rpn: Mapping[str, Any] | None = None,
    standardize: bool = True,
    scale: float = 1.0,
    loss_weights: str = "borders",
    border_height: float = HEIGHT,
    border_variance: float = VARIANCE,
    dice_of_logits: bool = False,
    background: str = "similar",
    band: int = 4,
    instances: str = "watershed",
    seed_border: float = 20.0,
    seed_radius: float = 3.0,
    line: bool = False,
    min_area: int = 10,
    clean: float = 0.2,
    size_connectivity: int = 4,
) -> NuSeT:
    """NuSeT, trained on label maps (`Target`).

    Args:
        width: Channels of the first of five levels: 64 in the paper (34.6 M parameters).
        norm: Batch normalisation in the U-Net, which the paper's net lacks.
        deep_skip: A skip connection at the lowest resolution too; the authors' code has none.
        rpn: Options of `nucleist.models.nuset.rpn.NucleusRPN`.
        standardize: Each image minus its mean, divided by its standard deviation. False: minus 0.5,
            divided by 0.25, as the fine net of `nucleist.models.two_pass` needs, whose own
            normalisation would be undone.
        scale: Images are enlarged by it, and nuclei taken back to their size. The RPN's cells of 16
            px cannot tell nuclei apart that are not much larger: 24 to 64 px are good. Other
            options in pixels are those of the enlarged image, except `band`.
        loss_weights: `"borders"`, or `"events"` if the nuclei are rare, see
            `nucleist.models.pixel_targets.weighing`.
        border_height: Weight added to background between nuclei.
        border_variance: How fast it falls off, px^2: 5 in the paper, 25 in the released code.
        dice_of_logits: See `nucleist.models.nuset.losses.ForegroundLoss`.
        background: `"similar"`, `"near"` or `"all"`, see
            `nucleist.models.pixel_targets.with_background`.
        band: See there, pixels; where labels are complete it changes nothing.
        instances: `"watershed"` from the RPN's boxes, or `"components"`.
        seed_border: See `nucleist.models.nuset.seeds.cut_foreground`, as for the next two.
        seed_radius: Pixels.
        line: Leave a line of background between nuclei.
        min_area: Smaller pieces of the foreground are dropped, pixels.
        clean: Share of the mean area below which nuclei are removed and holes are filled.
        size_connectivity: Of the pieces of foreground whose median size the anchors have: 4, or 8
            as in the authors' code.

    Raises:
        UserError: If an option with named values has another, or a number is negative.
    """
    one_of("model.background", background, BACKGROUNDS)
    one_of("model.instances", instances, METHODS)
    one_of("model.size_connectivity", size_connectivity, (4, 8))
    for option, value, least in (
        ("border_height", border_height, 0),
        ("border_variance", border_variance, 0.1),
        ("band", band, 0),
        ("seed_border", seed_border, 0),
        ("seed_radius", seed_radius, 0),
        ("clean", clean, 0),
    ):
        at_least(f"model.{option}", value, least)
    if not scale > 0:
        raise UserError(f"model.scale={scale} is not above 0; use 1, or 2 for small nuclei")
    unet = UNet(
        width,
        in_channels=1,
        out_channels=2,
        norm=norm,
        up_kernel=3,
        up_relu=False,
        deep_skip=deep_skip,
        head_kernel=3,
    )
    loss = ForegroundLoss(weighing(loss_weights, border_height, border_variance), dice_of_logits)
    seeds = {"border": seed_border, "radius": seed_radius, "line": line}
    cut = Cut(instances, min_area, clean, size_connectivity, seeds)
    own = NucleusRPN(8 * width, **(rpn or {}))
    return NuSeT(unet, own, loss, cut, standardize, (background, band), scale)
