"""One image through a net, which may be in any mode."""

import numpy as np
import torch

from nucleist.data.targets import to_tensor
from nucleist.models.net import Net, Surveyed, knowing
from nucleist.types import Prediction


@torch.inference_mode()
def outline(
    net: Net,
    image: np.ndarray,
    floor: float = 0.0,
    surveyed: Surveyed | None = None,
) -> Prediction:
    """Prediction for one image, in eval mode, on the net's device.

    Args:
        net: In any mode, which it has again afterwards.
        image: `(H, W, 3)` `float32`, normalised as the net was trained.
        floor: Detections of at most this score are not needed, in [0, 1].
        surveyed: What `Net.survey` measured on the image that this one is a tile of.
    """
    training, before = net.training, net.score_floor
    net.eval()
    net.score_floor = floor
    try:
        with knowing(net, surveyed):
            return net([to_tensor(image).to(net.device)])[0]
    finally:
        net.train(training)
        net.score_floor = before
