"""Cellpose 3 from scratch on exported images; see `peer.py` for the commands."""

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.peers.peer import Part, Peer, Setting, main

import torch  # isort: skip  # after the numbers of threads were set
from cellpose import dynamics, models, train

CHANNELS = [0, 0]
BATCH = 8
TRIAL = 3
"""Steps whose time says how many fit into the minutes."""

SETTINGS = [(p, f) for p in (-6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0) for f in (0.4, 0.8)]
"""Threshold of the cell probability, then of the flow error."""


def fit(net: Any, part: Part, steps: int, out: Path) -> float:
    """Train with the defaults of `train_seg`, one batch of 8 windows an epoch; CPU seconds."""
    begun = time.process_time()
    labels = [np.maximum(one, 0) for one in part.labels]
    train.train_seg(
        net, train_data=part.images, train_labels=labels, channels=CHANNELS, batch_size=BATCH,
        n_epochs=steps, nimg_per_epoch=BATCH, min_train_masks=1, save_path=out, model_name="net",
        save_every=10**9,
    )  # fmt: skip
    return time.process_time() - begun


def trained(out: Path, part: Part, val: Part, seconds: float) -> dict[str, Any]:
    torch.manual_seed(0)
    net = models.CellposeModel(gpu=False, pretrained_model=False, diam_mean=30.0).net
    short, long = (fit(copy.deepcopy(net), part, steps, out) for steps in (1, 1 + TRIAL))
    each = (long - short) / TRIAL
    steps = max(1, int(seconds / each))
    return {"steps": steps, "fit_seconds": round(fit(net, part, steps, out), 1)}


class Cellpose:
    def __init__(self, out: Path):
        path = str(out / "models" / "net")
        self.model = models.CellposeModel(gpu=False, pretrained_model=path)

    def maps(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flows and cell probability."""
        _, flows, _ = self.model.eval(image, channels=CHANNELS, compute_masks=False)
        return flows[1], flows[2]

    def nuclei(self, maps: tuple[np.ndarray, np.ndarray], setting: Setting) -> np.ndarray:
        flows, probability = maps
        iterations = int(200 * self.model.diam_labels / self.model.diam_mean)
        return dynamics.compute_masks(
            flows, probability, niter=iterations, cellprob_threshold=setting[0],
            flow_threshold=setting[1], min_size=15,
        )  # fmt: skip


if __name__ == "__main__":
    main(Peer(trained, Cellpose, SETTINGS))
