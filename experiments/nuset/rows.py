"""What is trained and what is compared: the rows of the table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

DATA = [
    *("data=bbbc038", "data.source.group=fluorescence", "data.batch_size=4", "data.workers=0"),
    "data.fractions={train: 0.8, val: 0.1, test: 0.1}",  # by field
    *("augment=light", "augment.crop=256", "augment.focus=0", "trainer=cpu"),
]
"""Settings of every training: the fluorescence images of BBBC038, split by field."""

ALIKE = ["optim=adamw", "model.norm=true"]
"""What U-Net has by default: with these the nets differ in nothing but what their paper says. The
paper's RMSprop at 0.0005, ten times its rate, was as good on the validation images."""

SYNTHETIC = ["data.synthetic=1", "data.synthetic_images.radius=[4,24]"]
"""Nuclei of most training images have radii in this range, pixels."""

SLIM = ["model.coarse.width=8", "model.fine.width=8"]
BOTH_ALIKE = ["optim=adamw", "+model.coarse.norm=true", "+model.fine.norm=true"]
TRAININGS: Mapping[str, list[str]] = {
    "otsu": ["model=otsu", "steps=1"],
    "unet": ["model=unet", "model.width=8"],
    "mask_rcnn": ["model=mask_rcnn"],
    "nuset": ["model=nuset", "model.width=8", *ALIKE],
    "nuset_synthetic": ["model=nuset", "model.width=8", *ALIKE, *SYNTHETIC],
    "nuset_foreground": ["model=nuset_foreground", *SLIM, *BOTH_ALIKE, *SYNTHETIC],
    "unet_foreground": ["model=unet_foreground", *SLIM],
}
"""Words of each training besides `DATA`. Otsu learns nothing."""


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        title: In print.
        training: A key of `TRAININGS`.
        options: Options of the trained net.
        choices: Further options, of which the validation images choose one.
        thresholds: Score thresholds to choose from; None is the calibrated one.
    """

    title: str
    training: str
    options: Mapping[str, Any]
    choices: tuple[Mapping[str, Any], ...] = ({},)
    thresholds: tuple[float | None, ...] = (None,)


LIMITS = ((0.85, 0.15), (0.7, 0.15), (0.5, 0.15), (0.5, 0.3), (0.3, 0.3))
"""Least score of the boxes that give seeds, and the overlap above which the better one stays."""

SEEDS = tuple({"rpn.min_score": score, "rpn.nms_iou": iou} for score, iou in LIMITS)
FINE_SEEDS = tuple({"fine.rpn": {"min_score": score, "nms_iou": iou}} for score, iou in LIMITS)

WAISTS = ({"h": 1.0}, {"h": 0.5}, {"h": 2.0})
PIECES = {"instances": "components"}
ROWS = (
    Row("Otsu, components", "otsu", PIECES),
    Row("Otsu, watershed of the distance", "otsu", {}, WAISTS),
    Row("U-Net, components", "unet", PIECES),
    Row("U-Net, watershed of the distance", "unet", {}, WAISTS),
    Row(
        "U-Net, foreground-normalised, components",
        "unet_foreground",
        {"fine.instances": "components"},
    ),
    Row("Mask R-CNN, compact", "mask_rcnn", {}, ({},), (None, 0.3, 0.5, 0.7)),
    Row("NuSeT, whole image, components", "nuset", PIECES),
    Row("+ synthetic images, components", "nuset_synthetic", PIECES),
    Row(
        "+ foreground normalisation, components",
        "nuset_foreground",
        {"fine.instances": "components"},
    ),
    Row("+ RPN-aided watershed: NuSeT", "nuset_foreground", {}, FINE_SEEDS),
    Row("NuSeT, whole image, watershed", "nuset", {}, SEEDS),
    Row("NuSeT, whole image, synthetic images, watershed", "nuset_synthetic", {}, SEEDS),
)
