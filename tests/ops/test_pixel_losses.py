"""Weighted cross-entropy and Dice by hand."""

import pytest
import torch

from nucleist.ops.pixel_losses import two_class_dice, weighted_entropy

LOGITS = torch.tensor([[[2.0, -1.0, 0.5]]])
INSIDE = torch.tensor([[[1.0, 0.0, 1.0]]])
ALL = torch.ones(1, 1, 3, dtype=torch.bool)


def test_entropy_is_that_of_a_softmax_over_two_channels():
    two = torch.stack([torch.zeros(1, 1, 3) + 0.7, LOGITS + 0.7], 1)  # only the difference counts
    weights = torch.tensor([[[1.0, 3.0, 0.5]]])
    each = torch.nn.functional.cross_entropy(two, INSIDE.long(), reduction="none")
    found = weighted_entropy(LOGITS, INSIDE, weights, ALL)
    torch.testing.assert_close(found, (each * weights).sum() / 3)


def test_dice_by_hand():
    p = LOGITS.sigmoid()[0, 0]
    a, b, c = (float(x) for x in p)
    both = a + (1 - b) + c
    squares = sum(x * x + (1 - x) ** 2 for x in (a, b, c)) + 3
    assert two_class_dice(LOGITS, INSIDE, ALL).item() == pytest.approx(
        1 - 2 * both / squares, abs=1e-6
    )
    sure = (INSIDE - 0.5) * 100
    assert two_class_dice(sure, INSIDE, ALL).item() == pytest.approx(0, abs=1e-6)
    assert two_class_dice(-sure, INSIDE, ALL).item() == pytest.approx(1)


def test_unknown_pixels_do_not_count():
    known = torch.tensor([[[True, True, False]]])
    logits = LOGITS.clone().requires_grad_()
    loss = weighted_entropy(logits, INSIDE, torch.ones(1, 1, 3), known)
    loss = loss + two_class_dice(logits, INSIDE, known)
    loss.backward()
    assert (logits.grad[0, 0] != 0).tolist() == [True, True, False]
    shorter = [x[..., :2] for x in (LOGITS, INSIDE, ALL)]
    wanted = weighted_entropy(*shorter[:2], torch.ones(1, 1, 2), shorter[2])
    torch.testing.assert_close(loss.detach(), wanted + two_class_dice(*shorter))


def test_an_image_of_which_nothing_is_known_adds_nothing():
    logits = torch.randn(2, 4, 4, requires_grad=True)
    inside, known = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    known[1] = True
    weights = torch.ones(2, 4, 4)
    for loss, alone in (
        (
            weighted_entropy(logits, inside, weights, known),
            weighted_entropy(logits[1:], inside[1:], weights[1:], known[1:]),
        ),
        (
            two_class_dice(logits, inside, known),
            two_class_dice(logits[1:], inside[1:], known[1:]),
        ),
    ):
        torch.testing.assert_close(loss, alone / 2)
    nothing = two_class_dice(logits, inside, known & False)
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()
