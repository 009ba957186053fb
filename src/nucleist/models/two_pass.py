"""Foreground normalisation: intensities in units of the nuclei, which a first net has found.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020. An image is normalised by the mean
and the standard deviation of its nuclei instead of the whole image's, so that the density of
nuclei does not change their brightness. In training the nuclei are the labels; afterwards a coarse
net finds them, and a second one, the fine net, sees the image that is normalised by them.

The paper trains one net after the other. Here both are trained at once: they share nothing, since
the fine net's training images are normalised by their labels, not by what the coarse one finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nucleist.models.net import Net, Part, Parts, Surveyed, given, knowing
from nucleist.types import UserError, one_of

CENTERS = ("mean", "median")
"""What of the nuclei becomes 0.5: their mean (the paper) or their median (the authors' code)."""

LEAST = 10
"""With fewer pixels of nuclei the whole image is taken instead."""


FLOOR = 0.1
"""Least deviation of the nuclei, of that of the whole image. Nuclei that are all saturated, or of
which a window has a corner, have none, and dividing by it would leave the rest of the image at
thousands: one such window spoils a net's running statistics, and its weights."""


def by_foreground(image: Tensor, inside: Tensor, center: str = "mean") -> Tensor:
    """Normalise an image by its nuclei: their middle becomes 0.5, their deviation 0.25.

    With the image mean of 0.5 and standard deviation of 0.25 that nets have by default, their
    input is in standard deviations of the nuclei. Nuclei of nearly one brightness count as if they
    had `FLOOR` of the deviation of the image.

    Args:
        image: `(C, H, W)`; the statistics are those of all channels together.
        inside: `(H, W)` bool, the nuclei; with fewer than `LEAST` pixels the whole image counts.
        center: One of `CENTERS`.
    """
    own = image[:, inside] if int(inside.sum()) >= LEAST else image.flatten(1)
    return by_numbers(image, *numbers_of(own, image.std(correction=0), center))


def numbers_of(own: Tensor, spread: Tensor, center: str) -> tuple[Tensor, Tensor]:
    """Middle and deviation to normalise by.

    Args:
        own: Pixels of nuclei, `(C, K)`, all channels together.
        spread: Standard deviation of the image.
        center: One of `CENTERS`.
    """
    middle = own.mean() if center == "mean" else own.median()
    return middle, own.std(correction=0).maximum(FLOOR * spread)


def by_numbers(image: Tensor, middle: Tensor | float, deviation: Tensor | float) -> Tensor:
    """An image whose middle becomes 0.5 and whose deviation 0.25."""
    return 0.5 + 0.25 * (image - middle) / (deviation + 1e-5)


class TwoPass(Net):
    """A coarse net that finds the nuclei to normalise by, and a fine one; made by `two_pass`."""

    def __init__(self, coarse: Net, fine: Net, center: str):
        super().__init__()
        self.coarse, self.fine, self.center = coarse, fine, center
        self.title = f"{fine.title or type(fine).__name__}, foreground-normalised"
        self.can = replace(
            fine.can,
            learns_from=("instances",),
            centers=False,
            attention=False,
            canonical_shape=False,
            coarse=True,
            coco_weights=False,
            surveys=True,
        )
        self.limits_reached = fine.limits_reached

    def forward(self, images: Sequence[Tensor], targets: Sequence[Any] | None = None) -> Any:
        """See `Net.forward`; the losses of the coarse net are called `loss_coarse_...`."""
        self.fine.score_floor = self.score_floor
        if not self.training and self.surveyed:
            middle, deviation = self.surveyed["middle"], self.surveyed["deviation"]
            with knowing(self.fine, _of("fine.", self.surveyed)):
                return self.fine([by_numbers(image, middle, deviation) for image in images])
        if not self.training:
            coarse = self.coarse(images)
            found = self.fine(self._normalized(images, coarse))
            return [
                {**one, "coarse": first["label_map"] > 0}
                for one, first in zip(found, coarse, strict=True)
            ]
        targets = given(targets)
        losses = self.coarse(images, targets)
        named = {name.replace("loss_", "loss_coarse_", 1): loss for name, loss in losses.items()}
        return named | self.fine(self._normalized(images, targets), targets)

    @torch.no_grad()
    def survey(self, parts: Sequence[Part]) -> Surveyed:
        """See `Net.survey`: the nuclei that the coarse net finds, and what the fine net measures.

        The coarse net finds nothing that the tiles need besides.
        """
        coarse = self.coarse.survey(parts) if self.coarse.can.surveys else None
        with knowing(self.coarse, coarse):
            nuclei, moments = zip(*map(self._nuclei, parts), strict=True)
        own = torch.cat(nuclei, 1)
        if own.shape[1] < LEAST:
            own = torch.cat([p.image[:, *p.core.slices].flatten(1) for p in parts], 1)
        count, total, squares = torch.stack(moments).sum(0)
        spread = (squares / count - (total / count).square()).clamp(min=0).sqrt()
        numbers = numbers_of(own, spread.to(own), self.center)
        middle, deviation = (float(number) for number in numbers)

        def seen(index: int) -> Part:
            part = parts[index]
            return part._replace(image=by_numbers(part.image, middle, deviation))

        fine = self.fine.survey(Parts(len(parts), seen)) if self.fine.can.surveys else {}
        measured = {f"fine.{key}": value for key, value in fine.items()}
        return {"middle": middle, "deviation": deviation, **measured}

    def _nuclei(self, part: Part) -> tuple[Tensor, Tensor]:
        """Pixels `(3, K)` of nuclei in the core of a window, as the coarse net finds them.

        Besides, `(3,)` `float64`: number, sum and sum of squares of all values in the core.
        """
        inside = self.coarse([part.image])[0]["label_map"][part.core.slices] > 0
        pixels = part.image[:, *part.core.slices]
        values = pixels.cpu().double()  # not every device has float64
        number = values.new_tensor(values.numel())
        moments = torch.stack([number, values.sum(), values.square().sum()])
        return pixels[:, inside], moments

    def _normalized(self, images: Sequence[Tensor], nuclei: Sequence[Any]) -> list[Tensor]:
        """Images normalised by the label maps of targets or predictions."""
        return [
            by_foreground(image, one["label_map"] > 0, self.center)
            for image, one in zip(images, nuclei, strict=True)
        ]

    def step_counts(self) -> Mapping[str, Tensor]:
        """Those of the fine net."""
        return self.fine.step_counts()

    def facts(self) -> Mapping[str, float]:
        """Those of the fine net."""
        return self.fine.facts()

    def box_weights(self) -> tuple[float, ...] | None:
        """Those of the fine net."""
        return self.fine.box_weights()


def _of(part: str, surveyed: Surveyed) -> Surveyed | None:
    """What was surveyed of one of the two nets; None if it surveys nothing."""
    own = {key.removeprefix(part): v for key, v in surveyed.items() if key.startswith(part)}
    return own or None


def two_pass(coarse: Net, fine: Net, center: str = "mean") -> TwoPass:
    """Foreground normalisation of any net.

    Args:
        coarse: Finds the nuclei by which images are normalised; `nucleist.models.otsu` will do.
        fine: Finds the nuclei in images so normalised.
        center: `"mean"` or `"median"` of the nuclei.

    Raises:
        UserError: If `center` is another, or one of the nets does not learn from instances.
    """
    one_of("model.center", center, CENTERS)
    for name, net in (("coarse", coarse), ("fine", fine)):
        if "instances" not in net.can.learns_from:
            raise UserError(
                f"model.{name}: {type(net).__name__} learns from {net.can.learns_from[0]} targets; "
                "use a net that learns from instances"
            )
    if not fine.can.trains:
        raise UserError(
            f"model.fine: {type(fine).__name__} is not trained, and no normalisation changes it; "
            "use it alone"
        )
    return TwoPass(coarse, fine, center)
