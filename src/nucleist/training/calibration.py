"""A score threshold without a look at test labels, from the labelled and the found nuclei.

Missing labels train a classifier to take some nuclei for background. If the labelled
nuclei are a random sample, what it learns is `g(x) = c p(x)`: `p(x)` the probability that `x` is
a nucleus and `c` the probability that a nucleus counts as labelled (Elkan and Noto, KDD 2008).
Its ranking is right and its scale is not. `c` is the mean score of nuclei, and `p(x) > 1/2` is
`g(x) > c/2`.

Labelled nuclei were positives in training and score higher than others. Best are nuclei that were
held out of the training. Without them nuclei that nobody labelled must be in the sample too: those
found without the classifier, by the centre head of partial-annotation Mask R-CNN, which excluded
them from the negatives.

A net whose loss models missing labels learns `p` itself, which needs no scaling.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from nucleist.models.net import Net
from nucleist.ops.contingency import contingency
from nucleist.ops.labels import boxes_of, relabel
from nucleist.types import Prediction


def labelled_scores(prediction: Prediction, kept: Tensor) -> np.ndarray:
    """Score of each labelled nucleus: that of the detection on it, 0 if there is none.

    Args:
        prediction: What the net found in an image.
        kept: `(H, W)` label map of the labelled nuclei.

    Returns:
        `(N,)` `float64` in [0, 1]. A detection is on a nucleus if their IoU is above 0.5.
    """
    table = contingency(kept, prediction["label_map"])
    scores = np.zeros(len(table.true_ids))
    hit = 2 * table.intersection > table.union
    detection = table.pred_ids[table.pred_index[hit]] - 1
    scores[table.true_index[hit]] = prediction["scores"].cpu().numpy()[detection]
    return scores


def found_scores(prediction: Prediction, kept: Tensor, found: Tensor) -> np.ndarray:
    """Score of each found nucleus that is not labelled: the best of the detections on it.

    Args:
        prediction: What the net found in an image.
        kept: `(H, W)` label map of the labelled nuclei.
        found: `(K, 4)` boxes, xyxy in pixels, that do not depend on the classifier.

    Returns:
        `(M,)` `float64` in [0, 1], 0 where no detection has a box IoU of 0.5 with it.
    """
    labels, ids = relabel(kept)
    known = boxes_of(labels, len(ids)).to(found)
    if len(known):
        found = found[(box_iou(found, known) < 0.5).all(1)]
    if len(found) == 0 or len(prediction["boxes"]) == 0:
        return np.zeros(len(found))
    on = box_iou(found, prediction["boxes"]) >= 0.5
    return (on * prediction["scores"]).amax(1).double().cpu().numpy()


@torch.inference_mode()
def calibrate(net: Net, images: Iterable[tuple[Tensor, Tensor]], held_out: bool = False) -> float:
    """The threshold `c/2` from training images with their kept labels.

    Args:
        net: A net in eval mode. If it finds nuclei by their centres, those count too; if its loss
            models missing labels, its scores are taken as they are.
        images: `(3, H, W)` images and `(H, W)` label maps of the labelled nuclei.
        held_out: Whether these are nuclei that the training did not see.

    Returns:
        A score in (0, 0.5]; 0.5 if nothing is labelled or found.
    """
    if net.can.models_missing_labels:
        return 0.5
    device = net.device
    scores: list[float] = []
    for image, kept in images:
        image = image.to(device)
        prediction = net([image])[0]
        scores += labelled_scores(prediction, kept).tolist()
        if net.can.centers and not held_out:
            scores += found_scores(prediction, kept, net.found_boxes(image)).tolist()
    share = float(np.mean(scores)) if scores else 1.0
    return share / 2 if share > 0 else 0.5
