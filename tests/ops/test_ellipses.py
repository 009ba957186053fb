import math

import pytest
import torch

from nucleist.ops.ellipses import affine_maps, ellipses, half_extent


def test_a_stretched_circle_by_hand():
    # x' = 0.05 x, y' = 0.1 y: the circle of radius 0.5 is 10 px wide and 5 px high from its centre
    found = ellipses(torch.tensor([[0.05, 0.0, 0.1]]), torch.tensor([[30.0, 40.0]]), 0.5)
    wanted = [30, 40, 10, 5, 0, math.pi * 50]
    assert found[0].tolist() == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_an_upright_ellipse_has_an_angle_of_a_right_angle():
    found = ellipses(torch.tensor([[0.1, 0.0, 0.05]]), torch.zeros(1, 2), 0.5)
    assert found[0, 2:5].tolist() == pytest.approx([10, 5, math.pi / 2])


def some(count=200):
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(count, 5, generator=generator, dtype=torch.float64)
    minor = 2 + 8 * spread[:, 0]
    major = minor * (1.05 + spread[:, 1])
    angle = (spread[:, 2] - 0.5) * math.pi
    return torch.stack([100 * spread[:, 3], 100 * spread[:, 4], major, minor, angle], 1)


def test_round_trip():
    wanted = some()
    found = ellipses(*affine_maps(wanted, 0.47), 0.47)
    torch.testing.assert_close(found[:, :5], wanted)
    torch.testing.assert_close(found[:, 5], math.pi * wanted[:, 2] * wanted[:, 3])


def test_maps_have_a_positive_diagonal_and_take_the_outline_to_the_circle():
    wanted = some()
    matrix, center = affine_maps(wanted, 0.5)
    assert (matrix[:, [0, 2]] > 0).all()
    # points of the ellipse: along the major axis by cos, across it by sin
    turn = torch.linspace(0, 2 * math.pi, 37, dtype=torch.float64)
    along, across = wanted[:, 2, None] * turn.cos(), wanted[:, 3, None] * turn.sin()
    cos, sin = wanted[:, 4, None].cos(), wanted[:, 4, None].sin()
    x, y = along * cos - across * sin, along * sin + across * cos
    l11, l21, l22 = (column[:, None] for column in matrix.unbind(1))
    torch.testing.assert_close(torch.hypot(l11 * x, l21 * x + l22 * y), torch.full_like(x, 0.5))
    # and its outermost points are the half extent
    half = half_extent(matrix, 0.5)
    cos, sin = wanted[:, 4].cos(), wanted[:, 4].sin()
    width = torch.hypot(wanted[:, 2] * cos, wanted[:, 3] * sin)
    height = torch.hypot(wanted[:, 2] * sin, wanted[:, 3] * cos)
    torch.testing.assert_close(half, torch.stack([width, height], 1))
    torch.testing.assert_close(center, wanted[:, :2])


def test_a_circle_has_equal_axes_and_no_ellipse_is_no_error():
    found = ellipses(torch.tensor([[0.1, 0.0, 0.1]]), torch.zeros(1, 2), 0.5)
    assert found[0, 2:].tolist() == pytest.approx([5, 5, 0, math.pi * 25])
    assert ellipses(torch.zeros(0, 3), torch.zeros(0, 2), 0.5).shape == (0, 6)
