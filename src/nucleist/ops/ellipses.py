"""Lower triangular affine maps as ellipses: centre, semi-axes, angle, area; and back.

A map takes image points into a canonical frame, `x' = L (x - c)` (Costa et al., MIDL 2022,
Eq. 1). It shows a canonical circle of radius `r` as the ellipse `|L (x - c)| = r`. With a positive
diagonal `L` is a Cholesky factor of `M = L^T L`, so every ellipse has exactly one such map.
"""

import torch
from torch import Tensor


def ellipses(matrix: Tensor, center: Tensor, radius: float) -> Tensor:
    """Read the parameters of the ellipses that affine maps make of a circle.

    Args:
        matrix: `(N, 3)` `l11, l21, l22`, canonical units a pixel, diagonal above 0.
        center: `(N, 2)` x and y of `c`, pixels.
        radius: Radius `r` of the canonical circle.

    Returns:
        `(N, 6)`: x, y of the centre (px), semi-axis major, semi-axis minor (px), angle of the major
        axis against x (radians in (-pi/2, pi/2], from x towards y, which points down), area (px^2).
    """
    l11, l21, l22 = matrix.unbind(1)
    m11, m12, m22 = l11**2 + l21**2, l21 * l22, l22**2
    # Eigenvalues of M. The smaller one from the determinant: the difference would cancel.
    larger = (m11 + m22) / 2 + torch.hypot((m11 - m22) / 2, m12)
    smaller = (l11 * l22) ** 2 / larger
    # The larger axis lies along the eigenvector of the smaller eigenvalue. Subtracted from 0, for
    # -0.0 would make the right angle negative.
    angle = torch.atan2(0.0 - 2 * m12, m22 - m11) / 2
    area = torch.pi * radius**2 / (l11 * l22)
    return torch.stack(
        [*center.unbind(1), radius / smaller.sqrt(), radius / larger.sqrt(), angle, area], 1
    )


def affine_maps(parameters: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The maps that make given ellipses of a circle; the inverse of `ellipses`.

    Args:
        parameters: `(N, 5)` or `(N, 6)` as `ellipses` returns them; the area is not read.
        radius: Radius of the canonical circle.

    Returns:
        `(N, 3)` `l11, l21, l22` and `(N, 2)` centres.
    """
    major, minor, angle = parameters[:, 2], parameters[:, 3], parameters[:, 4]
    low, high = (radius / major) ** 2, (radius / minor) ** 2  # eigenvalues of M
    cos, sin = angle.cos(), angle.sin()
    m12 = (low - high) * cos * sin
    l22 = (low * sin**2 + high * cos**2).sqrt()
    matrix = torch.stack([radius**2 / (major * minor) / l22, m12 / l22, l22], 1)
    return matrix, parameters[:, :2].clone()


def half_extent(matrix: Tensor, radius: float) -> Tensor:
    """Half width and half height of the ellipses' upright boxes, `(N, 2)`, pixels.

    They are `r` times the norms of the rows of the inverse of `L`. Arguments as of `ellipses`.
    """
    l11, l21, l22 = matrix.unbind(1)
    return radius * torch.stack([1 / l11, torch.hypot(l21 / (l11 * l22), 1 / l22)], 1)
