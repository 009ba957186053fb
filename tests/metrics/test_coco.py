"""COCO's AP: equal to its reference implementation, and never cut at a number of detections."""

import builtins
import warnings

import numpy as np
import pytest
import torch
from support import oracles

from nucleist.metrics import CocoAveragePrecision, coco
from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import UserError

pycocotools = pytest.importorskip("pycocotools.cocoeval", reason="needs nucleist[dev]")
NAMES = ("ap", "ap50", "ap75")


def image(seed, nuclei=8):
    """A random image: truth, and detections whose boxes are a little off their masks."""
    rng = np.random.default_rng(seed)
    true, pred = oracles.random_maps(seed, size=40, nuclei=nuclei)
    label_map, ids = relabel(torch.from_numpy(pred))
    off = torch.from_numpy(rng.normal(0, 0.3, (len(ids), 4)).astype(np.float32))
    scores = np.sort(rng.integers(1, 9, len(ids)) / 8)[::-1].astype(np.float32)  # with ties
    return torch.from_numpy(true), {
        "boxes": boxes_of(label_map, len(ids)) + off,
        "labels": torch.ones(len(ids), dtype=torch.long),
        "scores": torch.from_numpy(scores.copy()),
        "label_map": label_map,
    }


def crowd(count=150):
    """More nuclei than the usual limit of 100 detections, and a prediction without a fault."""
    labels = torch.zeros(60, 10 * count // 5, dtype=torch.int32)
    for i in range(count):
        y, x = 12 * (i % 5), 10 * (i // 5)
        labels[y : y + 7, x : x + 6] = i + 1
    boxes, scores = boxes_of(labels, count), torch.linspace(1, 0.5, count)
    classes = torch.ones(count, dtype=torch.long)
    return labels, {"boxes": boxes, "labels": classes, "scores": scores, "label_map": labels}


def reference(images, kind, limit=1000):
    """`pycocotools` on whole masks, its precision averaged without its summary."""
    from pycocotools import mask
    from pycocotools.coco import COCO

    def objects(labels, boxes, number):
        sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
        for k, box in enumerate(sides):
            plane = np.asfortranarray((labels == k + 1).numpy().astype(np.uint8))
            shape = {"segmentation": mask.encode(plane)} if kind == "segm" else {"bbox": box}
            yield {"image_id": number, "category_id": 1, **shape}

    truth, found = COCO(), []
    truth.dataset = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    for number, (true, pred) in enumerate(images, 1):
        height, width = true.shape
        truth.dataset["images"].append({"id": number, "height": height, "width": width})
        labels, ids = relabel(true)
        for one in objects(labels, boxes_of(labels, len(ids)), number):
            place = {"id": len(truth.dataset["annotations"]) + 1, "iscrowd": 0, "area": 1}
            truth.dataset["annotations"].append(one | place)
        scored = zip(
            objects(pred["label_map"], pred["boxes"], number), pred["scores"].tolist(), strict=True
        )
        found += [one | {"score": score} for one, score in scored]
    truth.createIndex()
    evaluation = pycocotools.COCOeval(truth, truth.loadRes(found), kind)
    evaluation.params.maxDets = [1, 10, limit]
    evaluation.evaluate()
    evaluation.accumulate()
    each = evaluation.eval["precision"][:, :, 0, 0, -1].mean(1)
    return dict(zip(NAMES, (each.mean(), each[0], each[5]), strict=True))


def scores_of(images):
    metric = CocoAveragePrecision()
    for true, pred in images:
        metric.update([pred], [true])
    return metric.compute()


class TestWithTheBackend:
    @pytest.fixture(autouse=True)
    def _backend(self):
        pytest.importorskip("faster_coco_eval", reason="needs nucleist[coco]")

    @pytest.mark.parametrize("kind", ["segm", "bbox"])
    def test_equals_pycocotools(self, kind):
        images = [image(seed, nuclei=4 + seed % 6) for seed in range(12)]
        ours, theirs = scores_of(images), reference(images, kind)
        assert 0 < theirs["ap"] < theirs["ap50"] < 1
        for name in NAMES:
            assert ours[f"coco_{kind}_{name}"] == pytest.approx(theirs[name], abs=1e-9)

    def test_a_crowd_is_not_cut_where_torchmetrics_cuts_it(self):
        from torchmetrics.detection import MeanAveragePrecision

        labels, pred = crowd(150)
        ours = scores_of([(labels, pred)])
        assert ours["coco_max_detections"] == 150
        assert [ours[f"coco_{k}_ap"] for k in ("segm", "bbox")] == pytest.approx([1, 1])
        target = {"boxes": boxes_of(labels, 150), "labels": pred["labels"]}
        theirs = MeanAveragePrecision()
        theirs.warn_on_many_detections = False
        theirs.update([pred], [target])
        assert theirs.compute()["map"].item() == pytest.approx(67 / 101)  # recall ends at 100 / 150

    def test_ranking_counts_and_detections_without_pixels_do_not(self):
        # Two nuclei, both found, and a false detection ranked between them: precision 1 up to a
        # recall of 1/2 (51 of 101 points), then 2/3.
        true = torch.tensor([[1, 1, 0, 2, 2, 0, 0]])
        found = torch.tensor([[1, 1, 0, 3, 3, 0, 2]], dtype=torch.int32)
        boxes = torch.tensor([[0.0, 0, 2, 1], [6, 0, 7, 1], [3, 0, 5, 1], [0, 0, 2, 1]])
        pred = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8, 0.7, 0.6]), "label_map": found}
        values = scores_of([(true, pred)])
        assert values["coco_segm_ap"] == pytest.approx((51 + 50 * 2 / 3) / 101)
        assert values["coco_bbox_ap"] == values["coco_segm_ap"]
        assert values["coco_max_detections"] == 3  # the fourth has no pixel

    def test_empty_maps_are_one_or_zero_not_minus_one(self):
        empty = torch.zeros(5, 5, dtype=torch.int32)
        none = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "label_map": empty}
        true, pred = image(0)
        for pair, expected in (((empty, none), 1), ((true, none), 0), ((empty[:, :0], none), 1)):
            if pair[0].shape == empty.shape or expected == 0:
                assert scores_of([pair])["coco_segm_ap"] == expected
        assert scores_of([(torch.zeros_like(true), pred)])["coco_segm_ap"] == 0
        assert CocoAveragePrecision().compute() == {}  # no image at all

    def test_nothing_is_printed_or_warned(self, capsys):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores_of([image(1)])
        assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_are_those_of_pycocotools(seed):
    from pycocotools import mask

    labels = relabel(torch.from_numpy(oracles.random_maps(seed, nuclei=10)[0]))[0].numpy()
    count = int(labels.max())
    codes = coco.run_lengths(labels, count)
    for k, counts in enumerate(codes, 1):
        code = mask.frPyObjects({"size": list(labels.shape), "counts": counts}, *labels.shape)
        assert code == mask.encode(np.asfortranarray(labels == k, dtype=np.uint8))


def test_run_lengths_of_labels_that_fill_the_map_or_are_none():
    assert coco.run_lengths(np.zeros((2, 3), np.int32), 0) == []
    assert coco.run_lengths(np.ones((2, 3), np.int32), 1) == [[0, 6]]


def test_a_missing_backend_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "faster_coco_eval":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"nucleist\[coco\]"):
        CocoAveragePrecision()
