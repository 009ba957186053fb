"""Gray images with a mean of 0 and a deviation of 1, as NuSeT takes them.

Source: Yang et al., PLoS Comput Biol 2020, and the authors' code.
"""

import torch
from torch import Tensor

from nucleist.types import one_of

CENTERS = ("mean", "median")
"""What of the foreground becomes 0: the mean (the paper), or the median (the authors' code)."""

LEAST = 10
"""Pixels of foreground without which the whole image is taken."""


def gray(image: Tensor) -> Tensor:
    """Luminance of `(3, H, W)`, as `(1, H, W)`."""
    weights = image.new_tensor([0.2989, 0.5870, 0.1140])
    return (image * weights[:, None, None]).sum(0, keepdim=True)


def standardized(image: Tensor, inside: Tensor | None = None, center: str = "mean") -> Tensor:
    """An image minus its mean, divided by its standard deviation.

    Args:
        image: `(1, H, W)`.
        inside: `(H, W)` bool, pixels that mean and deviation are taken of; None for all, which are
            also taken if these are fewer than `LEAST`.
        center: One of `CENTERS`, for these pixels.

    Raises:
        UserError: If `center` is another.
    """
    one_of("model.center", center, CENTERS)
    values = image.flatten()
    if inside is not None and int(inside.sum()) >= LEAST:
        values = image[0][inside]
        middle = values.median() if center == "median" else values.mean()
    else:
        middle = values.mean()
    return (image - middle) / (torch.std(values, correction=0) + 1e-5)
