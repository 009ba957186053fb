"""Scores over a data set: sums, averages, score thresholds, two processes."""

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from support import oracles
from support.scored import THRESHOLDS, erase, image, numbered, prediction

from nucleist.metrics import (
    F1,
    AggregatedJaccardIndex,
    ForegroundOverlap,
    InstanceScores,
    MeanAveragePrecision,
    NormalizedCoverageScore,
    NucleusCount,
    PanopticQuality,
    PrecisionRecall,
    detection_errors,
    functional,
    instance,
    instance_metrics,
    missed_and_spurious,
    per_image_scores,
)
from nucleist.metrics.nuset_counts import NUSET_SCORES, DetectionErrors
from nucleist.ops.contingency import contingency

NAMES = (
    *("map", "aji", "ncs", "precision", "recall", "pq"),
    *("f1", "f1_50", "f1_mean", "pixel_iou", "pixel_dice"),
)


def data_set(count=5):
    return [image(seed, nuclei=2 + 3 * (seed % 3)) for seed in range(count)]


def score_all(images, batch=2):
    metrics = instance_metrics(THRESHOLDS)
    for start in range(0, len(images), batch):
        targets, preds = zip(*images[start : start + batch], strict=True)
        metrics.update(list(preds), list(targets))
    return metrics.compute()


def test_per_image_average_is_the_mean_of_the_definitions():
    images = data_set()
    result = score_all(images)
    for k, threshold in enumerate(THRESHOLDS):
        maps = [(t.numpy(), erase(p, threshold)) for t, p in images]
        expected = {
            "map": [oracles.mean_average_precision(*m) for m in maps],
            "aji": [oracles.aggregated_jaccard_index(*m) for m in maps],
            "ncs": [oracles.normalized_coverage_score(*m) for m in maps],
            "precision": [oracles.precision_recall(*m)[0] for m in maps],
            "recall": [oracles.precision_recall(*m)[1] for m in maps],
            "pq": [oracles.panoptic_quality(*m) for m in maps],
            "f1_mean": [functional.mean_f1(*m) for m in maps],
            "pixel_dice": [functional.pixel_overlap(*m).dice for m in maps],
        }
        for name, values in expected.items():
            assert result[f"{name}_per_image"][k].item() == pytest.approx(np.mean(values))
        assert result["detections"][k] == sum(len(oracles.masks(p)) for _, p in maps)
        assert result["nuclei"][k] == sum(len(oracles.masks(t)) for t, _ in maps)


def test_f1_and_foreground_of_patches_are_those_of_their_definitions():
    # Two patches without a nucleus, of which one stays empty (1 at every threshold), and halves of
    # a nucleus (IoU exactly 1/2, two candidates for one) beside drawn ones.
    empty, halves = np.zeros((4, 6), int), np.zeros((4, 6), int)
    halves[:, 1:5] = 1
    false, split = halves.copy(), halves.copy()
    split[:, 3:5] = 2
    maps = [oracles.random_maps(seed) for seed in range(4)]
    maps += [(empty, empty), (empty, false), (halves, split)]
    result = score_all([(torch.from_numpy(t), numbered(p)) for t, p in maps])
    # (TP, nuclei + predictions) of each patch at each threshold, by trying all assignments
    counts = np.array(
        [
            [
                (oracles.matches(t, p, Fraction(k, 10), inclusive=True), objects(t) + objects(p))
                for k in range(1, 11)
            ]
            for t, p in maps
        ]
    )
    tp, total = counts[..., 0], counts[..., 1]
    each = np.where(total > 0, 2 * tp / np.maximum(total, 1), 1.0)
    pooled = 2 * tp.sum(0) / total.sum(0)
    shown = result["f1_mean_per_image"][0].item(), result["f1_mean_pooled"][0].item()
    assert shown == (pytest.approx(each.mean()), pytest.approx(pooled.mean()))
    shown = result["f1_50_per_image"][0].item(), result["f1_50_pooled"][0].item()
    assert shown == (pytest.approx(each[:, 4].mean()), pytest.approx(pooled[4]))
    assert each[4].tolist() == [1.0] * 10 and each[5].tolist() == [0.0] * 10
    assert each[6].tolist() == pytest.approx([2 / 3] * 5 + [0.0] * 5)
    assert result["f1_50_pooled"][0] > result["f1_pooled"][0]  # exactly 1/2 is no match of f1
    both, either, sizes = (
        np.array([pixels(t > 0, p > 0) for t, p in maps])
        for pixels in (
            lambda t, p: (t & p).sum(),
            lambda t, p: (t | p).sum(),
            lambda t, p: t.sum() + p.sum(),
        )
    )
    iou, dice = result["pixel_iou_pooled"][0].item(), result["pixel_dice_pooled"][0].item()
    assert iou == pytest.approx(both.sum() / either.sum())
    assert dice == pytest.approx(2 * both.sum() / sizes.sum()) == pytest.approx(2 * iou / (1 + iou))
    mean = np.where(either > 0, both / np.maximum(either, 1), 1.0).mean()
    assert result["pixel_iou_per_image"][0].item() == pytest.approx(mean)


