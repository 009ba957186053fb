"""Pictures of what a net finds in images of its training, for the run folder and for loggers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nucleist.data.module import NucleiData
from nucleist.data.targets import to_tensor
from nucleist.inference.outline import outline
from nucleist.models.net import Net
from nucleist.ops.labels import at_threshold
from nucleist.plots.overlay import LabelledImage, save_overlays
from nucleist.plots.panels import heat_map
from nucleist.plots.shape import shape_picture
from nucleist.types import Window


def overlay_rows(
    net: Net, data: NucleiData, threshold: float, count: int = 2
) -> list[LabelledImage]:
    """Rows of image, kept labels, truth and prediction: some training, some test images.

    Args:
        net: In any mode.
        data: Its data.
        threshold: Detections with a higher score are shown.
        count: Training and test images, each.
    """
    rows = []
    for image_id in data.train_set.ids[:count]:
        row = training_row(data, image_id)
        rows.append(replace(row, prediction=_found(net, row.image, threshold)))
    for image_id in data.ids("test")[:count]:
        image, truth, complete, _ = data.whole(image_id)
        found, title = _found(net, image, threshold), f"test image {image_id}"
        rows.append(LabelledImage(image, None, truth, found, title, complete=complete))
    return rows


def _found(net: Net, image: np.ndarray, threshold: float) -> np.ndarray:
    return at_threshold(outline(net, image), threshold).numpy()


def training_row(data: NucleiData, image_id: str) -> LabelledImage:
    """A training image with the labels that training saw, those held out, and all there are."""
    image, kept = data.train_set.partial(image_id)
    held = data.train_set.hidden(image_id).labels if data.holds_out else None
    return LabelledImage(
        image,
        kept,
        training_truth(data, image_id),
        title=f"training image {image_id}",
        held=held if held is not None and held.any() else None,
        complete=training_area(data, image_id),
    )


def training_truth(data: NucleiData, image_id: str) -> np.ndarray:
    """All nuclei of a training image as training shows it, `(h, w)` `int32`.

    Of one that is cut to a window, in which all is labelled, those of the window.
    """
    truth, annotated = data.whole(image_id).labels, data.train_set.annotated(image_id)[1]
    return truth if truth.shape == annotated.shape else annotated


def training_area(data: NucleiData, image_id: str) -> np.ndarray | None:
    """Where every nucleus of a training image is labelled in the data set, `(h, w)` `bool`.

    Of one that is cut to a window, in the window; None: everywhere.
    """
    area = data.whole(image_id).complete
    window = None if area is None else data.annotation.choose(data.record(image_id))
    return area[window.slices] if area is not None and isinstance(window, Window) else area


@torch.no_grad()
def center_pictures(net: Net, data: NucleiData) -> dict[str, np.ndarray]:
    """Centre map and attention of the labelled nuclei of one training image.

    Source: Figs. 1 and 2 of Feng et al., IEEE Access 2019.

    Returns:
        `(H, W, 3)` `uint8` by name; only those that the net is able to give.
    """
    if not net.can.centers:
        return {}
    training = net.training
    net.eval()
    image, kept = data.train_set.partial(data.train_set.ids[0])
    device = net.device
    tensor, labels = to_tensor(image).to(device), torch.from_numpy(kept).to(device)
    pictures = {"center_map": heat_map(image, net.center_map(tensor))}
    if net.can.attention:
        pictures["attention_map"] = heat_map(image, net.attention_map(tensor, labels))
    net.train(training)
    return pictures


def shape_pictures(net: Net) -> dict[str, np.ndarray]:
    """The shape that the net has learned of all nuclei; empty for nets without one.

    Source: Fig. 3 of Costa et al., MIDL 2022.
    """
    if not net.can.canonical_shape:
        return {}
    shape = net.canonical_shape(128).cpu().numpy()
    picture = shape_picture(shape, net.outline_radius(), net.angular_deviation())
    return {"canonical_shape": picture}


def write_figures(folder: Path, net: Net, data: NucleiData, threshold: float) -> None:
    """Write `overlays.png` and further pictures that depend on the net.

    These are `center_map.png`, `attention_map.png` and `canonical_shape.png`.
    """
    save_overlays(folder / "overlays.png", overlay_rows(net, data, threshold))
    for name, picture in (center_pictures(net, data) | shape_pictures(net)).items():
        Image.fromarray(picture).save(folder / f"{name}.png")
