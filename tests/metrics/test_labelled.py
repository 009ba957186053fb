"""Scores where only a part of an image is complete, against slow definitions."""

import numpy as np
import pytest
import torch
from support import oracles
from support.scored import THRESHOLDS, erase, image, numbered, prediction

from nucleist.metrics import InstanceScores, LabelledScores, labelled_scores, per_image_scores
from nucleist.metrics.counts import IOU_THRESHOLDS, SCORES


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def slow(true, pred, area):
    """The scores at labelled nuclei, mask by mask."""
    nuclei, found = oracles.masks(true), oracles.masks(pred)
    best = [max([iou(n, f) for f in found], default=0) for n in nuclei]
    recalls = [np.mean([b > float(t) for b in best]) for t in IOU_THRESHOLDS]
    inside = [2 * (f & area).sum() >= f.sum() for f in found]
    unjudged = sum(
        max([iou(n, f) for n in nuclei], default=0) <= 0.5 and not i
        for f, i in zip(found, inside, strict=True)
    )
    return {
        "labelled_recall": np.mean(recalls),
        "labelled_recall_50": recalls[0],
        "labelled_iou": np.mean(best),
        "labelled_score": np.mean(np.square(recalls)) * len(nuclei) / max(len(found), 1),
        "labelled_nuclei": len(nuclei),
        "unjudged": unjudged,
    }


