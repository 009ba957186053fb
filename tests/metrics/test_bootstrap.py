"""The bootstrap against closed forms and against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from nucleist.metrics.bootstrap import bootstrap

NORMAL = stats.norm.ppf(0.975)


def mean(total: np.ndarray) -> np.ndarray:
    """Sum of the values over their number."""
    return total[..., 0] / total[..., 1]


def counted(values: np.ndarray) -> np.ndarray:
    """Values `(seeds, groups)` as sums and numbers of one image a group."""
    return np.stack([values, np.ones_like(values)], -1)


def half_width(interval) -> float:
    return (interval.high - interval.low) / 2


def test_groups_of_one_seed_have_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=(1, 200))
    found = bootstrap([counted(values)], mean)
    assert found.value == pytest.approx(values.mean())
    # variance of a mean of n draws from these n values: s^2 / n, s^2 divided by n
    assert half_width(found) == pytest.approx(NORMAL * values.std() / np.sqrt(200), rel=0.05)


def test_seeds_add_their_own_variance():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1, 200)) + 0.2 * rng.normal(size=(30, 1))
    found = bootstrap([counted(values)], mean)
    # value = group effect + seed effect, both drawn alone: their variances add up
    groups, seeds = values[0], values.mean(1)
    error = np.sqrt(groups.var() / 200 + seeds.var() / 30)
    assert half_width(found) == pytest.approx(NORMAL * error, rel=0.05)


def test_what_groups_of_all_nets_share_cancels_in_a_difference():
    rng = np.random.default_rng(2)
    shared, own = 10 * rng.normal(size=(1, 100)), 0.1 * rng.normal(size=(1, 100))
    found = bootstrap([counted(shared + own + 1), counted(shared)], mean)
    assert found.value == pytest.approx(1 + own.mean())
    assert half_width(found) == pytest.approx(NORMAL * own.std() / 10, rel=0.06)


def test_strata_are_not_exchanged():
    values = np.repeat([[0.0, 1.0, 5.0]], 4, 1).reshape(1, 12)
    one = bootstrap([counted(values)], mean)
    many = bootstrap([counted(values)], mean, strata=np.repeat(["a", "b", "c"], 4).tolist())
    assert one.high > one.value + 0.5
    assert many == (pytest.approx(2.0),) * 3  # equal values within each


def test_pooled_ratio_agrees_with_scipy():
    rng = np.random.default_rng(3)
    totals = rng.integers(5, 60, 25)
    hits = rng.binomial(totals, rng.uniform(0.4, 0.9, 25))
    found = bootstrap([np.stack([hits, totals], -1)[None]], mean, samples=8_000)
    other = stats.bootstrap(
        (hits, totals),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True, method="percentile", n_resamples=8_000, vectorized=True, rng=4,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.006)


def test_ratio_of_two_nets_and_the_same_draws_each_time():
    values = np.random.default_rng(5).uniform(1, 2, size=(3, 9))
    arms = [counted(2 * values), counted(values)]
    found = bootstrap(arms, mean, combine=np.divide, samples=200)
    assert found == (pytest.approx(2.0),) * 3
    assert bootstrap(arms, mean, samples=200) == bootstrap(arms, mean, samples=200)


@pytest.mark.parametrize(
    ("arms", "options", "words"),
    [
        ([np.ones((1, 3, 2)), np.ones((1, 4, 2))], {}, "of one shape"),
        ([np.ones((1, 0, 2))], {}, "of one shape"),
        ([np.ones((1, 3, 2))], {"strata": ["a"]}, "a stratum for each of 3"),
        ([np.ones((1, 3, 2))], {"level": 95}, "`level` in"),
        ([np.ones((1, 3, 2))] * 3, {}, "`combine` for 3 nets"),
    ],
)
def test_what_is_refused(arms, options, words):
    with pytest.raises(ValueError, match=words):
        bootstrap(arms, mean, **options)
