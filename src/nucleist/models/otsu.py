"""Otsu's threshold: foreground without a training, then nuclei by watershed or connectivity.

Source: Otsu, *A Threshold Selection Method from Gray-Level Histograms*, IEEE Transactions on
Systems, Man, and Cybernetics 9(1), 1979. Yang et al., *NuSeT*, PLoS Computational Biology 2020,
compare with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from skimage.filters import threshold_otsu
from torch import Tensor

from nucleist.models.map_net import MapNet, at_least, foreground_scores, surveyed_area
from nucleist.models.net import Capabilities, Part
from nucleist.ops.watershed import METHODS, split_foreground
from nucleist.types import one_of

NUCLEI = ("auto", "bright", "dark")
"""Which side of the threshold is nuclei; `auto`: in each image the side with fewer pixels."""

GRAY = (0.2989, 0.5870, 0.1140)
"""Share of red, green and blue in the gray value."""


class Cut(NamedTuple):
    """How the gray values of an image become foreground.

    Attributes:
        threshold: Otsu's.
        dark: Whether nuclei are below it, 0 or 1.
        most: Distance of the most extreme nucleus from it, above 0.
    """

    threshold: float
    dark: float
    most: float

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Gray values to 0 at the threshold and 1 at the most extreme nucleus."""
        beyond = self.threshold - values if self.dark else values - self.threshold
        return beyond / self.most


class Otsu(MapNet):
    """A threshold of its own for each image; made by `otsu`."""

    title = "Otsu"
    can = Capabilities(trains=False, surveys=True)

    def __init__(self, nuclei: str, split: dict[str, Any]):
        super().__init__([0.0] * 3, [1.0] * 3, multiple=1)
        self.nuclei, self.split = nuclei, split

    def raw(self, batch: Tensor) -> Tensor:
        """Gray values, `(B, H, W)`."""
        red, green, blue = (share * batch[:, i] for i, share in enumerate(GRAY))
        return red + green + blue

    def losses(self, raw: Tensor, targets: Sequence[Any]) -> dict[str, Tensor]:
        """None: there is nothing to learn."""
        return {}

    def cut(self, values: np.ndarray) -> Cut:
        """The threshold of an image from its gray values, in any shape."""
        threshold = float(threshold_otsu(values))
        dark = self.nuclei == "dark"
        if self.nuclei == "auto":
            dark = (values <= threshold).sum() < (values > threshold).sum()
        beyond = threshold - values if dark else values - threshold
        # an image of one value has no nuclei
        return Cut(threshold, float(dark), max(float(beyond.max()), 1e-6))

    def survey(self, parts: Sequence[Part]) -> Mapping[str, float]:
        """See `Net.survey`: the threshold, and the mean area, by which small pieces are told."""

        def values(part: Part) -> np.ndarray:
            return self.maps([part.image])[0].cpu().numpy()

        cut = self.cut(np.concatenate([values(p)[p.core.slices].ravel() for p in parts]))
        masks = ((cut.scaled(values(part)) > 0, part.core) for part in parts)
        return {**cut._asdict(), "mean": surveyed_area(masks)}

    def instances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei beyond the threshold; those that stand out most have the highest scores.

        The score is 0.5 at the threshold and 1 at the most extreme gray value of the image.
        """
        known = self.surveyed
        cut = Cut(**{k: known[k] for k in Cut._fields}) if known else self.cut(values)
        scaled, mean = cut.scaled(values), known["mean"] if known else None
        labels = split_foreground(scaled, threshold=0.0, **self.split, mean=mean)
        return labels, foreground_scores(labels, scaled, 0.0)


def otsu(
    nuclei: str = "auto",
    instances: str = "watershed",
    h: float = 1.0,
    min_size: int = 20,
    clean: float = 0.2,
) -> Otsu:
    """Otsu's threshold on gray images, which learns nothing.

    Args:
        nuclei: `"bright"` (fluorescence), `"dark"` (H&E) or `"auto"`: in each image the side of
            the threshold with fewer pixels.
        instances: `"watershed"` or `"components"`, see
            `nucleist.ops.watershed.split_foreground`, as for the next three.
        h: Depth of the waist at which the watershed cuts, pixels.
        min_size: Smaller nuclei are removed, pixels.
        clean: Share of the mean area below which nuclei are removed and holes are filled.

    Raises:
        UserError: If an option with named values has another, or a number is negative.
    """
    one_of("model.nuclei", nuclei, NUCLEI)
    one_of("model.instances", instances, METHODS)
    at_least("model.h", h, 0)
    at_least("model.clean", clean, 0)
    split = {"method": instances, "h": h, "min_size": min_size, "clean": clean}
    return Otsu(nuclei, split)
