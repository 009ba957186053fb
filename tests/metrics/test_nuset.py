"""Kinds of errors: worked-out geometry, and the definitions spelled out pixel by pixel."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from support import oracles

from nucleist.metrics import (
    CoarseMask,
    NusetScores,
    PairScores,
    detection_errors,
    missed_and_spurious,
    per_image_scores,
    pixel_classes,
    touching_separated,
)
from nucleist.metrics.nuset_counts import DetectionErrors, NusetCounts, count_nuset

SMALL_MAPS = arrays(np.int32, (2, 5, 6), elements=st.integers(0, 4))
EXACT = settings(max_examples=80, deadline=None)


def strips(*spans, width=40):
    """A label map of 1 x width with nuclei 1, 2, ... in these columns."""
    labels = np.zeros((1, width), np.int32)
    for i, (start, stop) in enumerate(spans, 1):
        labels[0, start:stop] = i
    return labels


def errors(**numbers):
    return DetectionErrors(**{**dict.fromkeys(DetectionErrors._fields, 0), **numbers})


def errors_by_definition(true, pred):
    rows, columns = oracles.masks(true), oracles.masks(pred)
    iou = {(j, k): oracles.iou(g, s) for j, g in enumerate(rows) for k, s in enumerate(columns)}
    hits = [pair for pair, value in iou.items() if value > Fraction(3, 5)]
    left = {("true", j) for j in range(len(rows))} - {("true", j) for j, _ in hits}
    left |= {("pred", k) for k in range(len(columns))} - {("pred", k) for _, k in hits}
    joined = [
        {("true", j), ("pred", k)} for (j, k), value in iou.items() if value >= Fraction(1, 10)
    ]
    found = errors(correct=len(hits), incorrect=len(columns) - len(hits))._asdict()
    while left:
        group, grown = {left.pop()}, True
        while grown:
            more = {n for pair in joined if pair & group for n in pair} & left
            group, left, grown = group | more, left - more, bool(more)
        trues = sum(kind == "true" for kind, _ in group)
        preds = len(group) - trues
        if trues > 1 and preds > 1:
            found["catastrophe"] += 1
        elif trues > 1:
            found["merge"] += 1
        elif preds > 1:
            found["split"] += 1
        else:
            found["missed"] += trues
            found["gained"] += preds
    return DetectionErrors(**found)


def counts_by_definition(true, pred):
    rows, columns = oracles.masks(true), oracles.masks(pred)

    def share(a, others):
        return max([Fraction(int((a & b).sum()), int(a.sum())) for b in others], default=0)

    places = [np.argwhere(g) for g in rows]
    near = {
        (i, j)
        for i, a in enumerate(places)
        for j, b in enumerate(places)
        if i != j and ((a[:, None] - b[None]) ** 2).sum(2).min() <= 4
    }
    best = []
    for g in rows:
        shared = [int((g & s).sum()) for s in columns]
        best.append(shared.index(max(shared)) if any(shared) else None)
    touching = {i for i, _ in near}
    separated = [
        i
        for i in touching
        if share(rows[i], columns) >= Fraction(1, 2)
        and all(best[i] != best[j] for a, j in near if a == i)
    ]
    return NusetCounts(
        nuclei=len(rows),
        predicted=len(columns),
        uncovered=sum(share(g, columns) < Fraction(7, 10) for g in rows),
        spurious=sum(share(s, rows) < Fraction(7, 10) for s in columns),
        separated=len(separated),
        touching=len(touching),
        both=int(((true > 0) & (pred > 0)).sum()),
        only_true=int(((true > 0) & (pred == 0)).sum()),
        only_pred=int(((true == 0) & (pred > 0)).sum()),
        neither=int(((true == 0) & (pred == 0)).sum()),
    )


@pytest.mark.parametrize("seed", range(25))
def test_random_nuclei_agree_with_the_definitions(seed):
    true, pred = oracles.random_maps(seed, nuclei=9)
    assert detection_errors(true, pred) == errors_by_definition(true, pred)
    assert count_nuset(true, pred) == counts_by_definition(true, pred)


@EXACT
@given(maps=SMALL_MAPS)
def test_arbitrary_labels_agree_with_the_definitions(maps):
    assert detection_errors(*maps) == errors_by_definition(*maps)
    assert count_nuset(*maps) == counts_by_definition(*maps)


@pytest.mark.parametrize("seed", [seed for seed in range(20) if seed not in (6, 15)])
def test_correct_detections_are_those_of_deepcells_assignment(seed):
    # DeepCell pairs by least cost: 1 - IoU for a pair, 0.4 for each object left alone.
    true, pred = oracles.random_maps(seed, nuclei=8)
    rows, columns = oracles.masks(true), oracles.masks(pred)
    cost = np.array([[1 - float(oracles.iou(g, s)) for s in columns] for g in rows])
    assert 0.4 not in cost.round(9)  # an exact tie, as in seeds 6 and 15, may be paired or not
    n, m = cost.shape
    alone = 1e6 * (1 - np.eye(n)) + 0.4 * np.eye(n), 1e6 * (1 - np.eye(m)) + 0.4 * np.eye(m)
    whole = np.block([[cost, alone[0]], [alone[1], cost.T]])
    chosen = zip(*linear_sum_assignment(whole), strict=True)
    assert detection_errors(true, pred).correct == sum(i < n and j < m for i, j in chosen)


def test_each_kind_of_error():
    whole, halves = strips((0, 10)), strips((0, 5), (5, 10))
    assert detection_errors(whole, whole) == errors(correct=1)
    assert detection_errors(whole, halves) == errors(incorrect=2, split=1)
    assert detection_errors(halves, whole) == errors(incorrect=1, merge=1)
    assert detection_errors(whole, strips()) == errors(missed=1)
    assert detection_errors(strips(), whole) == errors(incorrect=1, gained=1)
    # IoU 4 / 16: joined, one of each
    assert detection_errors(whole, strips((6, 16))) == errors(incorrect=1, missed=1, gained=1)
    # truth 0-10 and 10-20 cut at 5 and 15 instead: IoU 5/10, 5/15, 5/15, 5/10, all in one group
    cut = strips((0, 5), (5, 15), (15, 20))
    assert detection_errors(strips((0, 10), (10, 20)), cut) == errors(incorrect=3, catastrophe=1)
    assert detection_errors(strips(), strips()) == errors()


def test_thresholds_of_errors_are_exact():
    # 6 of 10 pixels: IoU exactly 3/5 is not above it, so one missed and one gained
    assert detection_errors(strips((0, 10)), strips((0, 6))).correct == 0
    assert detection_errors(strips((0, 100), width=100), strips((0, 61), width=100)).correct == 1
    # IoU exactly 1/10 with each of two pieces joins them to a split; 9/100 does not
    assert detection_errors(strips((0, 10)), strips((0, 1), (9, 10))).split == 1
    none = detection_errors(strips((0, 100), width=100), strips((0, 9), (91, 100), width=100))
    assert none == errors(incorrect=2, missed=1, gained=2)


def test_missed_and_spurious_are_about_a_share_of_seven_tenths():
    # 7 of 10 pixels: covered; 6 of 10: not. The prediction itself lies in the nucleus wholly.
    assert missed_and_spurious(strips((0, 10)), strips((0, 7))) == (0.0, 0.0)
    assert missed_and_spurious(strips((0, 10)), strips((0, 6))) == (1.0, 0.0)
    # a prediction over two nuclei covers both but is spurious: 10 of 20; 1 / 2 nuclei
    assert missed_and_spurious(strips((0, 10), (10, 20)), strips((0, 20))) == (0.0, 0.5)
    # three false predictions for one nucleus: more than 1
    assert missed_and_spurious(strips((0, 5)), strips((10, 12), (20, 22), (30, 32))) == (1.0, 3.0)


def test_touching_nuclei_and_what_separates_them():
    # background of one pixel between them (distance 2) touches, of two (distance 3) does not
    near, far = strips((0, 10), (11, 20)), strips((0, 10), (12, 22))
    assert count_nuset(near, near)[4:6] == (2, 2)
    assert count_nuset(far, far)[4:6] == (0, 0)
    assert touching_separated(near, strips((0, 20))) == 0.0  # merged
    assert (
        touching_separated(near, strips((0, 5), (11, 15))) == 0.5
    )  # 5/10 of one, 4/9 of the other
    assert touching_separated(far, strips()) == 1.0  # nothing to separate
    # diagonal neighbours at (1, 1) and (2, 2): 2 apart in squares at most 4, and 8
    corner = np.zeros((4, 4), np.int32)
    corner[0, 0], corner[1, 1] = 1, 2
    assert count_nuset(corner, corner).touching == 2
    corner[1, 1], corner[2, 2] = 0, 2
    assert count_nuset(corner, corner).touching == 0


def test_pixel_classes_of_a_hand_made_image():
    # 20 pixels: 6 in both, 2 in the truth alone, 4 in the prediction alone, 8 in neither
    scores = pixel_classes(strips((0, 8), width=20), strips((2, 12), width=20))
    assert scores.mean_iu == pytest.approx((6 / 12 + 8 / 14) / 2)
    assert scores.mean_f1 == pytest.approx((12 / 18 + 16 / 22) / 2)
    assert scores.accuracy == pytest.approx(14 / 20)
    assert scores.rmse == pytest.approx((6 / 20) ** 0.5)


def test_empty_maps_follow_the_cards():
    empty, one = strips(), strips((0, 40))
    assert missed_and_spurious(empty, empty) == (0.0, 0.0)
    assert missed_and_spurious(one, empty) == (1.0, 0.0)
    assert missed_and_spurious(empty, one) == (1.0, 1.0)
    assert pixel_classes(empty, empty) == (1.0, 1.0, 1.0, 0.0)
    assert pixel_classes(one, empty) == (0.0, 0.0, 0.0, 1.0)
    assert touching_separated(strips((0, 5), (5, 9)), empty) == 0.0


def test_label_maps_of_torch_count_the_same():
    true, pred = oracles.random_maps(4)
    assert count_nuset(torch.from_numpy(true), torch.from_numpy(pred)) == count_nuset(true, pred)


def test_pooled_counts_are_those_of_all_images_side_by_side():
    scores, maps = PairScores(), [oracles.random_maps(seed, nuclei=5) for seed in range(4)]
    rows = [scores.add(*pair) for pair in maps]
    apart = np.zeros((24, 3), np.int32)  # so that nuclei of two images do not touch
    true, pred = (
        np.hstack([part for i, pair in enumerate(maps)
                   for part in (pair[k] + 100 * i * (pair[k] > 0), apart)])
        for k in range(2)
    )  # fmt: skip
    wide = PairScores()
    wide.add(true, pred)
    for name, value in scores.means().items():
        assert value["per_image"] == pytest.approx(np.mean([row[name] for row in rows])), name
        if name not in ("pixel_mean_iu", "pixel_mean_f1", "pixel_accuracy", "pixel_rmse"):
            assert value["pooled"] == pytest.approx(wide.means()[name]["pooled"]), name
    assert scores.numbers() == wide.numbers()
    with pytest.raises(ValueError, match="at least one image"):
        PairScores().means()


def scored(labels, scores):
    """A prediction in which nucleus i + 1 has score i; scores fall as the labels rise."""
    return {"label_map": torch.from_numpy(labels), "scores": torch.tensor(scores)}


def test_scores_over_a_data_set_are_those_of_pairs_at_each_threshold():
    maps = [oracles.random_maps(seed, nuclei=6) for seed in range(3)]
    maps = [(true, np.searchsorted(np.unique(pred), pred)) for true, pred in maps]
    metric = NusetScores((0.1, 0.5))
    for true, pred in maps:
        scores = [0.9, 0.7, *[0.3] * (int(pred.max()) - 2)]
        metric.update([scored(pred, scores)], [torch.from_numpy(true)])
    values = metric.compute()
    for place, most in enumerate((99, 2)):  # above 0.5 only the first two labels are left
        pairs = PairScores()
        rows = [pairs.add(true, np.where(pred <= most, pred, 0)) for true, pred in maps]
        for name, wanted in {**pairs.means(), **pairs.numbers()}.items():
            if name in values:
                assert int(values[name][place]) == wanted
            elif f"{name}_pooled" in values:
                assert float(values[f"{name}_pooled"][place]) == pytest.approx(wanted["pooled"])
                each = float(values[f"{name}_per_image"][place])
                assert each == pytest.approx(wanted["per_image"])
        for (true, pred), row in zip(maps, rows, strict=True):
            assert row == per_image_scores(true, np.where(pred <= most, pred, 0))
    assert len(values) == 2 * 7 + 7


def test_measures_of_whole_images_need_complete_ones():
    true, pred = oracles.random_maps(0, nuclei=6)
    one = scored(pred, [0.9] * int(pred.max())), torch.from_numpy(true)
    metric = NusetScores()
    metric.update([], [])
    assert metric.compute() == {}
    metric.update([one[0]], [one[1]])
    metric.update([one[0]], [one[1]], [np.zeros(true.shape, bool)])
    assert metric.compute() == {}
    assert "merge" not in per_image_scores(true, pred, np.zeros(true.shape, bool))


def test_the_coarse_mask_is_compared_by_pixels():
    # 20 pixels, 6 in both, 2 in the truth alone, 4 in the mask alone, 8 in neither
    true, mask = strips((0, 8), width=20), torch.from_numpy(strips((2, 12), width=20) > 0)
    metric = CoarseMask((0.3, 0.5))
    metric.update([], [])
    assert metric.compute() == {}
    metric.update([{"coarse": mask}, {"coarse": mask}], [torch.from_numpy(true)] * 2)
    wanted = (6 / 12 + 8 / 14) / 2
    assert metric.compute()["coarse_mean_iu_per_image"].tolist() == [pytest.approx(wanted)] * 2
    area = torch.zeros(1, 20, dtype=torch.bool)
    area[0, :4] = True  # 2 in both, 2 in the truth alone: the background is absent, which is 1 / 1
    metric.update([{"coarse": mask}], [torch.from_numpy(true)], [area])
    values = metric.compute()
    each = (2 * wanted + (2 / 4 + 0 / 2) / 2) / 3
    assert values["coarse_mean_iu_per_image"][0] == pytest.approx(each)
    assert values["coarse_mean_iu_pooled"][0] == pytest.approx((14 / 28 + 16 / 30) / 2)
    metric.update([{"coarse": mask}], [torch.from_numpy(true)], [torch.zeros(1, 20) > 0])
    assert metric.compute()["coarse_mean_iu_pooled"][0] == values["coarse_mean_iu_pooled"][0]


def test_nets_with_one_pass_have_no_coarse_mask():
    metric = CoarseMask()
    metric.update([scored(strips((0, 8)), [0.9])], [torch.from_numpy(strips((0, 8)))])
    assert metric.compute() == {}
