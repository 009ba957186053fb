"""Nuclei followed over time, against drawn films."""

from itertools import permutations

import numpy as np
import pytest
from support.films import balls, challenge, film, renamed, truth_folder

from nucleist.data.formats.ctc import write_tracks
from nucleist.ops.linking import link_slices
from nucleist.ops.tracking import Tracks, assign, follow, without_gaps


def discs(*places, radius=4, shape=(40, 60)):
    return balls([np.array(p, float) for p in places], [radius] * len(places), shape)


def test_labels_are_kept_whatever_they_were_called():
    frames = [discs((10, 10), (30, 40)), discs((30, 42), (11, 12))]
    tracks = follow(frames)
    assert tracks.table.tolist() == [[1, 0, 1, 0], [2, 0, 1, 0]]
    assert tracks.frames[1][11, 12] == 1 and tracks.frames[1][30, 42] == 2
    assert tracks.frames[1].dtype == np.int32


def test_all_distances_count_together():
    # the right one of frame 1 is 4 px from both of frame 0; the left one has only the left
    frames = [discs((20, 20), (20, 30)), discs((20, 16), (20, 25))]
    tracks = follow(frames, reach=8)
    assert tracks.frames[1][20, 16] == 1 and tracks.frames[1][20, 25] == 2


def test_beyond_its_reach_a_nucleus_is_another():
    frames = [discs((20, 10)), discs((20, 20))]
    assert len(follow(frames, reach=9).table) == 2
    assert len(follow(frames, reach=11).table) == 1
    assert len(follow(frames).table) == 2  # the diameter of the median nucleus, 8 px
    assert len(follow(frames, reach=9, spacing=(1, 0.5)).table) == 1


@pytest.mark.parametrize(("gap", "count"), [(0, 2), (1, 1)])
def test_a_nucleus_may_be_missing_in_a_frame(gap, count):
    frames = [discs((20, 10)), discs(), discs((20, 11))]
    tracks = follow(frames, gap=gap, reach=5)
    assert len(tracks.table) == count
    parts = without_gaps(tracks)
    wanted = [[1, 0, 0, 0], [2, 2, 2, gap]]  # with a gap the second part has the first as mother
    assert parts.table.tolist() == wanted
    assert parts.frames[2].max() == 2 and tracks.frames[2].max() == count


def dividing(apart=3.0, share=0.5):
    """One disc, in the third frame two of a share of its area each."""
    radius = 8 * share**0.5
    middle = np.array([20.0, 30.0])
    off = np.array([0, apart + 2])
    two = [middle - off, middle + off]
    return [
        balls([middle], [8], (40, 60)),
        balls([middle], [8], (40, 60)),
        balls(two, [radius, radius], (40, 60)),
        balls(two, [radius, radius], (40, 60)),
    ]


def test_a_division_ends_the_mother_and_begins_two_daughters():
    tracks = follow(dividing())
    assert tracks.table.tolist() == [[1, 0, 1, 0], [2, 2, 3, 1], [3, 2, 3, 1]]
    assert set(np.unique(tracks.frames[3])) == {0, 2, 3}
    alone = follow(dividing(), divisions=False)
    assert alone.table[:, 3].tolist() == [0, 0] and alone.table[0].tolist() == [1, 0, 3, 0]


def test_what_comes_beside_a_nucleus_is_no_daughter():
    before, after = discs((20, 20), radius=6), discs((20, 20), (20, 33), radius=6)
    assert follow([before, after], reach=14).table[:, 3].tolist() == [0, 0]  # as large as before
    small = balls([np.array([20.0, 20]), np.array([20.0, 27])], [6, 2], (40, 60))
    assert follow([before, small], reach=14).table[:, 3].tolist() == [0, 0]  # they are not alike


def test_nothing_to_follow():
    tracks = follow([discs(), discs()])
    assert tracks.table.shape == (0, 4) and not tracks.frames[0].any()
    assert follow([discs(), discs((9, 9)), discs()]).table.tolist() == [[1, 1, 1, 0]]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="frames of one shape"):
        follow([])
    with pytest.raises(ValueError, match="frames of one shape"):
        follow([discs(), discs(shape=(40, 40))])
    with pytest.raises(ValueError, match="`spacing` for each axis"):
        follow([discs()], spacing=(1, 1, 1))


def test_the_assignment_is_that_of_all_permutations():
    rng = np.random.default_rng(0)
    for _ in range(40):
        n, m = map(int, rng.integers(1, 5, 2))
        costs = rng.integers(0, 9, (n, m)).astype(float)
        i, j = np.nonzero(rng.random((n, m)) < 0.7)
        possible = np.full((n, m + n), 4.0)  # the limit
        possible[:, :m] = np.inf
        possible[i, j] = costs[i, j]
        best = min(
            sum(possible[row, place] for row, place in enumerate(order))
            for order in permutations(range(m + n), n)
        )
        one, other = assign(i, j, costs[i, j], (n, m), 4.0)
        assert len(set(one)) == len(one) and len(set(other)) == len(other)
        assert costs[one, other].sum() + 4.0 * (n - len(one)) == best


@pytest.mark.parametrize("seed", range(3))
def test_drawn_films_have_the_challenges_highest_scores(seed, tmp_path):
    truth = film(seed, frames=8, shape=(96, 96), divides=0.06)
    rng = np.random.default_rng(seed)
    found = follow([renamed(rng, frame) for frame in truth.frames])
    gold = truth_folder(tmp_path / "gold", truth)
    scores = challenge(write_tracks(tmp_path / "own", found).parent, gold)
    assert scores["Valid"] == 1 and scores["SEG"] == scores["DET"] == 1
    assert scores["TRA"] > 0.998, scores
    assert (found.table[:, 3] > 0).sum() == (truth.table[:, 3] > 0).sum()


def test_detections_that_fail_cost_no_more_than_themselves(tmp_path):
    truth, rng = film(7, frames=8, shape=(96, 96), divides=0.0), np.random.default_rng(7)
    frames = []
    for frame in truth.frames:  # a tenth of the nuclei is missed
        lost = [i for i in np.unique(frame) if i and rng.random() < 0.1]
        frames.append(renamed(rng, np.where(np.isin(frame, lost), 0, frame)))
    gold, found = (
        truth_folder(tmp_path / "gold", truth),
        [follow(frames, gap=gap) for gap in (0, 1)],
    )
    scores = [
        challenge(write_tracks(tmp_path / f"gap{gap}", one).parent, gold)
        for gap, one in enumerate(found)
    ]
    # TRA counts a link over a gap as one that should not be, so gaps closed do not raise it.
    assert all(one["Valid"] == 1 and min(one["DET"], one["TRA"]) > 0.85 for one in scores)
    assert len(found[0].table) > len(found[1].table) >= len(truth.table)


def test_volumes_are_linked_and_followed(tmp_path):
    truth = film(3, frames=4, shape=(24, 56, 56), count=6, divides=0.08)
    rng = np.random.default_rng(3)
    volumes = [link_slices([renamed(rng, z) for z in frame]) for frame in truth.frames]
    found = follow(volumes)
    gold = truth_folder(tmp_path / "gold", truth)
    scores = challenge(write_tracks(tmp_path / "own", found).parent, gold)
    assert scores["Valid"] == 1 and scores["DET"] > 0.98
    assert scores["SEG"] > 0.97 and scores["TRA"] > 0.98, scores
    assert isinstance(found, Tracks) and found.frames[0].shape == (24, 56, 56)
