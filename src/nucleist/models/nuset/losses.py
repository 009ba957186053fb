"""The losses of NuSeT's foreground: weighted cross-entropy and Dice.

Source: Yang et al., PLoS Comput Biol 2020, and the authors' code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nucleist.models.pixel_targets import PixelTargets, Weigh, pixel_targets
from nucleist.ops.pixel_losses import two_class_dice, weighted_entropy
from nucleist.types import Target


@dataclass(frozen=True)
class ForegroundLoss:
    """Cross-entropy with weights and Dice, of two classes.

    Attributes:
        weigh: Weights of the pixels, from `nucleist.models.pixel_targets.weighing`.
        dice_of_logits: Dice of logits instead of probabilities (an error of the authors' code).
    """

    weigh: Weigh
    dice_of_logits: bool = False

    def targets(self, targets: Sequence[Target], size: Sequence[int]) -> PixelTargets:
        """Target maps of a batch; see `nucleist.models.pixel_targets.pixel_targets`."""
        return pixel_targets(targets, self.weigh, size)

    def __call__(self, classes: Tensor, wanted: PixelTargets) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            classes: `(B, 2, H, W)`, logits of background and foreground.
            wanted: Of the batch.
        """
        inside, weights, known = (x.to(classes.device) for x in wanted)
        logits = classes[:, 1] - classes[:, 0]
        dice = (
            dice_of_logits(classes, inside, known)
            if self.dice_of_logits
            else two_class_dice(logits, inside, known)
        )
        return {
            "loss_entropy": weighted_entropy(logits, inside, weights, known),
            "loss_dice": dice,
        }


def dice_of_logits(classes: Tensor, inside: Tensor, known: Tensor) -> Tensor:
    """`1 - 2 sum(z y) / (sum(z^2) + sum(y^2))` of logits z, as the authors' code has it.

    Args:
        classes: `(B, 2, H, W)`.
        inside: `(B, H, W)`, 1 in nuclei, else 0.
        known: `(B, H, W)` bool.

    Returns:
        Mean over images; one of which nothing is known adds 0.
    """
    wanted = torch.stack([1 - inside, inside], 1)
    counts = known[:, None].expand_as(wanted)
    both = (classes * wanted * counts).sum((1, 2, 3))
    squares = ((classes.square() + wanted.square()) * counts).sum((1, 2, 3))
    each = 1 - 2 * both / (squares + 1e-6)
    return (each * known.any(2).any(1)).mean()
