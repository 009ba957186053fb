"""Learning rates: by hand at their corners, and against torch."""

import pytest
import torch

from nucleist.training.schedules import cosine, one_cycle, plateau, ramp, staircase


def test_ramp_and_cosine_at_their_corners():
    assert ramp(0, 1000) == pytest.approx(1 / 3)
    assert ramp(250, 1000) == pytest.approx(2 / 3)
    assert ramp(500, 1000) == ramp(999, 1000) == 1
    assert cosine(0, 100, warmup=10) == pytest.approx(0.1)
    assert cosine(10, 100, warmup=10) == 1
    assert cosine(55, 100, warmup=10) == pytest.approx(0.5)
    assert cosine(100, 100, warmup=10) == pytest.approx(0)


def test_plateau_at_its_corners():
    assert plateau(0, 1000, warmup=10) == pytest.approx(0.1)
    assert [plateau(step, 1000, 10, 0.4) for step in (9, 10, 599, 600)] == [1, 1, 1, 1]
    assert plateau(800, 1000, 10, 0.4) == pytest.approx(0.5)
    assert plateau(1000, 1000, 10, 0.4) == pytest.approx(0)
    assert plateau(5, 10, warmup=10, decay=1.0) == pytest.approx(0.6)  # shorter than the warm-up


def test_plateau_does_not_depend_on_the_length_before_the_decay():
    before = range(0, 600, 7)
    assert [plateau(step, 1000) for step in before] == [plateau(step, 5000) for step in before]


def test_staircase_by_hand():
    factors = [staircase(step, 100, every=10, factor=0.5) for step in (0, 9, 10, 25)]
    assert factors == [
        1,
        1,
        0.5,
        0.25,
    ]


@pytest.mark.parametrize("total", [2, 3, 4, 7, 10, 50, 333])
def test_one_cycle_is_torchs(total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.01, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        assert 0.01 * one_cycle(step, total) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            theirs.step()


def test_one_cycle_by_hand():
    # 100 steps: from 1/25 at 0 to 1 at 0.3 * 100 - 1 = 29, then to 1/250000 at 99
    assert [one_cycle(step, 100) for step in (0, 29, 99)] == pytest.approx([0.04, 1, 4e-6])
    # half way the half cosine is the mean of its ends
    assert one_cycle(64, 100) == pytest.approx((1 + 4e-6) / 2)
    assert one_cycle(100, 100) == one_cycle(99, 100)  # asked for after the last step
