"""How likely a nucleus among the samples of a training step is labelled.

Found boxes that lie on no labelled nucleus are unlabelled nuclei, and are usually left out of the
negatives. The centre head misses others, which are sampled as negatives although they are nuclei.
A sample is labelled with the probability `c p`, where `p` is the probability that it is a nucleus
and `c`, the label frequency, the probability that a nucleus among the samples is labelled (Elkan
and Noto, KDD 2008). Losses of `c p` make the classifier predict `p`.
"""

from typing import Any

import torch

from nucleist.ops.matching import overlaps
from nucleist.types import IGNORE


def label_frequency(
    targets: list[dict[str, Any]], missed_ratio: float, left_out: bool = True
) -> float:
    """The `c` of a batch, counted: labelled nuclei over those and the missed ones.

    Args:
        targets: Boxes `(N, 4)`, with the label -1 where they were found. A found box is on a
            labelled nucleus if their IoU is 0.5 or more.
        missed_ratio: Nuclei that the centre head misses, for each unlabelled one it finds.
        left_out: Whether the found ones are left out of the negatives.

    Returns:
        A probability in (0, 1]; exactly 1 where nothing unlabelled is found. One labelled nucleus
        is added to the count, so that batches without any still have a loss of the background.
    """
    if missed_ratio == 0:
        return 1.0
    labelled, unlabelled = 1, 0
    for target in targets:
        found = target["labels"] == IGNORE
        boxes = target["boxes"].detach()
        pairs = overlaps(boxes[~found], boxes[found])
        known = torch.zeros(pairs.shape[1], dtype=torch.bool, device=boxes.device)
        known[pairs.candidate[pairs.iou >= 0.5]] = True
        labelled += pairs.shape[0]
        unlabelled += int((~known).sum())
    return labelled / (labelled + (missed_ratio + (not left_out)) * unlabelled)
