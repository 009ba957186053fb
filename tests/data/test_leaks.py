"""What training images show of tested ones: pairs by name, and how many nuclei."""

import numpy as np
import pytest
from data.test_fields import drawn

from nucleist.data.leaks import look_for_leaks, seen, told_in_training
from nucleist.data.problems import examine
from nucleist.types import Record, Source


class Given(Source):
    """Images in memory: `(image, labels)` by split and name."""

    def __init__(self, groups=None, **splits):
        self.records = {
            name: Record(name, image, labels)
            for some in splits.values()
            for name, (image, labels) in some.items()
        }
        self.names = {split: list(some) for split, some in splits.items()}
        self.known, self.grouped = groups, groups is not None

    def splits(self):
        return self.names

    def read(self, image_id):
        return self.records[image_id]

    def groups(self):
        return super().groups() if self.known is None else self.known


def halves(number):
    """The upper and the lower half of a field, with four nuclei: two cross the cut."""
    field = drawn(number, (240, 120))
    labels = np.zeros((240, 120), np.int32)
    labels[10:20, 10:20], labels[110:130, 10:20], labels[115:125, 60:70] = 1, 2, 3
    labels[200:210, 50:60] = 4
    labels[100:120, 100:110] = 5  # ends at the cut: nothing of it lies below
    return (field[:120], labels[:120]), (field[120:], labels[120:])


def leaks_of(source):
    images = {i: seen(source.read(i)) for ids in source.splits().values() for i in ids}
    return look_for_leaks(source, images)


@pytest.mark.slow
def test_nuclei_that_go_on_in_a_training_image():
    (upper, lower), (_, other) = halves(0), halves(1)
    source = Given(train={"a": lower, "c": other}, test={"b": upper, "d": (drawn(7), lower[1])})
    source.records["d"] = Record("d", drawn(7, (120, 120)), lower[1])
    leaks = leaks_of(source)
    assert [pair[:3] for pair in leaks.across] == [("below", "b", "a")]
    # Of b's nuclei 1, 2, 3 and 5, 2 and 3 continue below; d has 3 nuclei.
    assert leaks.touched == {"test": (1, 2, 2, 7)}
    (line,) = [line for line in leaks.summary() if line.startswith("test: ")]
    assert line == (
        "test: 1 of 2 images adjoin or repeat a training image, 2 of 7 nuclei (29%) continue there"
    )
    assert examine(source).warnings == [
        f"test/b: continues train/a at its lower border (correlation "
        f"{leaks.across[0].correlation:.2f}); keep both in one split"
    ]
    # In one split nothing is wrong, but the field is told.
    whole = Given(train={"b": upper, "a": lower}, test={"c": other})
    assert leaks_of(whole).across == [] and len(leaks_of(whole).pairs) == 1
    assert examine(whole).warnings == [] and len(leaks_of(whole).summary()) == 1


def test_all_nuclei_of_a_copy_count():
    upper, _ = halves(0)
    leaks = leaks_of(Given(train={"a": upper}, test={"b": upper, "c": halves(1)[0]}))
    assert leaks.touched == {"test": (1, 2, 4, 8)}


def test_of_many_pairs_some_are_named():
    fields = [halves(number) for number in range(7)]
    train = {f"a{number}": upper for number, (upper, _) in enumerate(fields)}
    test = {f"b{number}": lower for number, (_, lower) in enumerate(fields)}
    *named, rest = examine(Given(train=train, test=test)).warnings
    assert len(named) == 5 and all("at its upper border" in line for line in named)
    assert rest == "and 2 more pairs of images of two splits that adjoin"


def test_groups_that_a_split_cuts():
    upper, lower = halves(0)
    apart = {"a": "p1", "b": "p2", "c": "p1"}
    images = {"a": upper, "b": lower}, {"c": halves(1)[0]}
    leaks = leaks_of(Given(apart, train=images[0], test=images[1]))
    assert leaks.cut == {"p1": {"train": 1, "test": 1}} and leaks.groups == 1
    assert any("such as p1 (train 1, test 1)" in line for line in leaks.summary())
    assert "data.folds=5" in leaks.summary()[-1]
    whole = leaks_of(Given(apart, train={"a": upper, "c": halves(1)[0]}, test={"b": halves(2)[0]}))
    assert whole.summary() == ["groups: 1 with several images, none is cut by a split"]


@pytest.mark.parametrize("grouped", [True, False])
def test_a_training_is_warned_in_one_line(grouped):
    upper, lower = halves(0)
    images = {"train": {"a": upper, "c": halves(1)[0]}, "test": {"b": lower, "d": halves(2)[0]}}
    groups = {"a": "f", "b": "f", "c": "c", "d": "d"} if grouped else None
    source = Given(groups, **images)
    uses = {"train": ["a", "c"], "val": ["b", "d"], "test": ["b", "d"]}
    is_wrong, line = told_in_training(source, uses)
    assert is_wrong and "\n" not in line
    assert line.startswith("1 of 2 test images ") and "(b and a)" in line
    assert told_in_training(source, uses | {"val": [], "test": ["d"]}) == (False, "")
    line = told_in_training(source, uses | {"test": ["d"]})[1]
    assert line.startswith("1 of 2 validation images ")


def test_many_images_are_left_to_the_check():
    many = {f"x{number}": None for number in range(301)}
    source = Given(train={}, test={})  # nothing is read
    is_wrong, line = told_in_training(source, {"train": list(many), "val": [], "test": ["y"]})
    assert not is_wrong and "302 images" in line and "nucleist data check" in line
