"""StarDist from scratch on exported images; see `peer.py` for the commands."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.peers.peer import Part, Peer, Setting, main

import tensorflow as tf  # isort: skip  # after the numbers of threads were set
from csbdeep.utils import normalize
from stardist.models import Config2D, StarDist2D

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

BATCH, PATCH, RAYS = 4, 256, 32
EPOCHS = 20
"""Validations of a training: the learning rate falls, and weights are chosen, by them."""

TRIAL = 4
SETTINGS = [
    (p, n) for p in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8) for n in (0.3, 0.5)
]
"""Threshold of the probability, then of the overlap in the suppression."""


def augment(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """That of StarDist's own example: flips, quarter turns, brightness and noise."""
    turns, flip = np.random.randint(4), np.random.rand() < 0.5
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if flip:
        image, labels = image[::-1], labels[::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    sigma = 0.02 * np.random.uniform(0, 1)
    return image + sigma * np.random.normal(0, 1, image.shape), labels


def model_in(folder: Path, steps: int) -> StarDist2D:
    config = Config2D(
        n_rays=RAYS, grid=(2, 2), n_channel_in=1, use_gpu=False, train_patch_size=(PATCH, PATCH),
        train_batch_size=BATCH, train_epochs=EPOCHS, train_steps_per_epoch=steps,
        train_tensorboard=False,
    )  # fmt: skip
    return StarDist2D(config, name=folder.name, basedir=str(folder.parent))


def fit(model: StarDist2D, part: Part, val: Part, epochs: int, steps: int) -> float:
    """CPU seconds of a training, with its validations."""
    begun = time.process_time()
    model.train(
        [scaled(image) for image in part.images],
        part.labels,
        validation_data=([scaled(image) for image in val.images], val.labels),
        augmenter=augment,
        seed=0,
        epochs=epochs,
        steps_per_epoch=steps,
    )
    return time.process_time() - begun


def scaled(image: np.ndarray) -> np.ndarray:
    return normalize(image, 1, 99.8)


def trained(out: Path, part: Part, val: Part, seconds: float) -> dict[str, Any]:
    tf.keras.utils.set_random_seed(0)
    trial = model_in(out / "trial", TRIAL)
    fit(trial, part, val, 1, 1)  # which builds the graph
    short, middle, long = (
        fit(trial, part, val, *lengths) for lengths in ((1, 1), (1, 1 + TRIAL), (2, 1 + TRIAL))
    )
    step = (middle - short) / TRIAL
    validation = max(0.0, long - middle - (1 + TRIAL) * step)
    steps = max(1, int((seconds / EPOCHS - validation) / step))
    tf.keras.utils.set_random_seed(0)
    spent = fit(model_in(out / "net", steps), part, val, EPOCHS, steps)
    return {"steps": EPOCHS * steps, "fit_seconds": round(spent, 1)}


class StarDist:
    def __init__(self, out: Path):
        self.model = StarDist2D(None, name="net", basedir=str(out))

    def maps(self, image: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
        """Size, probability and distances."""
        return (image.shape, *self.model.predict(scaled(image))[:2])

    def nuclei(self, maps: tuple, setting: Setting) -> np.ndarray:
        size, probability, distances = maps
        labels, _ = self.model._instances_from_prediction(
            size, probability, distances, prob_thresh=setting[0], nms_thresh=setting[1]
        )
        return labels


if __name__ == "__main__":
    main(Peer(trained, StarDist, SETTINGS))
