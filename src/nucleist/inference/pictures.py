"""Pictures of a net at work: overlays, centre maps, attention, the shape that was learned.

The same pictures go into the run folder (`figures/`) and to loggers that take images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import nn

from nucleist.data.module import NucleiData
from nucleist.data.targets import to_tensor
from nucleist.ops.labels import at_threshold
from nucleist.plots import LabelledImage, heat_map, overlay_panel, save_overlays, shape_picture
from nucleist.types import Prediction


@torch.inference_mode()
def predict_one(net: nn.Module, image: np.ndarray) -> Prediction:
    """Prediction for a normalised `(H, W, 3)` image, in eval mode, on the net's device."""
    training = net.training
    net.eval()
    device = next(net.parameters()).device
    prediction = net([to_tensor(image).to(device)])[0]
    net.train(training)
    return prediction


def overlay_rows(
    net: nn.Module, data: NucleiData, threshold: float, count: int = 2
) -> list[LabelledImage]:
    """Rows of image, kept labels, truth and prediction: some training, some test images."""
    rows = []
    for image_id in data.train_set.ids[:count]:
        image, kept = data.train_set.partial(image_id)
        truth = kept if data.annotation.crop_fraction else data.whole(image_id)[1]
        found = at_threshold(predict_one(net, image), threshold).numpy()
        rows.append(LabelledImage(image, kept, truth, found, f"training image {image_id}"))
    for image_id in data.ids("test")[:count]:
        image, truth = data.whole(image_id)
        found = at_threshold(predict_one(net, image), threshold).numpy()
        rows.append(LabelledImage(image, None, truth, found, f"test image {image_id}"))
    return rows


@torch.no_grad()
def center_pictures(net: Any, data: NucleiData) -> dict[str, np.ndarray]:
    """Centre map and attention of the labelled nuclei of one training image, where a net has them.

    Source: Figs. 1 and 2 of Feng et al., IEEE Access 2019.
    """
    if not hasattr(net, "center_map"):
        return {}
    training = net.training
    net.eval()
    image, kept = data.train_set.partial(data.train_set.ids[0])
    device = next(net.parameters()).device
    tensor, labels = to_tensor(image).to(device), torch.from_numpy(kept).to(device)
    pictures = {"center_map": heat_map(image, net.center_map(tensor))}
    attention = net.attention_map(tensor, labels)
    if attention is not None:
        pictures["attention_map"] = heat_map(image, attention)
    net.train(training)
    return pictures


def shape_pictures(net: Any) -> dict[str, np.ndarray]:
    """The canonical shape of a net, see `plots.shape.shape_picture`; empty for nets without one."""
    if not hasattr(net, "canonical_shape"):
        return {}
    shape = net.canonical_shape(128).cpu().numpy()
    picture = shape_picture(shape, net.outline_radius(), net.angular_deviation())
    return {"canonical_shape": picture}


def write_figures(folder: Path, net: nn.Module, data: NucleiData, threshold: float) -> None:
    """Write `overlays.png`, and what else a net has.

    `center_map.png`, `attention_map.png`, `canonical_shape.png`.
    """
    save_overlays(folder / "overlays.png", overlay_rows(net, data, threshold))
    for name, picture in (center_pictures(net, data) | shape_pictures(net)).items():
        Image.fromarray(picture).save(folder / f"{name}.png")


class PreviewImages(Callback):
    """After each validation, pictures to every logger that takes images (W&B).

    Args:
        count: Training and test images shown, each.
    """

    def __init__(self, count: int = 1):
        self.count = count

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log, on the first process only."""
        takers = [log for log in trainer.loggers if hasattr(log, "log_image")]
        if not takers or not trainer.is_global_zero:
            return
        task: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = overlay_rows(task.net, data, task.headline, self.count)
        single = center_pictures(task.net, data) | shape_pictures(task.net)
        pictures: dict[str, Sequence[np.ndarray]] = {
            "overlays": [_panel(row) for row in rows],
            **{name: [picture] for name, picture in single.items()},
        }
        for logger in takers:
            for name, images in pictures.items():
                logger.log_image(f"val/{name}", list(images), step=trainer.global_step)


def _panel(row: LabelledImage) -> np.ndarray:
    return overlay_panel(row.image, row.kept, row.truth, row.prediction, row.title)
