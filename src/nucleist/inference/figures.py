"""What a net finds in one image, drawn as in the figures of the partial-annotation paper.

Feng et al., IEEE Access 2019: where labelled nuclei attend to (Fig. 1), the centre target, centre
scores and found boxes (Fig. 2), kept labels, ground truth and prediction (Figs. 3, 5 and 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nucleist.data.module import NucleiData
from nucleist.data.targets import to_tensor
from nucleist.files import replacing
from nucleist.inference.outline import outline
from nucleist.metrics.per_image import extremes
from nucleist.models.net import Net
from nucleist.ops.labels import at_threshold
from nucleist.plots.contours import draw_contours, to_display
from nucleist.plots.overlay import Labels, overlay_panel
from nucleist.plots.panels import Panel, heat_map, save_panels

KINDS = ("overlay", "centers", "attention")
"""Pictures of a subject, and the ends of their files' names."""


@dataclass(frozen=True)
class Subject:
    """An image to draw, with the labels there are; each label map `(H, W)` `int32`.

    Attributes:
        id: Begins the names of its pictures.
        title: Above them.
        image: `(H, W, 3)` `float32`, normalised as the net was trained.
        kept: Labels that training saw, for a panel of their own.
        truth: All nuclei.
        query: Labels whose attention and centre target are drawn.
        held: Labels that were held out of the training.
        complete: `(H, W)` `bool`, where every nucleus is labelled; None: everywhere.
    """

    id: str
    title: str
    image: np.ndarray
    kept: Labels | None = None
    truth: Labels | None = None
    query: np.ndarray | None = None
    held: Labels | None = None
    complete: np.ndarray | None = None


def draw_subject(
    net: Net,
    subject: Subject,
    threshold: float,
    folder: Path,
    kinds: Sequence[str] = KINDS,
) -> list[str]:
    """Write the pictures of an image that the net is able to give.

    Args:
        net: Fig. 1 needs `can.attention`, Fig. 2 `can.centers`.
        subject: The image.
        threshold: Score above which detections count.
        folder: For `<id>_overlay.png`, `<id>_centers.png` and `<id>_attention.png`.
        kinds: Which of the three.

    Returns:
        What could not be drawn and why, a line each.

    Raises:
        UserError: If a file cannot be written.
    """
    if "overlay" in kinds:
        save_overlay(net, subject, threshold, folder)
    lacks = []
    for kind, draw in (("centers", center_panels), ("attention", attention_panels)):
        panels = draw(net, subject) if kind in kinds else []
        if isinstance(panels, str):
            lacks.append(f"no picture of the {kind}: {panels}")
        elif panels:
            save_panels(folder / f"{subject.id}_{kind}.png", panels, subject.title)
    return lacks


def save_overlay(net: Net, subject: Subject, threshold: float, folder: Path) -> Path:
    """Write the image, the labels there are and the prediction side by side."""
    found = at_threshold(outline(net, subject.image), threshold).numpy()
    panel = overlay_panel(
        subject.image,
        subject.kept,
        subject.truth,
        found,
        subject.title,
        held=subject.held,
        complete=subject.complete,
    )
    path = folder / f"{subject.id}_overlay.png"
    with replacing(path) as part:
        Image.fromarray(panel).save(part, format="PNG", optimize=True)
    return path


def center_panels(net: Net, subject: Subject) -> list[Panel] | str:
    """Fig. 2: centre target (with labels), centre scores, found boxes; or why there is none."""
    if not net.can.centers:
        return "this net has no centre head (model=mask_rcnn_pa has one)"
    tensor = _tensor(net, subject.image)
    scores = net.center_map(tensor)
    boxes = net.found_boxes(tensor).float().cpu().numpy()
    panels = []
    if subject.query is not None:
        count = len(np.unique(subject.query[subject.query > 0]))
        words = f"centre target of {count} labelled nuclei\nwhite 1, gray 0, black unknown"
        panels.append(Panel(target_picture(net, subject.image, subject.query), words))
    panels.append(Panel(heat_map(subject.image, scores), "centre score"))
    return [*panels, Panel(to_display(subject.image), f"found boxes: {len(boxes)}", boxes)]


@torch.no_grad()
def target_picture(net: Net, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The target map of the centre head, `(H, W, 3)` `uint8`: white 1, gray 0, black unknown."""
    given = torch.from_numpy(np.ascontiguousarray(labels)).to(net.device)
    wanted = net.center_target(_tensor(net, image), given)
    gray = np.array([0, 128, 255], np.uint8)[wanted.cpu().numpy() + 1]
    return np.repeat(gray[..., None], 3, axis=2)


def attention_panels(net: Net, subject: Subject) -> list[Panel] | str:
    """Fig. 1: the labelled nuclei, and where they attend to; or why there is none."""
    if not net.can.attention:
        return "no attention on the net's first level (model=mask_rcnn_pa attention=[p2] puts it)"
    if subject.query is None or not subject.query.any():
        return f"{subject.id} has no labelled nucleus to ask for; put labels beside the image"
    labels = torch.from_numpy(np.ascontiguousarray(subject.query))
    given = net.attention_map(_tensor(net, subject.image), labels.to(net.device))
    shown = draw_contours(to_display(subject.image), subject.query, thick=2)
    count = len(np.unique(subject.query[subject.query > 0]))
    words = f"labelled nuclei: {count}"
    return [Panel(shown, words), Panel(heat_map(subject.image, given), "where they attend to")]


def write_test_overlays(
    folder: Path,
    net: Net,
    data: NucleiData,
    rows: Sequence[dict[str, Any]],
    threshold: float,
) -> None:
    """Write overlays of the best and the worst test images, where a report expects them.

    Args:
        folder: `figures/test` of a run.
        net: In eval mode.
        data: The run's data.
        rows: Scores of each test image, as in `per_image.csv`.
        threshold: Score above which detections count; rows at another one are passed over.
    """
    own = [row for row in rows if row["score_threshold"] == threshold]
    for _, row in extremes(own):
        image, truth, complete, _ = data.whole(row["image"])
        title = f"test image {row['image']}"
        subject = Subject(row["image"], title, image, truth=truth, complete=complete)
        save_overlay(net, subject, threshold, folder)


def _tensor(net: Net, image: np.ndarray) -> Tensor:
    return to_tensor(image).to(net.device)
