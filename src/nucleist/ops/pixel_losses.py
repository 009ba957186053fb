"""Losses of a net that gives each pixel a logit of being in a nucleus.

Source: Yang et al., *NuSeT*, PLoS Computational Biology 2020: weighted cross-entropy plus Dice.
The authors' code computes Dice from logits; here it is computed from probabilities.
"""

import torch.nn.functional as F
from torch import Tensor


def weighted_entropy(logits: Tensor, inside: Tensor, weights: Tensor, known: Tensor) -> Tensor:
    """Weighted cross-entropy, averaged over the known pixels of each image, then over images.

    Args:
        logits: `(B, H, W)` of foreground; of two channels it is their difference.
        inside: `(B, H, W)`, 1 in nuclei, else 0.
        weights: `(B, H, W)`, as of `nucleist.ops.borders.border_weights`.
        known: `(B, H, W)` bool; other pixels do not count.

    Returns:
        Scalar; an image of which nothing is known adds 0.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    each = (entropy * weights * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return each.mean()


def two_class_dice(logits: Tensor, inside: Tensor, known: Tensor) -> Tensor:
    """One minus Dice with squared denominators, of foreground and background together.

    `1 - 2 sum(p y) / (sum(p^2) + sum(y^2))`, the sums over the known pixels of an image and over
    both classes; averaged over images.

    Args:
        logits: `(B, H, W)` of foreground; of two channels it is their difference.
        inside: `(B, H, W)`, 1 in nuclei, else 0.
        known: `(B, H, W)` bool; other pixels do not count.

    Returns:
        Scalar in [0, 1]; an image of which nothing is known adds 0.
    """
    p, y = logits.sigmoid(), inside
    both = ((p * y + (1 - p) * (1 - y)) * known).sum((1, 2))
    squares = p.square() + (1 - p).square() + y.square() + (1 - y).square()
    each = 1 - 2 * both / ((squares * known).sum((1, 2)) + 1e-6)
    return (each * known.any(2).any(1)).mean()