def objects(labels):
    return len(oracles.masks(labels))


def test_pooled_average_is_the_score_of_all_images_side_by_side():
    # nuclei of different images never meet, so one wide image has the same sums
    images = data_set()
    result = score_all(images)
    for k, threshold in enumerate(THRESHOLDS):
        true = np.hstack([t.numpy() + 100 * i * (t.numpy() > 0) for i, (t, _) in enumerate(images)])
        maps = [erase(p, threshold) for _, p in images]
        pred = np.hstack([m + 100 * i * (m > 0) for i, m in enumerate(maps)])
        for name, value in per_image_scores(true, pred).items():
            if name in NAMES:
                assert result[f"{name}_pooled"][k].item() == pytest.approx(value), name


def test_pooled_and_per_image_differ_on_unequal_images():
    # image 1: 1 nucleus, found; image 2: 3 nuclei, none found.
    # recall: pooled 1/4, mean of 1 and 0 = 1/2
    one = torch.tensor([[1, 1, 0, 0, 0, 0]])
    three = torch.tensor([[1, 0, 2, 0, 3, 0]])
    metric = PrecisionRecall()
    metric.update([prediction(one, [0.9]), prediction(torch.zeros(1, 6), [])], [one, three])
    assert {k: v.tolist() for k, v in metric.compute().items()} == {
        "precision_pooled": 1.0,  # one threshold gives scalars
        "precision_per_image": 0.5,
        "recall_pooled": 0.25,
        "recall_per_image": 0.5,
    }


def test_a_detection_counts_above_its_score_not_at_it():
    # 0.1 in float32 is a little more than 0.1 in float64: still not above the threshold 0.1
    true = torch.tensor([[1, 0, 2, 0, 3]])
    metric = NucleusCount(score_thresholds=(0.0, 0.1, 0.5, 1.0))
    metric.update([prediction(true, [0.5, 0.1, 0.0])], [true])
    assert metric.compute()["detections"].tolist() == [2, 1, 0, 0]
    assert metric.compute()["nuclei"].tolist() == [3, 3, 3, 3]


def test_a_detection_without_pixels_is_not_counted():
    true = torch.tensor([[1, 0, 2]])
    metric = PrecisionRecall()
    metric.update([prediction(torch.tensor([[1, 0, 3]]), [0.9, 0.8, 0.7])], [true])
    assert metric.compute()["precision_pooled"].item() == 1.0


def test_empty_images_follow_the_functions():
    empty, one = torch.zeros(4, 4, dtype=torch.int32), torch.eye(4, dtype=torch.int32)
    both, missed, false = ((empty, []), empty), ((empty, []), one), ((one, [0.9]), empty)
    for ((label_map, scores), target), expected in ((both, 1.0), (missed, 0.0), (false, 0.0)):
        metrics = instance_metrics()
        metrics.update([prediction(label_map, scores)], [target])
        result = metrics.compute()
        for name in NAMES:
            assert result[f"{name}_pooled"].item() == expected
            assert result[f"{name}_per_image"].item() == expected


