import math

import pytest
import torch

from nucleist.ops.log_space import LOG_MAX, log1mexp, log_bce, scaled_logit, smooth_dice


def exact(a):
    """log(1 - exp(a)) in float64, by the form that does not cancel."""
    a = a.double()
    return torch.where(a > -0.7, (-torch.expm1(a)).log(), torch.log1p(-a.exp()))


def test_log1mexp_is_exact_from_near_0_to_far_below():
    # the naive form gives -inf below 6e-8 and 0 from -17 on; exp(-80) is near the end of float32
    a = -torch.logspace(-12, 1.9, 400)
    torch.testing.assert_close(log1mexp(a).double(), exact(a), rtol=2e-6, atol=0)
    # log(1 - 1/2) = log(1/2)
    assert log1mexp(torch.tensor(-math.log(2))).item() == pytest.approx(-math.log(2), rel=1e-6)


def test_log1mexp_has_exact_gradients_and_no_nan():
    # d/da log(1 - exp(a)) = -exp(a) / (1 - exp(a)) = -1 / expm1(-a)
    a = (-torch.logspace(-12, 1.9, 200)).requires_grad_()
    log1mexp(a).sum().backward()
    assert torch.isfinite(a.grad).all()
    torch.testing.assert_close(a.grad.double(), -1 / torch.expm1(-a.detach().double()))
    a = torch.tensor([-1e4, -200.0, -1e-30], requires_grad=True)  # beyond float32's exp
    log1mexp(a).sum().backward()
    assert torch.isfinite(a.grad).all() and a.grad[0] == 0


def test_bce_equals_float64():
    a = -torch.logspace(-5, 1.9, 100)
    for value in (0.0, 0.3, 1.0):
        wanted = -(value * a.double() + (1 - value) * exact(a))
        found = log_bce(a, torch.full_like(a, value))
        torch.testing.assert_close(found.double(), wanted, rtol=2e-6, atol=0)


def test_bce_stays_finite_at_a_probability_of_1():
    found = log_bce(torch.zeros(2), torch.tensor([0.0, 1.0]))
    # -log(1 - exp(-1e-6)) = 13.8 where background was certain to be foreground
    assert found.tolist() == pytest.approx([-math.log(1e-6), -LOG_MAX], rel=1e-5)


def test_bce_pulls_at_a_pixel_that_nothing_covers():
    a = torch.tensor([-300.0], requires_grad=True)  # exp(a) is 0 in float32
    log_bce(a, torch.ones(1)).sum().backward()
    assert a.grad.item() == -1


def test_dice_by_hand():
    # p = (1/2, 1/2, 1), y = (1, 0, 1): 2 * 1.5 + 1 over 2 + 2 + 1, so 1 - 4/5
    p, y = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    assert smooth_dice(p.log(), y).item() == pytest.approx(0.2, abs=1e-6)


def test_dice_of_nothing_on_nothing_is_0():
    assert smooth_dice(torch.full((4, 4), -200.0), torch.zeros(4, 4)).item() == 0


@pytest.mark.parametrize("factor", [0.99, 0.5, 0.05])
def test_scaled_logit_equals_float64(factor):
    z = torch.linspace(-30, 30, 121)
    p = factor * z.double().sigmoid()
    rest = (1 - factor) * z.double().sigmoid() + (-z.double()).sigmoid()  # 1 - p, no cancelling
    found = scaled_logit(z, factor)
    torch.testing.assert_close(found.double(), (p / rest).log(), rtol=3e-6, atol=3e-6)


def test_gradient_of_scaled_logit_is_finite():
    z = torch.tensor([-100.0, 0.0, 100.0], requires_grad=True)
    scaled_logit(z, 0.2).sum().backward()
    # d/dz log(c / (1 - c + e^-z)) = e^-z / (1 - c + e^-z)
    assert z.grad.tolist() == pytest.approx([1, 1 / 1.8, 0], abs=1e-6)
