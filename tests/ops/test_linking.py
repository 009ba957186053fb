"""Slices linked to nuclei in three dimensions, against drawn stacks."""

import numpy as np
import pytest
from support.films import balls, challenge, renamed, scattered, truth_folder

from nucleist.data.formats.ctc import write_tracks
from nucleist.ops.linking import cuts, link_slices
from nucleist.ops.tracking import Tracks


def row(*spans, width=20):
    labels = np.zeros((1, width), np.int32)
    for number, (start, stop) in spans:
        labels[0, start:stop] = number
    return labels


def test_nuclei_go_on_where_they_overlap_enough():
    # IoU 4 / 16 is below 0.3, 5 / 15 above it
    slices = [row((9, (0, 10))), row((4, (6, 16))), row((4, (11, 21)))]
    found = link_slices(slices)
    assert found.dtype == np.int32 and found.shape == (3, 1, 20)
    assert [set(np.unique(z)) - {0} for z in found] == [{1}, {2}, {2}]


def test_one_to_one_the_larger_overlap_goes_on():
    one, two = row((5, (0, 12))), row((2, (0, 5)), (3, (5, 12)))
    found = link_slices([one, two, one])
    assert found[1, 0, :12].tolist() == [2] * 5 + [1] * 7  # 7 / 12 goes on, there and back
    assert set(np.unique(found[2])) == {0, 1}


def test_the_sum_of_overlaps_is_largest():
    # a overlaps c by 6/10 and d by 4/10; b overlaps c alone, by 4/10: a-d and b-c are 0.8 in all
    first = row((1, (0, 7)), (2, (7, 11)))
    second = row((1, (0, 3)), (2, (3, 11)))
    found = link_slices([first, second])
    assert found[1, 0, 0] == 1 and found[1, 0, 10] == 2


def test_the_end_of_a_nucleus_belongs_to_it_however_small():
    slices = [row((1, (0, 12))), row((1, (5, 6))), row()]
    assert link_slices(slices).max() == 1  # IoU 1 / 12, but inside
    assert link_slices([row((1, (0, 12))), row((1, (11, 14)))]).max() == 2  # a third inside


def test_nuclei_on_each_other_are_cut_where_the_chain_is_thin():
    spans = [(2, 4), (0, 12), (0, 10), (4, 8), (4, 7), (1, 12), (3, 9)]
    slices = [row((1, span)) for span in spans]
    found = link_slices(slices)
    assert [int(z.max()) for z in found] == [1, 1, 1, 1, 1, 2, 2]  # 3 of 11 is the thinnest
    assert link_slices(slices, waist=0).max() == 1
    assert cuts(np.array([9, 4, 9, 4, 9]), 0.5) == [2, 4]
    assert cuts(np.array([9, 5, 9]), 0.5) == cuts(np.array([4, 9]), 0.5) == []


@pytest.mark.parametrize("gap", [0, 1])
def test_a_nucleus_may_be_missing_in_a_slice(gap):
    slices = [row((1, (0, 8))), row((1, (12, 18))), row((1, (0, 8)), (2, (12, 18)))]
    found = link_slices(slices, gap=gap)
    assert (found[0, 0, 0] == found[2, 0, 0]) == bool(gap)
    assert found[1, 0, 12] == found[2, 0, 12]


def test_empty_slices_and_one_slice():
    assert not link_slices([row(), row()]).any()
    assert link_slices([row((7, (0, 3)))]).max() == 1
    assert link_slices([row(), row((7, (0, 3))), row()])[1].max() == 1


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="slices of one shape"):
        link_slices([row(), row(width=9)])
    with pytest.raises(ValueError, match="slices of one shape"):
        link_slices([])
    for options in ({"least": 0}, {"gap": -1}, {"waist": 2}):
        with pytest.raises(ValueError, match="`least` in"):
            link_slices([row()], **options)


@pytest.mark.parametrize(("seed", "step"), [(0, 1), (1, 2), (2, 3)])
def test_drawn_stacks_have_the_challenges_highest_scores(seed, step, tmp_path):
    rng = np.random.default_rng(seed)
    shape = (28, 64, 64)
    truth = balls(*scattered(rng, 10, shape, 8.0), shape)[::step]  # a plane each `step` px
    found = link_slices([renamed(rng, z) for z in truth])
    ids = np.unique(truth[truth > 0])
    assert found.max() == len(ids) >= 7

    def twice(labels):  # as a film of two frames: the tool needs two
        own = np.unique(labels[labels > 0])
        return Tracks([labels] * 2, np.stack([own, own * 0, own * 0 + 1, own * 0], 1))

    gold = truth_folder(tmp_path / "gold", twice(truth))
    scores = challenge(write_tracks(tmp_path / "own", twice(found)).parent, gold)
    assert scores["Valid"] == 1 and scores["DET"] == scores["TRA"] == 1
    assert scores["SEG"] > 0.98, scores
