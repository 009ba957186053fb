"""Gray images, as NuSeT takes them.

Source: Yang et al., PLoS Comput Biol 2020, and the authors' code.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def gray(image: Tensor) -> Tensor:
    """Luminance of `(3, H, W)`, as `(1, H, W)`."""
    weights = image.new_tensor([0.2989, 0.5870, 0.1140])
    return (image * weights[:, None, None]).sum(0, keepdim=True)


def standardized(image: Tensor, surveyed: Mapping[str, float] | None = None) -> Tensor:
    """An image minus its mean, divided by its standard deviation; 0 if it is constant.

    Args:
        image: Of any shape.
        surveyed: `mean` and `std` of the image that this one is a tile of; None measures them.
    """
    if surveyed is not None:
        return (image - surveyed["mean"]) / (surveyed["std"] + 1e-5)
    return (image - image.mean()) / (torch.std(image, correction=0) + 1e-5)


def shifted(image: Tensor) -> Tensor:
    """An image of about [0, 1] minus 0.5, divided by 0.25, as other nets scale by default.

    After `nucleist.models.two_pass` this is in standard deviations of the nuclei.
    """
    return (image - 0.5) / 0.25


def moments(values: Sequence[Tensor]) -> dict[str, float]:
    """`mean` and `std` of the pixels of several windows, as `standardized` takes them.

    Args:
        values: Of any shapes.
    """
    every = torch.cat([own.flatten() for own in values])
    return {"mean": float(every.mean()), "std": float(torch.std(every, correction=0))}
