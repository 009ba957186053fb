"""True nuclei of real images through mask targets and pasting: they come back."""

import numpy as np
import pytest
import torch
from support.real import place

from nucleist.data.readers.bbbc038 import BBBC038
from nucleist.data.readers.kumar import Kumar
from nucleist.data.targets import to_target
from nucleist.metrics import aggregated_jaccard_index, mean_average_precision
from nucleist.ops.masks import mask_targets, paste_label_map

pytestmark = pytest.mark.slow


def returned(labels: np.ndarray, alignment: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The label map 1..N, and the same after targets of 28 x 28 cells and pasting."""
    target = to_target(labels)
    boxes, label_map = target["boxes"], target["label_map"]
    masks = mask_targets(label_map, boxes, torch.arange(len(boxes)), 28, alignment)[:, None]
    shape = (labels.shape[0], labels.shape[1])
    return label_map, paste_label_map(masks, boxes, shape, alignment=alignment)[0]


def scores(score, source, ids, alignment: str) -> list[float]:
    """The score of each image."""
    return [score(*returned(source.read(name).labels, alignment)) for name in ids]


def test_nuclei_of_bbbc360_come_back() -> None:
    source = BBBC038(place("bbbc038"), group="360x360", train=60)
    test = source.splits()["test"]
    assert min(scores(mean_average_precision, source, test, "exact")) >= 0.999
    assert np.mean(scores(mean_average_precision, source, test, "torchvision")) < 0.9


def test_nuclei_of_kumar_come_back() -> None:
    source = Kumar(place("kumar"))
    some = source.splits()["test"][:2]
    assert min(scores(aggregated_jaccard_index, source, some, "exact")) >= 0.995
    assert max(scores(aggregated_jaccard_index, source, some, "torchvision")) < 0.95
