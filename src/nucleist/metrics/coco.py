"""COCO's average precision (Lin et al., ECCV 2014): detections ranked by score.

The numbers are those of `faster_coco_eval` for run-length codes made directly from label maps.
torchmetrics' `MeanAveragePrecision` is not used, for three reasons: its `update` needs a plane of
H x W for each nucleus; between processes it pairs images by position, so each process needs the
same number of them; and its `max_detection_thresholds` must be chosen before the data are seen. The
default of 100 drops detections of crowded images silently, and a larger one gives -1 with
pycocotools, whose summary looks for the number 100. Here the limit is the largest number of
detections in an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nucleist.metrics.counts import LabelMap
from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import Prediction, UserError

KINDS = ("bbox", "segm")


class CocoAveragePrecision:
    r"""Average precision of ranked detections, mean over IoU 0.50:0.05:0.95: the AP of COCO.

    .. math:: AP_t = \frac{1}{101} \cdot \sum_{r = 0, 0.01, ..., 1} \max_{R(s) \ge r} P_t(s)

    :math:`P_t(s)` and :math:`R(s)` are precision and recall of the detections with a score of s
    or more. `ap` is the mean over t, `ap50` and `ap75` are those of one t; `segm` compares
    masks, `bbox` boxes. All scores count, so there is no score threshold. `coco_max_detections`
    is the largest number of detections in an image, which is also the limit given to the
    backend, so that it drops none. Detections without a pixel in the label map are left out, and
    where masks overlap the higher score has the pixel. Only images count that are complete
    everywhere; `coco_images` is their number.

    Metric:
        Names: coco_segm_ap, coco_segm_ap50, coco_segm_ap75, coco_bbox_ap, coco_bbox_ap50,
            coco_bbox_ap75, coco_max_detections, coco_images
        Matching: one to one; detections by falling score, each takes the free nucleus of highest
            IoU in its image
        Threshold: IoU >= t, not strict, for t = 0.50, 0.55, ..., 0.95
        Averages: pooled, all detections of all images in one ranking
        Empty: 1 if both maps are empty, 0 if one is (COCO itself gives -1 without nuclei); without
            an image there are none of these numbers
        Range: 0 to 1, higher is better
        Source: Lin et al., ECCV 2014; computed by faster_coco_eval

    Raises:
        UserError: If `faster_coco_eval` is not installed.
    """

    def __init__(self) -> None:
        _backend()
        self._images: list[dict[str, Any]] = []

    def update(self, preds: Sequence[Prediction], targets: Sequence[LabelMap]) -> None:
        """Add a batch of images; only boxes, scores and run lengths are kept.

        Args:
            preds: One for each image, with all detections whatever their score.
            targets: `(H, W)` integer label maps with **all** nuclei, 0 background.
        """
        for pred, target in zip(preds, targets, strict=True):
            nuclei, ids = relabel(torch.as_tensor(target).cpu())
            found, kept = relabel(pred["label_map"].cpu())
            scores = pred["scores"].detach().float().cpu()[kept - 1]
            boxes = pred["boxes"].detach().float().cpu()[kept - 1]
            true = _objects(nuclei, boxes_of(nuclei, len(ids)))
            areas = np.bincount(nuclei.flatten().numpy(), minlength=len(ids) + 1)[1:].tolist()
            self._images.append(
                {
                    "size": tuple(nuclei.shape),
                    "true": [one | {"area": a} for one, a in zip(true, areas, strict=True)],
                    "pred": [
                        one | {"score": score}
                        for one, score in zip(_objects(found, boxes), scores.tolist(), strict=True)
                    ],
                }
            )

    def compute(self) -> dict[str, float]:
        """The values by name, over the images of all processes; none without an image."""
        images = self._images
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, images)
            images = [image for part in parts for image in part]
        if not images:
            return {}
        limit = max(len(image["pred"]) for image in images)
        values: dict[str, float] = {}
        for kind in reversed(KINDS):
            ap = _average_precision(images, kind, limit)
            for name, value in {"ap": ap.mean(), "ap50": ap[0], "ap75": ap[5]}.items():
                values[f"coco_{kind}_{name}"] = float(value)
        return values | {"coco_max_detections": limit, "coco_images": len(images)}


def run_lengths(labels: np.ndarray, count: int) -> list[list[int]]:
    """COCO's run-length codes of the nuclei of a label map, in one pass over its pixels.

    Args:
        labels: `(H, W)` integer with values 0..count.
        count: Number of nuclei N.

    Returns:
        N lists: pixels of background, of the nucleus, of background, ..., column by column.

    Examples:
        >>> run_lengths(np.array([[1, 2], [1, 0]]), 2)
        [[0, 2, 2], [2, 1, 1]]
    """
    pixels = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(pixels, prepend=-1))
    ends = np.append(starts[1:], len(pixels))
    ids = pixels[starts]
    order = np.argsort(ids, kind="stable")[np.count_nonzero(ids == 0) :]
    edges = np.stack([starts[order], ends[order]], 1)  # of runs, nucleus by nucleus
    parts = np.split(edges, np.cumsum(np.bincount(ids[order], minlength=count + 1)[1:-1]))
    counts = [np.diff(part.ravel(), prepend=0).tolist() for part in parts[:count]]
    rests = [len(pixels) - sum(some) for some in counts]
    return [[*some, rest] if rest else some for some, rest in zip(counts, rests, strict=True)]


def _objects(labels: Tensor, boxes: Tensor) -> list[dict[str, Any]]:
    """Box as xywh and compressed run-length code of each nucleus 1..N of a label map."""
    runs = run_lengths(labels.numpy(), len(boxes))
    size = [int(n) for n in labels.shape]
    codes = [{"size": size, "counts": counts} for counts in runs]
    packed = _backend().mask.frPyObjects(codes, *size) if codes else []
    sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    return [{"bbox": b, "segmentation": s} for b, s in zip(sides, packed, strict=True)]


def _average_precision(images: Sequence[dict[str, Any]], kind: str, limit: int) -> np.ndarray:
    """`(10,)`, AP at each IoU threshold."""
    n_true = sum(len(image["true"]) for image in images)
    if not n_true or not limit:
        return np.full(10, float(n_true == limit))
    key = {"bbox": "bbox", "segm": "segmentation"}[kind]
    listed = {"images": [], "annotations": [], "categories": [{"id": 1}]}  # type: ignore[var-annotated]
    found = []
    for number, image in enumerate(images, 1):
        height, width = image["size"]
        listed["images"].append({"id": number, "height": height, "width": width})
        common = {"image_id": number, "category_id": 1}
        for one in image["true"]:
            place = {"id": len(listed["annotations"]) + 1, "iscrowd": 0, "area": one["area"]}
            listed["annotations"].append({**common, **place, key: one[key]})
        found += [{**common, "score": one["score"], key: one[key]} for one in image["pred"]]
    backend = _backend()
    truth = backend.COCO(listed)
    evaluation = backend.COCOeval_faster(truth, truth.loadRes(found), kind)
    evaluation.params.maxDets = [limit]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"]  # (thresholds, 101 recalls, 1, 1, 1)
    return np.asarray(precision).reshape(10, 101).mean(1)


def _backend() -> Any:
    try:
        import faster_coco_eval
    except ImportError as error:
        raise UserError(
            "COCO's AP needs faster_coco_eval; install it with pip install 'nucleist[coco]'"
        ) from error
    return faster_coco_eval
