"""Time of the metrics of one image in nucleist, torchmetrics, Cellpose and StarDist.

The prediction is the shifted truth without a tenth of its nuclei. Torchmetrics needs a stack of
masks; building it is not timed. Its mAP is COCO's, which ranks detections by score; ours does not.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucleist.data.targets import to_target
from nucleist.metrics import InstanceScores, per_image_scores
from scripts.bench.measure import Case, race
from scripts.bench.meter import Meter
from scripts.bench.settings import Settings, label_map, stack_of

NUCLEIST = "nucleist: mAP, AJI, NCS, PQ, precision, recall"
CURVE = "nucleist: the same at 19 score thresholds"
DEFAULT = "torchmetrics segm mAP, 100 detections (its default)"
ALL = "torchmetrics segm mAP, all detections"
CELLPOSE = "Cellpose mAP and AJI"
STARDIST = "StarDist mAP and PQ"
TOOLS = (NUCLEIST, CURVE, DEFAULT, ALL, CELLPOSE, STARDIST)
STEPS = np.arange(10, 20) / 20


def score(meter: Meter, tool: str, file: Path) -> Callable[[], float]:
    """Prepare one tool; a run returns its mAP."""
    warnings.simplefilter("ignore")  # of imports and of many detections
    true = label_map(file)
    pred = np.roll(true, (2, 1), (0, 1))
    pred[np.isin(pred, np.unique(pred)[1::10])] = 0
    target = to_target(pred)
    pred = target["label_map"].numpy()  # some tools need consecutive numbers
    scores = torch.linspace(1, 0.1, len(target["boxes"]))
    if tool == NUCLEIST:
        return lambda: per_image_scores(true, pred)["map"]
    if tool == CURVE:
        return _curve(true, {**target, "scores": scores})
    if tool == CELLPOSE:
        return _cellpose(true, pred)
    if tool == STARDIST:
        return _stardist(true, pred)
    return _torchmetrics(true, {**target, "scores": scores}, tool == ALL)


def _curve(true: np.ndarray, prediction: Any) -> Callable[[], float]:
    def run() -> float:
        every = InstanceScores([i / 20 for i in range(1, 20)])
        every.update([prediction], [torch.from_numpy(true)])
        return float(every.compute()["map_pooled"].max())

    return run


def _torchmetrics(true: np.ndarray, prediction: Any, every: bool) -> Callable[[], float]:
    from torchmetrics.detection import MeanAveragePrecision

    masks, found = stack_of(to_target(true)).bool(), stack_of(prediction).bool()
    one_class = {n: torch.ones(n, dtype=torch.int64) for n in (len(masks), len(found))}
    given = [{**prediction, "labels": one_class[len(found)], "masks": found}]
    wanted = [{"labels": one_class[len(masks)], "masks": masks}]
    most = max(len(masks), len(found), 11)

    def run() -> float:
        metric = MeanAveragePrecision(
            iou_type="segm", max_detection_thresholds=[1, 10, most] if every else None
        )
        metric.warn_on_many_detections = False
        metric.update(given, wanted)
        return float(metric.compute()["map"])

    return run


def _cellpose(true: np.ndarray, pred: np.ndarray) -> Callable[[], float]:
    from cellpose import metrics

    def run() -> float:
        metrics.aggregated_jaccard_index([true], [pred])
        return float(np.mean(metrics.average_precision(true, pred, STEPS)[0]))

    return run


def _stardist(true: np.ndarray, pred: np.ndarray) -> Callable[[], float]:
    from stardist.matching import matching

    def run() -> float:
        found = [matching(true, pred, threshold) for threshold in STEPS]
        return float(np.mean([one.accuracy for one in found]))

    return run


def measure(settings: Settings, tick: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A row for each number of nuclei in the largest images."""
    size = settings.sizes[-1]
    for nuclei in (n for s, n in settings.cells if s == size):
        tick(f"metrics, {size} px, {nuclei} nuclei")
        file = settings.drawn(size, nuclei)
        cases = {tool: Case(score, options={"tool": tool, "file": file}) for tool in TOOLS}
        found = race(cases, settings.runs)
        for tool, outcome in found.items():
            yield {
                "size": size,
                "nuclei": len(np.unique(label_map(file))) - 1,
                "tool": tool,
                "taken": outcome.timing or outcome.problem,
                "map": outcome.result,
            }
