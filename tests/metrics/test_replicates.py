"""Folds and seeds as replicates: which count, and scores with known answers."""

import numpy as np
import pytest

from nucleist.metrics.counts import count
from nucleist.metrics.functional import mean_average_precision
from nucleist.metrics.match_counts import COLUMNS, MatchCounts, aji_of, as_rows, map_of
from nucleist.metrics.replicates import Replicate, added_up, estimate, in_common, without_folds
from nucleist.ops.contingency import contingency

FIELDS = {"0": ("a", "b"), "1": ("c", "d"), "2": ("e", "f")}


def row(nuclei: int, found: int) -> np.ndarray:
    """All detections are right, at every IoU: the mAP is found / nuclei."""
    return as_rows([MatchCounts(nuclei, found, (found,) * 10, 3 * found, 3 * nuclei)])[0]


def trained(found: dict[str, int], seed: str, folds: str = "012") -> list[Replicate]:
    """Of 100 nuclei in each field so many are found."""
    return [
        Replicate(fold, seed, {name: row(100, found[name]) for name in FIELDS[fold]})
        for fold in folds
    ]


EVEN = dict.fromkeys("abcdef", 60)


def test_columns_and_pooled_scores_are_those_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 4, (2, 12, 12))
    pred[:6] = true[:6]
    counts = MatchCounts.of(count(contingency(true, pred)))
    assert dict(zip(COLUMNS, counts.row(), strict=True))["matched_50"] == counts.matched[0]
    assert COLUMNS[2] == "matched_50" and COLUMNS[11] == "matched_95"
    assert map_of(as_rows([counts]))[0] == pytest.approx(mean_average_precision(true, pred))
    assert aji_of(row(100, 60)) == pytest.approx(0.6)


def test_images_of_a_group_are_added_up() -> None:
    images = {"i": np.array([1, 2]), "j": np.array([3, 4]), "k": np.array([5, 6])}
    found = added_up(images, {"i": "x", "k": "x"})
    assert {name: values.tolist() for name, values in found.items()} == {"x": [6, 8], "j": [3, 4]}


def test_a_constant_difference_has_no_width() -> None:
    more = {name: value + 5 for name, value in EVEN.items()}
    found = estimate([trained(more, "0") + trained(more, "1"), trained(EVEN, "0")])
    assert found is not None
    assert (found.folds, found.seeds, found.groups) == (("0", "1", "2"), ("0",), 6)
    assert found.interval == (pytest.approx(0.05),) * 3


def test_seeds_that_differ_give_the_range_of_their_draws() -> None:
    low, high = dict.fromkeys("abcdef", 40), dict.fromkeys("abcdef", 60)
    found = estimate([trained(low, "0") + trained(high, "1")])
    # equal fields: both seeds, twice the lower or twice the higher
    assert found is not None
    assert found.interval == (pytest.approx(0.5), pytest.approx(0.4), pytest.approx(0.6))


def test_fields_are_drawn_within_their_fold() -> None:
    # the fields of a fold are equal, so that only a draw across folds would change anything
    some = {"a": 20, "b": 20, "c": 50, "d": 50, "e": 80, "f": 80}
    found = estimate([trained(some, "0")])
    assert found is not None
    assert found.interval == (pytest.approx(0.5),) * 3


def test_a_ratio_and_another_score() -> None:
    half = {name: value // 2 for name, value in EVEN.items()}
    found = estimate([trained(half, "0"), trained(EVEN, "0")], np.divide)
    assert found is not None
    assert found.interval.value == pytest.approx(0.5)
    aji = estimate([trained(half, "0")], statistic=aji_of)
    assert aji is not None
    assert aji.interval.value == pytest.approx(0.3)


def test_only_what_all_nets_have_is_compared() -> None:
    one = trained(EVEN, "0") + trained(EVEN, "1", "01")
    other = trained(EVEN, "1") + trained(EVEN, "0", "02")
    assert in_common([one]) == (("0", "1", "2"), ("0",))
    assert in_common([one, other]) == (("0", "2"), ("0",))  # of equally many the first seed's
    assert in_common([trained(EVEN, "0"), trained(EVEN, "1")]) == ((), ())
    assert estimate([trained(EVEN, "0"), trained(EVEN, "1")]) is None


def test_ways_of_splitting_are_compared_over_all_images() -> None:
    by_field = trained(EVEN, "0") + trained(EVEN, "1", "01")
    # each fold tests a half of each field
    half = {name: row(50, 35) for name in "abcdef"}
    by_image = [Replicate(fold, "0", half) for fold in "01"]
    one, other = without_folds(by_field, 3), without_folds(by_image, 2)
    assert [(r.fold, r.seed, sorted(r.groups)) for r in one] == [("", "0", list("abcdef"))]
    assert other[0].groups["a"].tolist() == row(100, 70).tolist()
    found = estimate([other, one])
    assert found is not None
    assert found.interval == (pytest.approx(0.1),) * 3


def test_folds_of_other_images_are_not_compared() -> None:
    moved = [one._replace(groups={"z": row(100, 1)}) for one in trained(EVEN, "0")]
    with pytest.raises(ValueError, match="fold '0' to test the same groups"):
        estimate([trained(EVEN, "0"), moved])
