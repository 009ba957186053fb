"""Images with a truth and a prediction, for tests of scores."""

import numpy as np
import torch

from support import oracles

THRESHOLDS = (0.0, 0.3, 0.5, 0.9)


def prediction(label_map, scores):
    """A `nucleist.types.Prediction` of these detections."""
    n = len(scores)
    return {
        "boxes": torch.zeros(n, 4),
        "labels": torch.ones(n, dtype=torch.long),
        "scores": torch.as_tensor(scores, dtype=torch.float32),
        "label_map": torch.as_tensor(label_map, dtype=torch.int32),
    }


def image(seed, nuclei=6):
    """A random image: its truth, and a prediction with the best score first."""
    true, pred = oracles.random_maps(seed, nuclei=nuclei)
    _, renumbered = np.unique(np.append(pred, 0), return_inverse=True)
    label_map = renumbered[:-1].reshape(pred.shape)
    scores = np.sort(np.random.default_rng(seed).random(label_map.max()))[::-1].copy()
    return torch.from_numpy(true), prediction(label_map, scores)


def erase(pred, threshold):
    """The label map with the detections that are not above the threshold erased, slowly."""
    label_map = pred["label_map"].numpy().copy()
    for i, score in enumerate(pred["scores"].tolist(), 1):
        if not score > threshold:
            label_map[label_map == i] = 0
    return label_map


def numbered(pred):
    """A prediction of these nuclei, all of score 0.9."""
    ids, label_map = np.unique(np.append(pred, 0), return_inverse=True)
    return prediction(label_map[:-1].reshape(pred.shape), [0.9] * (len(ids) - 1))