def halves(shape):
    area = np.zeros(shape, bool)
    area[:, : shape[1] // 2] = True
    return area


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("part", ["nowhere", "left"])
def test_scores_at_labelled_nuclei_are_those_of_their_definition(seed, part):
    true, pred = image(seed, nuclei=8)
    area = halves(true.shape) if part == "left" else np.zeros(true.shape, bool)
    metric = LabelledScores(THRESHOLDS)
    metric.update([pred], [true], [torch.from_numpy(area)])
    found = metric.compute()
    for k, threshold in enumerate(THRESHOLDS):
        expected = slow(true.numpy(), erase(pred, threshold), area)
        for name, value in expected.items():
            key = name if name in found else f"{name}_pooled"
            assert found[key][k].item() == pytest.approx(value), name
        row = labelled_scores(true.numpy(), erase(pred, threshold), area)
        for name in ("labelled_recall", "labelled_recall_50", "labelled_iou"):
            assert row[name] == pytest.approx(expected[name])
            assert found[f"{name}_per_image"][k].item() == pytest.approx(expected[name])


NUMBERS = ("nuclei", "detections")


@pytest.mark.parametrize("seed", range(6))
def test_in_an_area_only_what_lies_there_counts(seed):
    true, pred = image(seed, nuclei=9)
    area = halves(true.shape)
    nuclei, found = oracles.masks(true.numpy()), oracles.masks(pred["label_map"].numpy())
    known = [2 * (n & area).sum() >= n.sum() for n in nuclei]
    judged = [2 * (f & area).sum() >= f.sum() for f in found]
    for i, f in enumerate(found):
        for n, k in zip(nuclei, known, strict=True):
            judged[i] = k if iou(n, f) > 0.5 else judged[i]
    some = [np.zeros(true.shape, np.int32) for _ in range(2)]
    for labels, masks, keep in ((some[0], nuclei, known), (some[1], found, judged)):
        for number, (mask, kept) in enumerate(zip(masks, keep, strict=True), 1):
            labels[mask] = number * kept
    expected = {n: v for n, v in per_image_scores(*some).items() if n in (*SCORES, *NUMBERS)}
    row = per_image_scores(true.numpy(), pred["label_map"].numpy(), area)
    assert {name: row[name] for name in expected} == expected
    metric = InstanceScores([0.0, 0.5])
    metric.update([pred], [true], [area])
    scores = metric.compute()
    assert scores.pop("complete_nuclei")[0].item() == expected["nuclei"]
    for name, value in scores.items():
        assert value[0].item() == pytest.approx(
            expected[name.removesuffix("_pooled").removesuffix("_per_image")]
        )


def test_a_nucleus_on_the_border_of_the_area_is_compared_whole():
    true = np.zeros((8, 20), np.int32)
    true[2:6, 6:13] = 1  # 4 of its 7 columns lie in the left half
    true[2:6, 15:19] = 2
    pred = np.where(true > 0, true, 0)
    pred[0, 19] = 3  # right of the area: unjudged
    row = per_image_scores(true, pred, halves(true.shape))
    assert (row["map"], row["nuclei"], row["detections"]) == (1.0, 1.0, 1.0)
    assert (row["labelled_recall"], row["labelled_nuclei"], row["unjudged"]) == (1.0, 2, 1)


def test_where_nothing_is_complete_there_is_no_precision():
    true, pred = image(3)
    nowhere = np.zeros(true.shape, bool)
    row = per_image_scores(true.numpy(), pred["label_map"].numpy(), nowhere)
    assert not {"map", "precision", "aji", "pq", "nuclei", "detections"} & row.keys()
    metric = InstanceScores()
    metric.update([pred], [true], [torch.from_numpy(nowhere)])
    assert metric.compute() == {}
    assert np.isnan(metric.averages("map")["map_pooled"].item())


def test_complete_images_are_scored_as_ever_and_have_no_scores_at_labelled_nuclei():
    images = [image(seed) for seed in range(4)]
    targets, preds = [t for t, _ in images], [p for _, p in images]
    metric, partial = InstanceScores(THRESHOLDS), InstanceScores(THRESHOLDS)
    metric.update(preds[:2], targets[:2])
    areas = [None, None, *(torch.zeros(t.shape, dtype=torch.bool) for t in targets[2:])]
    partial.update(preds, targets, areas)
    for name, value in metric.compute().items():
        assert torch.equal(partial.compute()[name], value)
    labelled = LabelledScores(THRESHOLDS)
    labelled.update(preds[:2], targets[:2])
    assert labelled.compute() == {}
    labelled.update(preds[2:], targets[2:], areas[2:])
    assert labelled.compute()["complete_area"][0].item() == pytest.approx(0.5)


def test_an_area_that_is_the_whole_image_changes_no_score():
    true, pred = image(5)
    metric, whole = InstanceScores(), InstanceScores()
    metric.update([pred], [true])
    whole.update([pred], [true], [torch.ones(true.shape, dtype=torch.bool)])
    assert metric.compute().items() <= whole.compute().items()


def test_outlining_everything_raises_recall_and_not_the_score():
    true = np.zeros((12, 12), np.int32)
    true[1:4, 1:4] = 1
    squares = [(r, c) for r in (1, 5, 9) for c in (1, 5, 9)]
    few, many = np.zeros((2, 12, 12), np.int32)
    few[1:4, 1:4] = 1
    for number, (r, c) in enumerate(squares, 1):
        many[r : r + 3, c : c + 3] = number
    nowhere = np.zeros(true.shape, bool)
    scores = []
    for found in (few, many):
        metric = LabelledScores()
        metric.update([numbered(found)], [torch.from_numpy(true)], [nowhere])
        scores.append({k: v.item() for k, v in metric.compute().items()})
    assert scores[0]["labelled_recall_pooled"] == scores[1]["labelled_recall_pooled"] == 1
    assert scores[0]["labelled_score"] == 1
    assert scores[1]["labelled_score"] == pytest.approx(1 / 9)
    assert [s["unjudged"] for s in scores] == [0, 8]


@pytest.mark.parametrize(("shift", "number"), [(0, 1), (1, 7), (2, 2**24 - 1)])
def test_boundary_distance_of_a_shifted_disc(shift, number):
    # An outline shifted along x by s is |s cos a| away at the angle a: 2 s / pi on the mean.
    y, x = np.mgrid[:80, :80]
    disc = (y - 40) ** 2 + (x - 40) ** 2 < 30**2
    true = number * disc.astype(np.int32)
    pred = np.roll(disc.astype(np.int32), shift, axis=1)
    row = labelled_scores(true, pred, np.zeros(true.shape, bool))
    assert row["boundary_distance"] == pytest.approx(2 * shift / np.pi, abs=0.1)


def test_an_image_without_labelled_nuclei_counts_in_no_mean():
    true, pred = image(1)
    empty, none = torch.zeros_like(true), prediction(np.zeros(true.shape), [])
    metric = LabelledScores()
    nowhere = np.zeros(true.shape, bool)
    metric.update([pred, none], [true, empty], [nowhere, nowhere])
    found = metric.compute()
    alone = labelled_scores(true.numpy(), erase(pred, 0.5), nowhere)
    assert found["labelled_recall_per_image"].item() == pytest.approx(alone["labelled_recall"])
    assert "labelled_recall" not in labelled_scores(empty.numpy(), empty.numpy(), nowhere)


def test_a_detection_on_a_known_nucleus_is_judged_and_not_scored():
    true, known = np.zeros((2, 6, 12), np.int32)
    true[1:4, 1:4], known[1:4, 5:8] = 1, 7
    pred = np.zeros((6, 12), np.int32)
    pred[1:4, 5:8], pred[1:4, 9:12] = 1, 2
    nowhere = np.zeros(true.shape, bool)
    row = per_image_scores(true, pred, nowhere, known)
    assert (row["labelled_recall"], row["labelled_nuclei"], row["unjudged"]) == (0.0, 1, 1)
    metric = LabelledScores()
    metric.update([numbered(pred)], [torch.from_numpy(true)], [nowhere], known=[known])
    assert metric.compute()["unjudged"].item() == 1


@pytest.mark.parametrize("thresholds", [(), (0.5, 1.5)])
def test_score_thresholds_are_checked(thresholds):
    with pytest.raises(ValueError, match="score_thresholds"):
        LabelledScores(thresholds)