def test_a_data_set_without_images_is_not_perfect():
    with pytest.warns(UserWarning, match="before the ``update``"):
        result = MeanAveragePrecision().compute()
    assert result["map_pooled"].item() == result["map_per_image"].item() == 0.0


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (InstanceScores, NAMES),
        (MeanAveragePrecision, ("map",)),
        (AggregatedJaccardIndex, ("aji",)),
        (NormalizedCoverageScore, ("ncs",)),
        (PrecisionRecall, ("precision", "recall")),
        (PanopticQuality, ("pq",)),
        (F1, ("f1", "f1_50", "f1_mean")),
        (ForegroundOverlap, ("pixel_iou", "pixel_dice")),
    ],
)
def test_each_class_alone_equals_the_collection(kind, names):
    images, metric = data_set(3), kind(THRESHOLDS)
    targets, preds = zip(*images, strict=True)
    metric.update(preds, targets)
    result, expected = metric.compute(), score_all(images)
    assert set(result) == {f"{n}_{a}" for n in names for a in ("pooled", "per_image")}
    for key, value in result.items():
        assert value.dtype == torch.double and torch.equal(value, expected[key])
    assert kind.higher_is_better and not kind.is_differentiable and not kind.full_state_update


def test_collection_counts_once_and_starts_afresh_after_reset(monkeypatch):
    calls = []
    monkeypatch.setattr(instance, "contingency", lambda *m: calls.append(1) or contingency(*m))
    metrics, images = instance_metrics(), data_set(4)
    for _ in range(2):
        metrics.reset()
        for target, pred in images:
            metrics.update([pred], [target])
        result = metrics.compute()
    assert len(calls) == 2 * len(images)  # not six times, once for each metric
    truth = sum(len(oracles.masks(t.numpy())) for t, _ in images)
    assert result["nuclei"].item() == truth


def test_options_reach_the_counts():
    # halves of a 2-pixel nucleus: IoU exactly 1/2
    true, pred = torch.tensor([[1, 1, 0]]), prediction(torch.tensor([[1, 0, 0]]), [0.9])
    strict, inclusive = PrecisionRecall(), PrecisionRecall(inclusive=True)
    strict.update([pred], [true])
    inclusive.update([pred], [true])
    assert strict.compute()["recall_pooled"].item() == 0.0
    assert inclusive.compute()["recall_pooled"].item() == 1.0
    # truth 1 is the smaller part of one prediction: greedy takes it, hungarian does not
    true, pred = torch.tensor([[1, 2, 2]]), prediction(torch.ones(1, 3), [0.9])
    for matching, expected in (("greedy", 1 / 5), ("hungarian", 2 / 4)):
        metric = AggregatedJaccardIndex(aji_matching=matching)
        metric.update([pred], [true])
        assert metric.compute()["aji_pooled"].item() == pytest.approx(expected)


def test_per_image_scores_are_the_functions():
    true, pred = oracles.random_maps(3)
    row = per_image_scores(true, pred)
    kinds = [*NUSET_SCORES, *DetectionErrors._fields]
    assert list(row) == [*NAMES, "nuclei", "detections", *kinds]
    assert row["map"] == functional.mean_average_precision(true, pred)
    assert row["aji"] == functional.aggregated_jaccard_index(true, pred)
    assert row["nuclei"] == len(oracles.masks(true))
    assert row["missed_rate"] == missed_and_spurious(true, pred).missed_rate
    assert row["merge"] == detection_errors(true, pred).merge
    assert all(type(v) is float for name, v in row.items() if name not in DetectionErrors._fields)


def test_bad_input_is_refused_with_what_was_given():
    true, pred = image(0)
    with pytest.raises(ValueError, match="1 predictions and 2 targets"):
        MeanAveragePrecision().update([pred], [true, true])
    with pytest.raises(ValueError, match="2 scores and the label 7"):
        MeanAveragePrecision().update([prediction([[1, 7]], [0.9, 0.8])], [torch.tensor([[1, 7]])])
    for thresholds in ((), (0.5, 1.5)):
        with pytest.raises(ValueError, match="score_thresholds"):
            MeanAveragePrecision(thresholds)


def one_of_two(index, rank, folder):
    """Score every second image, then agree with the other process."""
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=2),  # a machine may be busy, but a lost partner must not hang
    )
    try:
        torch.save(score_all(data_set(5)[rank::2]), Path(folder) / f"{rank}.pt")
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.whole
def test_two_processes_equal_one(tmp_path):
    expected = score_all(data_set(5))
    # this process is one of the two: a new one costs seconds of imports
    partner = torch.multiprocessing.spawn(one_of_two, (1, str(tmp_path)), join=False)
    one_of_two(0, 0, str(tmp_path))
    assert partner.join()
    for rank in range(2):  # the ranks have 3 and 2 images
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert set(result) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(result[key], value, rtol=1e-12, atol=0)
