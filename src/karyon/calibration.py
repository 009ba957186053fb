"""A score threshold from the labelled nuclei alone, without a look at test labels.

Labels that were left out teach a classifier to call some nuclei background. If the labelled
nuclei are a random sample, what it learns is `g(x) = c p(x)`: `p(x)` the probability that `x` is
a nucleus and `c` the probability that a nucleus counts as labelled (Elkan and Noto, KDD 2008).
Its ranking is right and its scale is not. `c` is the mean score of the labelled nuclei, and
`p(x) > 1/2` is `g(x) > c/2`.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from karyon.ops.contingency import contingency
from karyon.types import Prediction


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


@torch.inference_mode()
def calibrate(net: nn.Module, images: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The threshold `c/2` from training images with their kept labels.

    Args:
        net: A net in eval mode.
        images: `(3, H, W)` images and `(H, W)` label maps of the labelled nuclei.

    Returns:
        A score in (0, 0.5]; 0.5 if nothing is labelled or found.
    """
    device = next(net.parameters()).device
    rows = [labelled_scores(net([image.to(device)])[0], kept) for image, kept in images]
    scores = np.concatenate(rows) if rows else np.zeros(0)
    share = float(scores.mean()) if len(scores) else 1.0
    return share / 2 if share > 0 else 0.5
